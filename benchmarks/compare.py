"""Time of `gipo compare` on 200 runs with 2,000 rows each, from a cold start to the finished report.

    python -m benchmarks.compare [--keep FOLDER]

Run folders are made first, outside the time. The command runs in a process of its own, on two cores.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="write the runs and the report here and leave them")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as scratch:
        root = keep or Path(scratch)
        for env, objective, buffer, seed in product(ENVIRONMENTS, OBJECTIVES, BUFFERS, SEEDS):
            write_run(root / "runs" / f"{env}-{objective}-{buffer}-{seed}", env, objective, buffer, seed)
        size = sum(path.stat().st_size for path in (root / "runs").rglob("*.csv")) / 2**20
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
        command = [
            sys.executable,
            "-m",
            "gipo_cli",
            "compare",
            str(root / "runs"),
            "--out",
            str(root / "report"),
        ]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures = len(list((root / "report" / "figures").glob("*.png")))
        runs = len(list((root / "runs").iterdir()))
        print(f"{runs} runs x {ROWS} rows, {size:.0f} MiB of CSV, {figures} figures")
        print(
            f"wall {wall:.1f} s, processor {used.ru_utime + used.ru_stime:.1f} s, peak memory "
            f"{used.ru_maxrss / 2**20:.2f} GiB"
        )


if __name__ == "__main__":
    main()
