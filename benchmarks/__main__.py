"""Measure the figures, print their tables and write ``results/latest.json`` and ``results/latest.md``.

python -m benchmarks [--only NAME ...] [--repeats N] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import ROOT, Row, load, machine, table

RESULTS = ROOT / "benchmarks" / "results"
FIGURES = {
    "acting": ("learner", "Collecting 500 transitions"),
    "update": ("learner", "Optimizer steps"),
    "compiled": ("learner", "Optimizer steps through torch.compile"),
    "iteration": ("learner", "One iteration at the authors' settings"),
    "throughput": ("throughput", "An iteration at the authors' settings, all cores at work"),
    "sb3_ppo": ("ppo", "2,048 environment steps and 320 optimizer steps of PPO"),
    "objectives": ("learner", "20 actor+critic steps by objective"),
    "replay": ("replay", "A batch of 512 from the replay buffer"),
    "diagnostics": ("diagnostics", "The live probe"),
    "checkpoint": ("checkpoint", "Saving a buffer of 100,000 transitions"),
    "stepping": ("stepping", "50 steps of every environment, of each the shortest of the repetitions"),
    "share": ("share", "The agent's own share of an iteration at Meta-World's defaults"),
    "whole": ("whole", "Whole runs of one core, with start and evaluations"),
    "success": ("whole", "Until 90 % success"),
    "startup": ("startup", "Start of a command"),
    "compare": ("compare", "Comparing runs"),
    "many": ("compare", "3,000 runs"),
    "long": ("compare", "Two runs of a million rows"),
    "actors": ("actors", "A run with actors in processes of their own"),
    "sweep": ("sweep", "Twelve runs on two cores"),
}
"""Name to the module that measures it, in a function of that name, and the title of its table."""


def write(out: Path, repeats: int, about: dict[str, object], found: dict[str, list[Row]]) -> None:
    """Both files, with everything measured so far."""
    figures = {
        name: [{**asdict(row), "met": row.target.met(row) if row.target else None} for row in rows]
        for name, rows in found.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "latest.json").write_text(json.dumps({**about, "repeats": repeats, "figures": figures}, indent=1))
    facts = [f"- {key}: {value}" for key, value in about.items()]
    head = [
        "# Benchmark results",
        "",
        f"Medians (quartiles) of {repeats} interleaved repetitions.",
        "",
        *facts,
        "",
    ]
    tables = [table(FIGURES[name][1], rows) for name, rows in found.items()]
    (out / "latest.md").write_text("\n".join([*head, *tables]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed against peers and floors."
    )
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each thing (default 7)")
    parser.add_argument(
        "--out", type=Path, help="default: benchmarks/results; with --only, benchmarks/results/partial"
    )
    given = parser.parse_args(arguments)
    # A part must not take the place of the whole.
    whole = set(given.only) == set(FIGURES)
    out = given.out or (RESULTS if whole else RESULTS / "partial")
    if given.repeats < 1:
        parser.error("--repeats must be at least 1")
    about = {**machine(), "load before": round(load(), 2)}
    found: dict[str, list[Row]] = {}
    for name in given.only:
        module, title = FIGURES[name]
        found[name] = getattr(importlib.import_module(f"benchmarks.{module}"), name)(given.repeats)
        print(table(title, found[name]), flush=True)
        write(out, given.repeats, about, found)
    print(f"written to {out}")


if __name__ == "__main__":
    main()
