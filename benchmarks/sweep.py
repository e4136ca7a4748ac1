"""Wall time of a sweep of 12 runs against the processor time of its runs, shared between the cores."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Row, Target, against
from gipo_cli.sweep.folder import StudyDir, write_study
from gipo_cli.sweep.plan import plan
from gipo_cli.sweep.worker import ONE_THREAD, worker_command

GRID = ("env=fetch_reach", "objective=gipo,ppo_clip,sapo,no_clip", "seed=1,2,3")
STEPS = (4_000, 20_000)
JOBS = 2


def children_seconds() -> float:
    """Processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sweep(repeats: int) -> list[Row]:
    """Each run by itself, then the whole command from its first import to its table, once for each length.

    It takes some 12 minutes on two cores, whatever ``repeats``; the machine must have nothing else to do.
    """
    del repeats
    return [_once(steps) for steps in STEPS]


def _once(steps: int) -> Row:
    grid = [*GRID, f"total_steps={steps}"]
    environment = os.environ | ONE_THREAD
    with tempfile.TemporaryDirectory() as folder:
        alone = StudyDir(Path(folder) / "alone")
        study = plan(grid, name="bench")
        write_study(alone, study, command="")
        before = children_seconds()
        for run in study.runs:
            command = worker_command(alone, run.name)
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        cpu = children_seconds() - before
        command = [sys.executable, "-m", "gipo_cli", "sweep", "--runs", folder, "--name", "bench"]
        begun = time.perf_counter()
        subprocess.run(
            [*command, "--jobs", str(JOBS), *grid],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wall = time.perf_counter() - begun
    what, peer = f"sweep of {len(study.runs)} runs of {steps:,} steps", f"their processor time / {JOBS}"
    return against({what: [wall], peer: [cpu / JOBS]}, what, peer, unit="s", target=Target("at most", 1.1))
