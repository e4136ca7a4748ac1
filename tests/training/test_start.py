import pytest

import gipo_cli
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.training import session

TINY = ["env=gymnasium", "env.id=Pendulum-v1", "agent.rollout_steps=64", "total_steps=64", "eval.episodes=1"]


def test_a_run_from_python_is_one_of_the_command_line(tmp_path, monkeypatch):
    run = gipo_cli.train(TINY, name="swing", runs=tmp_path, quiet=True)
    assert run == tmp_path / "swing"
    assert (run / "overrides.txt").read_text().splitlines() == TINY
    assert gipo_cli.load_run(run).num_timesteps == 64
    with pytest.raises(UserError, match="swing"):
        gipo_cli.train(TINY, name="swing", runs=tmp_path, quiet=True)
    with pytest.raises(UserError, match="there is no env 'nowhere'"):
        gipo_cli.train(["env=nowhere"], runs=tmp_path)
    monkeypatch.setattr(session, "train", lambda *_, **__: 130)
    with pytest.raises(RunFailed, match="swing is not finished: "):
        gipo_cli.train(TINY, name="swing", runs=tmp_path)
