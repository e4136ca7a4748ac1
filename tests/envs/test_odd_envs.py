"""Environments of other people on the command line: what is odd is right, or is one sentence."""

import shutil

import numpy as np
import pytest
from env_tools import ACTION, shipped, train

from gipo_cli.envs.make import make_env, make_vec_env
from gipo_cli.errors import UserError
from gipo_cli.runs.run import open_run
from gipo_cli.training.eval_report import evaluate_run


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


def column(folder, table, name):
    rows = [row.split(",") for row in (folder / "odd" / table).read_text().splitlines()]
    return [row[rows[0].index(name)] for row in rows[1:]]


@pytest.mark.parametrize(
    ("env_id", "setting", "code", "says"),
    [
        ("Exits-v0", "seed=1", 1, "step called sys.exit(0)"),
        ("Unbounded-v0", "seed=1", 2, "has actions without bounds; give its action space finite bounds"),
        ("NormObs-v0", "seed=1", 2, "take it out and type env.normalize_obs=true"),
        (
            "Exclusive-v0",
            "seed=1",
            2,
            "the robot is in use); check env.kwargs={}; training has one open already",
        ),
        ("Says-v0", "env.imports=[odd_envs,exits]", 2, "cannot import module 'exits' (SystemExit: 0)"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(env_id, setting, code, says, monkeypatch, capsys, tmp_path):
    (tmp_path / "exits.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    ended, _, errors = train(monkeypatch, capsys, tmp_path, env_id, setting)
    assert ended == code
    assert says in " ".join(errors.split())
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("env_id", "setting"),
    [
        ("Exclusive-v0", "eval.episodes=0"),
        ("Exclusive-v0", "eval.env=training"),
        ("BadClose-v0", "seed=1"),
        ("DefaultDouble-v0", "seed=1"),
        ("MatrixAction-v0", "seed=1"),
        ("WideAction-v0", "env.action.scale=true"),
    ],
)
def test_what_is_only_odd_trains(env_id, setting, monkeypatch, capsys, tmp_path):
    code, _, errors = train(monkeypatch, capsys, tmp_path, env_id, setting)
    assert code == 0
    assert "Traceback" not in errors
    assert len(column(tmp_path, "eval.csv", "return_mean")) == (0 if "episodes=0" in setting else 1)


@pytest.mark.parametrize(("limit", "total"), [("inf", 210.0), ("1e0", 20.0), ("15e-1", 29.5)])
def test_an_argument_reads_back_as_it_was_typed(limit, total, monkeypatch, capsys, tmp_path):
    assert train(monkeypatch, capsys, tmp_path, "Keywords-v0", f"env.kwargs.limit={limit}")[0] == 0
    assert column(tmp_path, "eval.csv", "return_mean") == [str(total)]
    assert open_run(tmp_path / "odd", trust=True).config.env.kwargs == {"limit": float(limit)}
    assert evaluate_run(tmp_path / "odd", episodes=1, trust=True).returns == [total]


def test_a_time_limit_beyond_reach_is_one_sentence_whose_cure_works(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("gipo_cli.training.evaluate.LONGEST_EPISODE", 100)
    code, _, errors = train(monkeypatch, capsys, tmp_path, "HugeLimit-v0")
    assert code == 1
    assert "has no end after 100 steps; set env.max_episode_steps" in " ".join(errors.split())
    shutil.rmtree(tmp_path / "odd")
    assert train(monkeypatch, capsys, tmp_path, "HugeLimit-v0", "env.max_episode_steps=20")[0] == 0


@pytest.mark.parametrize(
    ("env_id", "note"),
    [
        ("WideAction-v0", "type env.action.scale=true"),
        ("SeedsGlobals-v0", "uses the global random generators"),
    ],
)
def test_what_the_user_should_know_is_in_the_log(env_id, note, monkeypatch, capsys, tmp_path):
    assert train(monkeypatch, capsys, tmp_path, env_id)[0] == 0
    assert note in (tmp_path / "odd" / "log.txt").read_text()
    assert "the agent sees observation (2)" in (tmp_path / "odd" / "log.txt").read_text()


def test_a_failing_close_is_a_warning(caplog):
    odd("BadClose-v0").close()
    assert "could not be closed (RuntimeError: the simulator is gone)" in caplog.text


def test_a_simulator_that_cannot_be_made_in_a_process_is_one_sentence(capfd):
    with pytest.raises(UserError, match=r"daemonic processes.*so type env\.vector=dummy$"):
        make_vec_env(shipped("gymnasium", id="odd_envs:Children-v0", vector="subproc"), 1, n_envs=1)
    assert "Traceback" not in capfd.readouterr().err
