"""Environments of other people on the command line: what is odd is right, or is one sentence."""

import numpy as np
import pytest
from env_tools import ACTION, shipped, train

from gipo_cli.envs.make import make_env


def odd(env_id, **changes):
    return make_env(shipped("gymnasium", id=env_id, imports=["odd_envs"], **changes), 1)


@pytest.mark.parametrize("flag", ["{task:false}", "[0]"])
def test_success_flags_are_read_by_their_value(flag, monkeypatch, capsys, tmp_path):
    code, _, _ = train(monkeypatch, capsys, tmp_path, "Says-v0", f"env.kwargs.flag={flag}")
    assert code == 0
    rows = (tmp_path / "odd" / "eval.csv").read_text().splitlines()
    assert [row.split(",")[rows[0].split(",").index("success")] for row in rows[1:]] == ["0.0"]


def test_a_flag_that_is_a_share_is_one_sentence(monkeypatch, capsys, tmp_path):
    code, _, errors = train(monkeypatch, capsys, tmp_path, "Says-v0", "env.kwargs.flag=0.1")
    assert code == 1
    assert "info['success'] is 0.1, which says neither success nor failure" in errors
    assert "Traceback" not in errors


def test_every_part_of_a_strangers_goal_dictionary_is_seen(monkeypatch, capsys, tmp_path):
    env = odd("DictExtra-v0")
    observation = env.reset()[0]
    assert observation.tolist() == [np.float32(env.unwrapped.x), 0, 0, 7, 7, *range(6)]
    assert env.step(ACTION)[0].shape == (11,)
    assert env.sees == "observation (1) + desired_goal (2) + achieved_goal (2) + force (6)"
    code, out, _ = train(monkeypatch, capsys, tmp_path, "DictExtra-v0", "--dry-run")
    assert code == 0
    assert "# the agent sees every part of the observation\n" in out
    assert train(monkeypatch, capsys, tmp_path, "DictExtra-v0")[0] == 0
