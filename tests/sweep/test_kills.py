"""Sweeps broken off anywhere end with the numbers of one that nobody touched."""

import random
import re
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from sweep_harness import (
    TINY,
    assert_same_runs,
    finish,
    names_of,
    numbers,
    progress,
    start,
    statuses,
    tiny,
    until,
    workers,
)

GRID = (*TINY, "objective=gipo", "seed=1,2,3", "--name", "grid", "--jobs", "2")


def test_killed_child_then_ctrl_c_then_killed_parent(tmp_path: Path, reference: Path):
    study, whole = tmp_path / "grid", reference / "grid"
    sweep = start(tmp_path, *GRID)
    until(lambda: progress(study) >= 256, "progress of the first runs")
    broken = next(name for name, status in statuses(study).items() if status.step >= 256)
    next(worker for worker in workers(tmp_path) if worker.cmdline()[-1] == broken).kill()
    until(lambda: sum(status.step > 0 for status in statuses(study).values()) >= 3, "a third run")
    assert sweep.poll() is None, "a killed child stopped the others"
    # The second command takes as long as the runs on a slow machine: they wait for it.
    held = workers(tmp_path)
    for worker in held:
        with suppress(psutil.NoSuchProcess):
            worker.suspend()
    second = finish(tmp_path, *GRID)
    for worker in held:
        with suppress(psutil.NoSuchProcess):
            worker.resume()
    assert second.returncode == 2
    assert re.search(rf"being written by process {sweep.pid}\b", second.stderr)
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(60) == 130
    assert not workers(tmp_path)
    left = {name: status.state for name, status in statuses(study).items()}
    assert left.pop(broken) == "running"
    assert set(left.values()) <= {"interrupted", "done"}

    before = {name: status.attempt for name, status in statuses(study).items()}
    sweep = start(tmp_path, *GRID)
    until(
        lambda: any(status.attempt > before.get(name, 0) for name, status in statuses(study).items()),
        "a run going on",
    )
    sweep.kill()
    sweep.wait()
    until(lambda: not workers(tmp_path), "the children's end after their parent's", 60)

    done = finish(tmp_path, *GRID)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_runs(study, whole, names_of(whole))
    assert names_of(study) == names_of(whole)
    assert not workers(tmp_path)
    for name in names_of(whole):
        assert [row["step"] for row in numbers(study / name / "metrics.csv")] == [
            str(step) for step in range(128, 1536 + 1, 128)
        ]

    again = finish(tmp_path, *GRID)
    assert again.returncode == 0
    assert "3 of 3 runs are finished and skipped" in again.stdout
    assert f"gipo compare {study}" in again.stdout
    shown = finish(tmp_path, "--status", "grid").stdout.splitlines()
    assert len(shown) == 5
    assert max(map(len, shown)) <= 80


def all_done(study: Path) -> bool:
    found = statuses(study) if study.exists() else {}
    return len(found) == 3 and all(status.state == "done" for status in found.values())


def disturb(root: Path, grid: Sequence[str], dice: random.Random, most: int) -> int:
    """One sweep, of which random processes are killed until it is over; returns how many were."""
    sweep = start(root, *grid)
    kills = 0
    while kills < most and sweep.poll() is None:
        time.sleep(dice.uniform(0.5, 8.0))
        victim = dice.choice([sweep.pid, *(worker.pid for worker in workers(root))])
        with suppress(psutil.NoSuchProcess):
            psutil.Process(victim).kill()
            kills += 1
        sweep.poll()
    sweep.kill()
    sweep.wait()
    until(lambda: not workers(root), "the children's end", 60)
    return kills


@pytest.mark.long
def test_twenty_kills(tmp_path: Path):
    """Parent and children in random order, until done."""
    grid = (*tiny(98304), *GRID[len(TINY) :])
    whole = finish(tmp_path / "whole", *grid)
    assert whole.returncode == 0, whole.stdout
    dice = random.Random(20)
    study = tmp_path / "grid"
    kills = 0
    while kills < 20 and not all_done(study):
        kills += disturb(tmp_path, grid, dice, 20 - kills)
    assert kills == 20, "the runs were over before"
    done = finish(tmp_path, *grid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert names_of(study) == names_of(tmp_path / "whole" / "grid")
    assert_same_runs(study, tmp_path / "whole" / "grid", names_of(study))
    assert all_done(study)
    assert not workers(tmp_path)
