"""Commands from a cold interpreter, against importing the libraries they do without."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks.harness import ROOT, Row, Target, against, interleave, python

GIPO = (sys.executable, "-m", "gipo_cli")


def startup(repeats: int) -> list[Row]:
    """Wall time with warm disk caches."""
    run = partial(subprocess.run, cwd=ROOT, check=True, capture_output=True)
    torch = "python -c 'import torch'"
    limits = {"gipo --help": 0.5, "gipo train --dry-run": 1.5}
    tasks: dict[str, Callable[[], object]] = {
        "gipo --help": partial(run, [*GIPO, "--help"]),
        "gipo train --dry-run": partial(run, [*GIPO, "train", "--dry-run"]),
        torch: partial(run, python("import torch")),
    }
    times = interleave(tasks, repeats, time.perf_counter)
    return [
        against(times, name, torch, unit="wall s", target=Target("at most", limit, "measured"))
        for name, limit in limits.items()
    ]
