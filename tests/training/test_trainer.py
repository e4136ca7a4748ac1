"""Training in this process: stopped by signals at a chosen moment, resumed, and from odd checkpoints."""

import csv
import hashlib
import os
import shutil
import signal

import gymnasium as gym
import pytest
import torch
from gymnasium.envs.classic_control import PendulumEnv

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.durable import read_sealed, write_sealed
from gipo_cli.runs.status import read_status
from gipo_cli.settings.compose import compose
from gipo_cli.training import attempt, evaluate
from gipo_cli.training.session import resume, train

SETTINGS = [
    "env=gymnasium",
    "env.id=Watched-v0",
    "env.n_envs=2",
    "total_steps=384",
    "buffer.size=256",
    "agent.rollout_steps=64",
    "agent.policy.hidden=[8]",
    "agent.update.rounds=1",
    "agent.update.batch_size=16",
    "eval.interval=128",
    "eval.episodes=2",
    "checkpoint.interval=128",
    "checkpoint.keep_last=9",
    "diagnostics.interval=null",
    "runtime.env_timeout_s=null",
]


class Watched(PendulumEnv):
    """Counts the steps of all of its kind, and does something at one of them."""

    steps, at, action, open_now = 0, -1, staticmethod(lambda: None), 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        Watched.open_now += 1

    def close(self):
        Watched.open_now -= 1

    def step(self, action):
        Watched.steps += 1
        if Watched.steps == Watched.at:
            Watched.action()
        return super().step(action)


gym.register("Watched-v0", Watched, max_episode_steps=30)


@pytest.fixture(autouse=True)
def fresh():
    Watched.steps, Watched.at = 0, -1


def send(*numbers):
    return lambda: [os.kill(os.getpid(), number) for number in numbers]


def start(path, *more):
    typed = [*SETTINGS, *more]
    return train(compose(typed).config, run_dir=path, overrides=typed, command=["gipo"], quiet=True)


def go_on(path, *overrides):
    return resume(path, overrides=overrides, allow_changes=False, quiet=True)


def numbers(run, name="metrics.csv"):
    with (run / name).open(newline="") as file:
        return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in csv.DictReader(file)]


def assert_same(run, expected):
    for name in ("metrics.csv", "eval.csv"):
        assert numbers(run, name) == numbers(expected, name)
    one, other = (CheckpointStore(path / "checkpoints").load() for path in (run, expected))
    assert all(
        torch.equal(one.tensors["policy"][name], part) for name, part in other.tensors["policy"].items()
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "r"
    assert start(path) == 0
    return path


# Each iteration is 128 steps, and each evaluation, of two episodes, 60.
MOMENTS = {"first rollout": 70, "third rollout": 400, "first evaluation": 150, "last evaluation": 540}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_stops_within_a_step_and_what_was_under_way_is_done_again(moment, whole, tmp_path, capfd):
    Watched.at, Watched.action = MOMENTS[moment], send(signal.SIGTERM)
    assert start(tmp_path / "r") == 143
    # The environments that are stepped together take their step.
    assert Watched.steps - MOMENTS[moment] <= 1
    assert "stopped at step" in capfd.readouterr().out
    status = read_status(tmp_path / "r" / "status.json")
    assert (status.state, status.reason) == ("interrupted", "stopped by SIGTERM; resume it to go on")
    assert go_on(tmp_path / "r") == 0
    assert_same(tmp_path / "r", whole)


def test_a_signal_in_an_update_lets_it_end_and_steps_no_environment(whole, tmp_path, monkeypatch):
    from gipo_cli.learning.learner import Learner

    update = Learner.update

    def interrupted(learner, total_steps):
        send(signal.SIGHUP)()
        return update(learner, total_steps)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "update", interrupted)
        assert start(tmp_path / "r") == 129
    assert Watched.steps <= 129
    assert len(numbers(tmp_path / "r")) == 1
    assert go_on(tmp_path / "r") == 0
    assert_same(tmp_path / "r", whole)


def test_a_second_signal_stops_at_once_and_the_run_goes_on_from_its_checkpoint(whole, tmp_path):
    Watched.at, Watched.action = 400, send(signal.SIGTERM, signal.SIGTERM)
    assert start(tmp_path / "r") == 143
    assert Watched.steps == 400
    reason = read_status(tmp_path / "r" / "status.json").reason
    assert reason == "stopped at once by a second signal"
    assert CheckpointStore(tmp_path / "r" / "checkpoints").steps()[-1] == 256
    assert go_on(tmp_path / "r") == 0
    assert_same(tmp_path / "r", whole)


@pytest.mark.parametrize("part", ["TensorBoard", "Record", "Display"])
def test_two_signals_while_the_records_are_opened(part, whole, tmp_path, monkeypatch, capfd):
    def opened(*_, **__):
        send(signal.SIGINT, signal.SIGINT)()

    with monkeypatch.context() as patched:
        if part == "Display":
            patched.setattr(f"gipo_cli.training.attempt.{part}.__enter__", opened)
        else:
            patched.setattr(attempt, part, opened)
        assert start(tmp_path / "r") == 130
    assert read_status(tmp_path / "r" / "status.json").state == "interrupted"
    assert "go on with: gipo train --resume" in capfd.readouterr().out
    assert go_on(tmp_path / "r") == 0
    assert_same(tmp_path / "r", whole)


def test_an_evaluation_without_end_is_given_up_and_can_be_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "LONGEST_EPISODE", 500)
    endless = ["env.max_episode_steps=1000000000", "env.n_envs=1"]
    with pytest.raises(RunFailed, match=r"has no end after 500 steps; set env\.max_episode_steps"):
        start(tmp_path / "r", *endless)
    assert read_status(tmp_path / "r" / "status.json").state == "failed"
    Watched.steps, Watched.at, Watched.action = 0, 300, send(signal.SIGTERM)
    assert start(tmp_path / "s", *endless) == 143
    assert Watched.steps == 300


def test_where_one_environment_can_be_open_it_evaluates_too_and_resumes_exactly(tmp_path):
    shared = ["eval.env=training", "env.n_envs=1"]
    assert start(tmp_path / "whole", *shared) == 0
    assert len(numbers(tmp_path / "whole", "eval.csv")) == 3
    most = []
    # In the second evaluation.
    Watched.steps, Watched.at = 0, 330
    Watched.action = lambda: most.append(Watched.open_now) or send(signal.SIGTERM)()
    assert start(tmp_path / "r", *shared) == 143
    assert Watched.steps == 330
    assert go_on(tmp_path / "r") == 0
    assert most == [1]
    assert_same(tmp_path / "r", tmp_path / "whole")


def reseal(folder, name, content):
    """Put other content into a checkpoint, as one who knows the format would."""
    (folder / name).write_bytes(content)
    manifest = read_sealed(folder / "manifest.json")
    manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_sealed(folder / "manifest.json", manifest)


def crafted(state):
    """The state with one entry missing, or of a type that it never has."""
    for place in ((), ("learner",), ("recorder",), ("learner", "buffer"), ("learner", "episodes")):
        section = state
        for name in place:
            section = section[name]
        for key in section:
            yield (*place, key), "missing"
            yield (*place, key), ["text"]


def test_a_crafted_checkpoint_is_one_sentence(whole, tmp_path):
    import json

    run = tmp_path / "r"
    shutil.copytree(whole, run)
    newest = run / "checkpoints" / "step_000000000384"
    content = (newest / "state.json").read_bytes()
    before = {path: path.read_bytes() for path in run.glob("*.csv")}
    tried = list(crafted(json.loads(content)))
    assert (("recorder",), "missing") in tried
    for place, value in tried:
        state = json.loads(content)
        section = state
        for name in place[:-1]:
            section = section[name]
        if value == "missing":
            del section[place[-1]]
        else:
            section[place[-1]] = value
        reseal(newest, "state.json", json.dumps(state).encode())
        with pytest.raises((UserError, RunFailed)) as refused:
            go_on(run, "total_steps=512")
        said = str(refused.value)
        assert "\n" not in said, place
        assert "does not fit" in said or ".csv" in said, (place, said)
        assert {path: path.read_bytes() for path in run.glob("*.csv")} == before, place
