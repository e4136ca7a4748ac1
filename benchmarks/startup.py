"""Commands from a cold interpreter, against importing the libraries they do without."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

from benchmarks.harness import ROOT, Row, Target, against, interleave, python

GIPO = (sys.executable, "-m", "gipo_cli")
FIRST_STEP = """
import os
from gipo_cli.commands.app import main
from gipo_cli.envs.task_env import TaskEnv

TaskEnv.step = lambda *_: os._exit(0)
main()
"""


def startup(repeats: int) -> list[Row]:
    """Wall time with warm disk caches."""
    run = partial(subprocess.run, cwd=ROOT, check=True, capture_output=True)
    torch = "python -c 'import torch'"
    limits = {"gipo --help": 0.5, "gipo train --dry-run": 1.5, "gipo train to its first step": 3.0}
    tasks: dict[str, Callable[[], object]] = {
        "gipo --help": partial(run, [*GIPO, "--help"]),
        "gipo train --dry-run": partial(run, [*GIPO, "train", "--dry-run"]),
        torch: partial(run, python("import torch")),
    }
    with tempfile.TemporaryDirectory() as folder:
        tasks["gipo train to its first step"] = partial(
            run, [*python(FIRST_STEP), "train", "--quiet", "--runs", folder]
        )
        times = interleave(tasks, repeats, time.perf_counter)
    return [
        against(times, name, torch, unit="wall s", target=Target("at most", limit, "measured"))
        for name, limit in limits.items()
    ]
