"""Sweeps broken off anywhere end with the numbers of one that nobody touched."""

import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from sweep_harness import (
    TINY,
    assert_same_runs,
    finish,
    numbers,
    progress,
    start,
    statuses,
    until,
    workers,
)

GRID = (*TINY, "objective=gipo,no_clip", "seed=1,2", "--name", "grid", "--jobs", "2")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, done without a disturbance."""
    root = tmp_path_factory.mktemp("reference")
    done = finish(root, *GRID)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gipo compare" in done.stdout
    return root / "grid"


def names_of(study: Path) -> list[str]:
    return sorted(path.name for path in study.iterdir() if path.is_dir() and not path.name.startswith("."))


def test_reference_is_complete(reference: Path):
    assert len(names_of(reference)) == 4
    for name in names_of(reference):
        assert [row["step"] for row in numbers(reference / name / "metrics.csv")] == [
            str(step) for step in range(128, 1537, 128)
        ]
    shown = finish(reference.parent, "--status", "grid").stdout.splitlines()
    assert len(shown) >= 4
    assert max(map(len, shown)) <= 80


def test_killed_child_then_ctrl_c_then_killed_parent(tmp_path: Path, reference: Path):
    study = tmp_path / "grid"
    sweep = start(tmp_path, *GRID)
    until(lambda: progress(study) >= 256, "progress of the first runs")
    victim = workers(tmp_path)[0]
    broken = str(victim.cmdline()[-1])
    victim.kill()
    until(lambda: sum(status.step > 0 for status in statuses(study).values()) >= 3, "a third run")
    assert sweep.poll() is None, "a killed child stopped the others"
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
    assert_same_runs(study, reference, names_of(reference))
    assert names_of(study) == names_of(reference)
    assert not workers(tmp_path)

    again = finish(tmp_path, *GRID)
    assert again.returncode == 0
    assert "4 of 4 runs are finished and skipped" in again.stdout


def test_raised_budget_extends_finished_runs(tmp_path: Path):
    short = (*TINY, "objective=gipo", "seed=1", "--name", "one")
    longer = tuple(word.replace("total_steps=1536", "total_steps=2048") for word in short)
    assert finish(tmp_path, *short).returncode == 0
    assert finish(tmp_path, *longer).returncode == 0
    assert finish(tmp_path / "whole", *longer).returncode == 0
    names = names_of(tmp_path / "one")
    assert_same_runs(tmp_path / "one", tmp_path / "whole" / "one", names)
    assert numbers(tmp_path / "one" / names[0] / "metrics.csv")[-1]["step"] == "2048"
    assert finish(tmp_path, *short).returncode == 2


def test_second_sweep_of_a_live_study_is_refused(tmp_path: Path):
    sweep = start(tmp_path, *GRID)
    try:
        until(lambda: progress(tmp_path / "grid") > 0, "progress")
        second = finish(tmp_path, *GRID)
        assert second.returncode == 2
        assert re.search(rf"being written by process {sweep.pid}\b", second.stderr)
    finally:
        sweep.send_signal(signal.SIGTERM)
        assert sweep.wait(60) == 143
    assert not workers(tmp_path)


@pytest.mark.long
def test_twenty_kills(tmp_path: Path):
    """Parent and children in random order, until done."""
    grid = tuple(word.replace("total_steps=1536", "total_steps=6144") for word in GRID)
    whole = finish(tmp_path / "whole", *grid)
    assert whole.returncode == 0, whole.stdout
    dice = random.Random(20)
    study = tmp_path / "grid"
    kills = 0
    while kills < 20:
        sweep = start(tmp_path, *grid)
        before = progress(study)
        until(lambda: workers(tmp_path) or sweep.poll() is not None, "a worker")
        while kills < 20 and sweep.poll() is None:
            time.sleep(dice.uniform(0.5, 8.0))
            victims = [psutil.Process(sweep.pid), *workers(tmp_path)]
            victim = dice.choice(victims)
            with suppress(psutil.NoSuchProcess):
                victim.kill()
                kills += 1
            if victim.pid == sweep.pid:
                break
        sweep.wait()
        until(lambda: not workers(tmp_path), "the children's end", 60)
        assert progress(study) >= before
        if len(statuses(study)) == 4 and all(s.state == "done" for s in statuses(study).values()):
            break
    assert kills > 5
    done = finish(tmp_path, *grid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_runs(study, tmp_path / "whole" / "grid", names_of(tmp_path / "whole" / "grid"))
    assert not workers(tmp_path)
