"""Time of ``gipo compare`` on 200 runs with 2,000 rows each, against reading their files."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, Target, against, interleave, python

OBJECTIVES = {"gipo": {"sigma": 0.5}, "ppo_clip": {"eps": 0.2}, "sapo": {"tau_pos": 1.0}, "no_clip": {}}
BUFFERS = (512, 2048, 8192, 20_480, 51_200)
SEEDS, ENVIRONMENTS = range(5), ("metaworld-reach", "metaworld-push")
ROWS, EVALUATIONS, STEPS = 2000, 100, 1_024_000
HEALTH = (
    "utilisation",
    "ess",
    "kl",
    "lag_mean",
    *(f"utilisation_lag_{b}" for b in ("0", "1_3", "4_15", "16_63", "64_up")),
)
READ = """
import csv, pathlib, sys
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/*.csv")):
    with path.open(newline="") as file:
        [list(map(float, row)) for row in list(csv.reader(file))[1:]]
"""
COLUMNS = (
    "step",
    "iteration",
    *(f"health/{name}" for name in HEALTH),
    "time/wall",
    *(f"loss/{k}" for k in range(35)),
)


def write_table(path: Path, names: tuple[str, ...], table: np.ndarray) -> None:
    rows = (",".join([str(int(row[0])), *map(repr, row[1:].tolist())]) for row in table)
    path.write_text("\n".join([",".join(names), *rows]) + "\n")


def write_run(folder: Path, env: str, objective: str, buffer: int, seed: int) -> None:
    rng = np.random.default_rng([seed, buffer, list(OBJECTIVES).index(objective), len(env)])
    folder.mkdir(parents=True)
    config = {
        "seed": seed, "total_steps": STEPS, "env": {"name": env, "n_envs": 1}, "buffer": {"size": buffer},
        "objective": {"name": objective, **OBJECTIVES[objective]}, "agent": {"rollout_steps": 512},
    }  # fmt: skip
    (folder / "config.yaml").write_text(json.dumps(config))
    (folder / "status.json").write_text(json.dumps({"state": "done", "step": STEPS, "total_steps": STEPS}))
    metrics = rng.random((ROWS, len(COLUMNS)))
    metrics[:, 0] = np.linspace(512, STEPS, ROWS)
    metrics[:, COLUMNS.index("time/wall")] = np.linspace(1, 3000, ROWS)
    write_table(folder / "metrics.csv", COLUMNS, metrics)
    steps = np.linspace(STEPS / EVALUATIONS, STEPS, EVALUATIONS)
    rate = np.clip(0.9 * (1 - np.exp(-3 * steps / STEPS)) + 0.1 * rng.standard_normal(EVALUATIONS), 0, 1)
    names = ("step", "episodes", "return_mean", "success", "time/wall")
    write_table(
        folder / "eval.csv", names, np.column_stack([steps, steps * 0 + 20, 500 * rate, rate, steps / 300])
    )


def compare(repeats: int) -> list[Row]:
    """The whole command in a fresh process, figures and report included, in wall time on all cores."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for env, objective, buffer, seed in product(ENVIRONMENTS, OBJECTIVES, BUFFERS, SEEDS):
            write_run(root / "runs" / f"{env}-{objective}-{buffer}-{seed}", env, objective, buffer, seed)
        size = sum(path.stat().st_size for path in (root / "runs").rglob("*.csv")) / 2**20
        command = [sys.executable, "-m", "gipo_cli", "compare", root / "runs", "--out", root / "report"]
        run = partial(subprocess.run, check=True, capture_output=True)
        ours, peer = "gipo compare of 200 runs", "reading the files with Python's csv"
        tasks: dict[str, Callable[[], object]] = {
            ours: partial(run, command),
            peer: partial(run, [*python(READ), root / "runs"]),
        }
        times = interleave(tasks, repeats, time.perf_counter)
    limit = Target("at most", 30, "measured")
    return [against(times, ours, peer, unit="wall s", target=limit, note=f"{size:.0f} MiB of CSV")]
