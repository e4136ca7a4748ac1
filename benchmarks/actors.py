"""Wall time of one run inline and with actors in processes of their own, and what each side waits."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Row, Samples, against

SIMULATORS = {
    "reach-v3 at the authors' settings": ["preset=authors", "env.task=reach-v3", "total_steps=20000"],
    "hand_manipulate_block": ["env=hand_manipulate_block", "total_steps=8192"],
}
KINDS = {
    "inline": ["actors=inline"],
    "one actor, max_lag 0": ["actors=processes", "actors.max_lag=0"],
    "one actor, max_lag 1": ["actors=processes"],
    "two actors, max_lag 2": ["actors=processes", "actors.n=2", "actors.max_lag=2"],
}
ALONE = ["eval.episodes=0", "diagnostics=never", "logging=csv", "checkpoint.interval=null"]


def actors(repeats: int) -> list[Row]:
    """The time of the iterations, without the start, each kind against inline; notes say who waits."""
    rows = []
    for name, settings in SIMULATORS.items():
        # In turns, so that a load that changes meets all of them.
        turns = [{kind: _run([*settings, *more]) for kind, more in KINDS.items()} for _ in range(repeats)]
        runs = {kind: [turn[kind] for turn in turns] for kind in KINDS}
        samples: Samples = {
            f"{name}, {kind}": [wall for wall, _ in measured] for kind, measured in runs.items()
        }
        for kind in list(KINDS)[1:]:
            note = runs[kind][-1][1]
            rows.append(against(samples, f"{name}, {kind}", f"{name}, inline", unit="s", note=note))
    return rows


def _run(settings: list[str]) -> tuple[float, str]:
    """Wall time between the first and the last iteration, and the shares of it that each side waits."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gipo_cli", "train", *settings, *ALONE]
        subprocess.run([*command, "--runs", folder, "--name", "r", "--quiet"], check=True)
        with (Path(folder) / "r" / "metrics.csv").open(newline="") as file:
            first, *rest = csv.DictReader(file)
    wall = float(rest[-1]["time/wall"]) - float(first["time/wall"])
    waits = [sum(float(row[f"time/{side}_wait"] or 0) for row in rest) for side in ("learner", "actors")]
    return wall, "learner waits {:.0%}, actors {:.0%}".format(*(wait / wall for wait in waits))
