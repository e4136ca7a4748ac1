"""Keep what a study came to: small tables of its finished runs, and their folders without checkpoints.

python docs/results/keep.py runs/reach_buffers [--every 5] [--archive SEED ...]

Writes ``data/STUDY.csv`` (every so many iterations), ``data/STUDY_eval.csv`` and, for each SEED,
``data/STUDY_sSEED.tar.xz``. Unpacked into ``runs/``, that draws the figures again and lets the study go on.
"""

from __future__ import annotations

import argparse
import csv
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from gipo_cli.runs.layout import RunDir, list_runs
from gipo_cli.runs.manifest import peek_config
from gipo_cli.runs.status import read_status

DATA = Path(__file__).parent / "data"
METRICS = (
    "train/return",
    "train/success_any",
    "health/utilisation",
    "health/ess",
    "health/kl",
    "health/lag_mean",
    "loss/entropy",
    "health/explained_variance",
)
EVALUATIONS = ("episodes", "return_mean", "success_any", "success_last")
KEPT = ("config.yaml", "diagnostics.csv", "eval.csv", "metrics.csv", "overrides.txt", "status.json")
"""Files that name no folder of the machine."""


def finished(study: Path) -> list[RunDir]:
    """Runs that are done, in order of objective, buffer and seed."""
    return sorted((run for run in list_runs(study) if read_status(run.status).state == "done"), key=label)


def label(run: RunDir) -> tuple[str, int, int]:
    """Objective, buffer size in transitions, seed."""
    config = peek_config(run)
    return config.objective.name, config.buffer_size, config.seed


def rows(run: RunDir, table: str, columns: Sequence[str], every: int) -> Iterable[list[str | int]]:
    """Of one table of one run: its label, the step, and the columns to five digits."""
    of = label(run)
    with (run.path / table).open() as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            if number % every == 0:
                numbers = [row[name] and f"{float(row[name]):.5g}" for name in columns]
                yield [*of, row["step"], *numbers]


def write(path: Path, runs: Sequence[RunDir], table: str, columns: Sequence[str], every: int) -> None:
    """One CSV of all runs."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["objective", "buffer", "seed", "step", *columns])
        for run in runs:
            writer.writerows(rows(run, table, columns, every))


def archive(path: Path, runs: Sequence[RunDir]) -> None:
    """Run folders without checkpoints, logs and what says where they were made."""
    with tarfile.open(path, "w:xz") as kept:
        for run in runs:
            for name in KEPT:
                kept.add(run.path / name, f"{run.path.parent.name}/{run.name}/{name}", filter=nobody)


def nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the owner's name."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Keep what a study came to.")
    parser.add_argument("study", type=Path, help="folder of its runs")
    parser.add_argument("--every", type=int, default=5, help="iterations between rows (default 5)")
    parser.add_argument("--archive", type=int, nargs="*", default=[], metavar="SEED")
    given = parser.parse_args(arguments)
    runs = finished(given.study)
    write(DATA / f"{given.study.name}.csv", runs, "metrics.csv", METRICS, given.every)
    write(DATA / f"{given.study.name}_eval.csv", runs, "eval.csv", EVALUATIONS, 1)
    for seed in given.archive:
        path = DATA / f"{given.study.name}_s{seed}.tar.xz"
        archive(path, [run for run in runs if label(run)[2] == seed])
        print(path)
    print(f"{len(runs)} finished runs")


if __name__ == "__main__":
    main()
