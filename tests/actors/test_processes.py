"""Actors as real processes."""

import os
import signal
import sys
import textwrap
import time

import psutil
import pytest
import torch
from stage import composed

from gipo_cli.actors.crew import Collected, Died, Failed
from gipo_cli.actors.open import parts_of
from gipo_cli.actors.processes import Processes
from gipo_cli.actors.worker import Begun, Ready
from gipo_cli.envs.make import make_env
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.training.session import resume, train

MODULE = """
    import os, signal, time
    import gymnasium as gym
    import numpy as np

    class Faulty(gym.Env):
        observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

        def __init__(self, fault="none"):
            self.fault, self.count = fault, 0

        def reset(self, *, seed=None, options=None):
            self.count = 0
            return np.zeros(1, np.float32), {}

        def step(self, action):
            self.count += 1
            if self.count == 5 and self.fault == "raise":
                raise OSError("the robot is off")
            if self.count == 5 and self.fault == "hang":
                time.sleep(1000)
            if self.count == 5 and self.fault == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            return np.zeros(1, np.float32), 0.0, False, False, {}

    gym.register("Faulty-v0", Faulty, max_episode_steps=50)
"""
FAULTS = ("none", "raise", "hang", "die")


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """Parts of actors whose environments fail, each in its own way, and a policy's weights for them."""
    (tmp_path / "faulty_envs.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "faulty_envs", raising=False)  # that of the test before
    env = ["env.id=Faulty-v0", "env.imports=[faulty_envs]", "actors=processes"]
    configs = [composed(*env, f"+env.kwargs.fault={fault}") for fault in FAULTS]
    made = make_env(configs[0].env, 1)
    agent = GIPO.without_env(configs[0], made.observation_space, made.action_space, "cpu", learns=True)
    weights = {name: value.numpy() for name, value in agent.policy.state_dict().items()}
    return [parts_of(config, agent)[0] for config in configs], weights


def heard(crew, count):
    """The first event of so many actors."""
    found, deadline = {}, time.monotonic() + 120
    while len(found) < count and time.monotonic() < deadline:
        found = dict(crew.events(0.1)) | found
    return found


def test_faults_are_told_and_nothing_is_left_running(faulty):
    parts, weights = faulty
    crew = Processes(parts, call_seconds=3.0)
    try:
        for actor in range(4):
            crew.hire(actor)
        assert all(isinstance(what, Ready) for what in heard(crew, 4).values())
        mine = psutil.Process().children()
        assert len(mine) >= 4
        for actor in range(4):
            crew.begin(actor, None)
        assert all(isinstance(what, Begun) for what in heard(crew, 4).values())
        crew.publish(3, weights)
        # Signals are for the learner, which stops at a safe point.
        for process in mine:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                process.send_signal(number)
        for actor in range(4):
            crew.collect(actor)
        what = heard(crew, 4)
        assert isinstance(what[0], Collected)
        assert what[0].rollout.policy_version == 3
        assert isinstance(what[1], Failed)
        assert "(number 0, episode 0, step 5): step raised OSError: the robot is off" in what[1].reason
        hung = "environment 0 (episode 0, step 5) did not answer within 3 s (runtime.env_timeout_s)"
        assert what[2] == Died(hung)
        assert what[3] == Died("it was ended by SIGKILL: out of memory?")
        crew.collect(0)  # and closed while it is at it
    finally:
        crew.close()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in mine)


def test_an_actor_that_died_in_a_call_does_not_hang(faulty):
    """Also where its end is looked at late, and nothing has been read of it."""
    parts, weights = faulty
    crew = Processes(parts, call_seconds=0.5)
    try:
        crew.hire(3)
        assert isinstance(heard(crew, 1)[3], Ready)
        crew.begin(3, None)
        assert isinstance(heard(crew, 1)[3], Begun)
        crew.publish(0, weights)
        crew.collect(3)
        died = crew._processes[3]
        while died.process.poll() is None:
            time.sleep(0.01)
        assert died.calls.going_on
        assert not any(died.hangs(0.5) or time.sleep(0.2) for _ in range(6))
        assert heard(crew, 1)[3] == Died("it was ended by SIGKILL: out of memory?")
    finally:
        crew.close()


def rows(folder):
    """Cells of ``metrics.csv`` that do not measure time or say who collected."""
    header, *lines = (folder / "metrics.csv").read_text().splitlines()
    found = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    apart = ("time/", "actors/")
    return [{name: cell for name, cell in row.items() if not name.startswith(apart)} for row in found]


def run(config, folder):
    assert train(config, run_dir=folder, overrides=[], command=["gipo"], quiet=True) == 0


def test_with_a_bound_of_zero_it_is_the_inline_run_to_the_bit_also_when_resumed(tmp_path):
    run(composed("total_steps=320"), tmp_path / "inline")
    run(composed("actors=processes", "actors.max_lag=0", "total_steps=128"), tmp_path / "actors")
    assert resume(tmp_path / "actors", overrides=["total_steps=320"], allow_changes=False, quiet=True) == 0
    assert rows(tmp_path / "actors") == rows(tmp_path / "inline")
    one, other = (
        CheckpointStore(tmp_path / name / "checkpoints").load("last") for name in ("actors", "inline")
    )
    assert all(
        torch.equal(one.tensors["policy"][name], value) for name, value in other.tensors["policy"].items()
    )
    assert torch.equal(one.tensors["generator"], other.tensors["generator"])
    for name in ("steps", "version", "optimizer_steps", "episodes", "buffer", "shuffle", "draw"):
        assert one.state["learner"][name] == other.state["learner"][name]
    expected = ["iteration,actor,version,lag,size,fate", *(f"{i},0,{i},0,32,used" for i in range(10))]
    assert (tmp_path / "actors" / "arrivals.csv").read_text().splitlines() == expected


def test_an_actor_ends_with_its_learner_though_it_hangs(faulty):
    """The learner is a process of its own here, killed while the environment sleeps."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        crew = Processes(faulty[0], call_seconds=None)
        crew.hire(2)
        heard(crew, 1)
        crew.begin(2, None)
        heard(crew, 1)
        crew.publish(0, faulty[1])
        crew.collect(2)
        time.sleep(0.5)
        os.write(writer, str(crew._processes[2].process.pid).encode())
        time.sleep(100)
        os._exit(0)
    pid = int(os.read(reader, 20))
    assert psutil.pid_exists(pid)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
