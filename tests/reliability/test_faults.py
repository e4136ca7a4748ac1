"""Faults of the machine around a run: a sentence, the reason in status.json, the last good state kept."""

import csv
import os
import resource
import signal
import subprocess
from contextlib import suppress

import psutil
import pytest
from process_harness import assert_same_run, finish, gipo, rows, start, wait_until

from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.status import read_status

TINY = [
    "env=gymnasium",
    "env.id=Pendulum-v1",
    "agent.rollout_steps=64",
    "agent.policy.hidden=[8]",
    "agent.update.rounds=1",
    "agent.update.batch_size=16",
    "buffer.size=20000",
    "eval.interval=null",
    "eval.episodes=1",
    "diagnostics.interval=null",
    "checkpoint.interval=128",
    "checkpoint.keep_last=99",
    "total_steps=6400",
]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, and a function that changes its size."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a file system")
    try:
        yield folder, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_fails_the_run_which_goes_on_once_there_is_room(small_disk, tmp_path):
    disk, resize = small_disk
    whole = gipo("train", "--name", "whole", *TINY, cwd=tmp_path)
    assert whole.code == 0, whole.output
    ended = gipo("train", "--name", "r", "--runs", disk, *TINY, cwd=tmp_path)
    assert ended.code == 1, ended.output
    assert "No space left on device" in ended.output
    assert "Traceback" not in ended.output
    assert not ended.orphans
    status = read_status(disk / "r" / "status.json")
    assert (status.state, "No space left" in status.reason) == ("failed", True)
    assert CheckpointStore(disk / "r" / "checkpoints").load("last").notes == []
    resize("64m")
    again = gipo("train", "--resume", "r", "--runs", disk, cwd=tmp_path)
    assert again.code == 0, again.output
    assert_same_run(disk / "r", tmp_path / "runs" / "whole")


def test_a_root_that_is_read_only_is_one_sentence(small_disk, tmp_path):
    disk, _ = small_disk
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    ended = gipo("train", "--name", "r", "--runs", disk, *TINY, cwd=tmp_path)
    assert ended.code == 2, ended.output
    assert str(disk) in ended.output
    assert "Traceback" not in ended.output


def test_spaces_and_other_alphabets_in_folders_whatever_the_locale(tmp_path):
    folder = tmp_path / "mit Leerzeichen ü 空"
    folder.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LC_ALL": "C", "PYTHONUTF8": "0"}
    few = [*TINY[:-1], "total_steps=256"]
    ended = gipo("train", "--name", "r", *few, cwd=folder, env=environment)
    assert ended.code == 0, ended.output
    more = gipo("train", "--resume", "r", "total_steps=384", cwd=folder, env=environment)
    assert more.code == 0, more.output
    assert read_status(folder / "runs" / "r" / "status.json").step == 384


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_every_process_of_a_run_saves(tmp_path, number):
    """As a cluster, systemd, timeout and a closed terminal stop a run; its environments are processes too."""
    endless = [*TINY[:-1], "total_steps=1000000", "env.n_envs=2", "env.vector=subproc"]
    process = start("train", "--name", "r", *endless, cwd=tmp_path)
    run = tmp_path / "runs" / "r"
    metrics = run / "metrics.csv"
    assert wait_until(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") > 2, process)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    os.killpg(process.pid, number)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.send_signal(number)
    ended = finish(process)
    assert ended.code == 128 + number, ended.output
    assert not ended.orphans
    status = read_status(run / "status.json")
    assert status.state == "interrupted"
    assert CheckpointStore(run / "checkpoints").load("last").step == status.step > 0


JUMPING = """
import time

import gymnasium as gym
from gymnasium.envs.classic_control import PendulumEnv

real, hops = time.time, [0.0]
time.time = lambda: real() + hops[0]


class Jumping(PendulumEnv):
    def step(self, action):
        hops[0] = -90_000.0 if hops[0] >= 0 else 90_000.0
        return super().step(action)


gym.register("Jumping-v0", Jumping, max_episode_steps=200)
"""


def test_a_clock_that_is_set_changes_nothing(tmp_path):
    (tmp_path / "jumping.py").write_text(JUMPING)
    few = [*TINY[2:-1], "total_steps=512"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
    jumping = ["env=gymnasium", "env.id=Jumping-v0", "env.imports=[jumping]"]
    ended = gipo("train", "--name", "jumps", *jumping, *few, cwd=tmp_path, env=environment)
    assert ended.code == 0, ended.output
    ended = gipo("train", "--name", "stays", *TINY[:2], *few, cwd=tmp_path)
    assert ended.code == 0, ended.output
    jumps, stays = tmp_path / "runs" / "jumps", tmp_path / "runs" / "stays"
    assert rows(jumps / "metrics.csv") == rows(stays / "metrics.csv")
    with (jumps / "metrics.csv").open(newline="") as file:
        wall = [float(row["time/wall"]) for row in csv.DictReader(file)]
    assert wall == sorted(wall)
    assert 0 <= wall[0] <= wall[-1] < 1000


@pytest.mark.parametrize(
    ("limit", "amount", "overrides"),
    [
        (resource.RLIMIT_NOFILE, 40, ["env.n_envs=30", "env.vector=subproc"]),
        (resource.RLIMIT_AS, 6 * 2**30, ["buffer.size=200000000"]),
    ],
    ids=["files", "memory"],
)
def test_limits_of_the_system_are_a_sentence(limit, amount, overrides, tmp_path):
    def lower():
        resource.setrlimit(limit, (amount, amount))

    ended = gipo("train", "--name", "r", *TINY, *overrides, cwd=tmp_path, preexec_fn=lower)
    assert ended.code in (1, 2), ended.output
    assert "Traceback" not in ended.output, ended.output
    assert "error: " in ended.output
    assert not ended.orphans
