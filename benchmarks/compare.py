"""Time and memory of ``gipo compare`` and ``gipo list``: of 200 runs, of 3,000, and of two very long ones."""

from __future__ import annotations

import json
import os
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
from gipo_cli.runs.status import StatusFile

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
    with path.open("w") as file:
        file.write(",".join(names) + "\n")
        for row in table:
            file.write(",".join([str(int(row[0])), *map(repr, row[1:].tolist())]) + "\n")


def write_run(
    folder: Path,
    env: str,
    objective: str,
    buffer: int,
    seed: int,
    rows: int = ROWS,
    evaluations: int = EVALUATIONS,
) -> None:
    rng = np.random.default_rng([seed, buffer, list(OBJECTIVES).index(objective), len(env)])
    folder.mkdir(parents=True)
    config = {
        "seed": seed, "total_steps": STEPS, "env": {"name": env, "n_envs": 1}, "buffer": {"size": buffer},
        "objective": {"name": objective, **OBJECTIVES[objective]}, "agent": {"rollout_steps": 512},
    }  # fmt: skip
    (folder / "config.yaml").write_text(json.dumps(config))
    StatusFile(folder / "status.json", total_steps=STEPS, step=STEPS).finish("done")
    metrics = rng.random((rows, len(COLUMNS)))
    metrics[:, 0] = np.linspace(STEPS / rows, STEPS, rows)
    metrics[:, COLUMNS.index("time/wall")] = np.linspace(1, 3000, rows)
    write_table(folder / "metrics.csv", COLUMNS, metrics)
    steps = np.linspace(STEPS / evaluations, STEPS, evaluations)
    rate = np.clip(0.9 * (1 - np.exp(-3 * steps / STEPS)) + 0.1 * rng.standard_normal(evaluations), 0, 1)
    names = ("step", "episodes", "return_mean", "success", "time/wall")
    write_table(
        folder / "eval.csv", names, np.column_stack([steps, steps * 0 + 20, 500 * rate, rate, steps / 300])
    )


def many(repeats: int) -> list[Row]:
    """3,000 runs of 100 rows: 3 environments, 4 objectives, 5 buffers, 50 seeds."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for env, objective, buffer, seed in product((*ENVIRONMENTS, "fetch"), OBJECTIVES, BUFFERS, range(50)):
            name = f"{env}-{objective}-{buffer}-{seed}"
            write_run(root / "runs" / name, env, objective, buffer, seed, rows=100, evaluations=20)
        listed = _command(repeats, "list of 3,000 runs", 2, None, "list", "runs", "--runs", root / "runs")
        report = root / "report"
        return listed + _command(
            repeats, "compare of 3,000 runs", 12, 250, "compare", root / "runs", "--out", report
        )


def long(repeats: int) -> list[Row]:
    """Two runs of a million rows."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for seed in range(2):
            write_run(root / "runs" / str(seed), "metaworld-reach", "gipo", 8192, seed, rows=1_000_000)
        words = ("compare", root / "runs", "--out", root / "report")
        return _command(repeats, "compare of two runs of a million rows", 8, 600, *words)


def _command(repeats: int, what: str, seconds: int, megabytes: int | None, *words: object) -> list[Row]:
    """Wall time of a command against its processor time, and the memory of its largest process."""
    wall, work, memory = f"gipo {what}", "its processor time, all processes", f"memory of gipo {what}"
    found: dict[str, list[float]] = {wall: [], work: [], memory: []}
    for _ in range(repeats):
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "gipo_cli", *map(str, words)], stdout=subprocess.DEVNULL
        )
        _, code, used = os.wait4(process.pid, 0)
        assert code == 0, words
        found[wall].append(time.perf_counter() - begun)
        found[work].append(used.ru_utime + used.ru_stime)
        found[memory].append(used.ru_maxrss / 1024)
    rows = [against(found, wall, work, unit="wall s", target=Target("at most", seconds, "measured"))]
    if megabytes:
        limit = Target("at most", megabytes, "measured")
        rows.append(against(found, memory, work, unit="MiB", target=limit))
    return rows


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
