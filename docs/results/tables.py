"""The tables of a results page: what a study came to, by buffer size and objective.

python docs/results/tables.py runs/reach_buffers [--passed 2000 3000] [--against gipo | --whole]

Prints Markdown, of the seeds that every objective and buffer size has finished. Statistics are those of
``gipo compare --metric train/return``; with ``--against``, only the differences from that objective; with
``--whole``, only of the mean over all steps, which says who learns faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from gipo_cli.commands.compare import read_runs
from gipo_cli.compare.aggregate import Estimate
from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.curves import steps_to_threshold
from gipo_cli.compare.load import RunTable
from gipo_cli.compare.summary import Row, summarise

METRIC = "train/return"
PASSED = (2000.0, 3000.0)
"""Returns whose first passing is reported; those of other tasks are given."""
NAMES = {"gipo": "GIPO", "ppo_clip": "PPO-clip", "sapo": "SAPO", "tis": "TIS", "no_clip": "no clip"}
"""Objectives in the order of the columns."""
Line = tuple[str, Callable[[Cell, Row], str]]


def each(of: Callable[[RunTable], str]) -> Callable[[Cell, Row], str]:
    """One entry per run, in the order of seeds."""
    return lambda cell, row: " · ".join(of(run) for run in cell.runs)


def interval(found: Estimate | None, form: str) -> str:
    """Value and interval, which one seed has not; empty where there is nothing to compare with."""
    if found is None:
        return ""
    bounds = "" if np.isnan(found.low) else f" [{found.low:{form}}, {found.high:{form}}]"
    return f"{found.value:{form}}{bounds}"


def shown(values: Iterable[float], form: str) -> str:
    """Numbers in the order of seeds."""
    return " · ".join(f"{value:{form}}" for value in values)


def first_passed(run: RunTable, value: float) -> str:
    """Step at which the training return first passes a value."""
    step = steps_to_threshold(*run.column("metrics", METRIC), value, run.budget)
    return f"{step:,.0f}" if np.isfinite(step) else "not"


def success(run: RunTable) -> str:
    """Share of the last evaluation's episodes that succeed at any step."""
    return f"{100 * run.column('eval', 'success_any')[1][-1]:.0f}"


def average(column: str, form: str) -> Callable[[Cell, Row], str]:
    """Mean of a column over the steps of each run, then over runs."""
    return lambda cell, row: format(cell.averages(column).mean(), form)


def differences(form: str) -> list[Line]:
    """What sets an objective apart from the baseline."""
    return [
        ("difference of IQMs, paired by seed", lambda cell, row: interval(row.difference, form)),
        ("probability of ending above one of its runs", lambda cell, row: interval(row.improvement, ".2g")),
    ]


def lines(form: str, passed: Sequence[float]) -> list[Line]:
    """The rows of a results page, with returns in one form."""
    difference, improvement = (of for _, of in differences(form))
    return [
        ("final training return, by seed", lambda cell, row: shown(cell.finals, form)),
        ("IQM and 95 % interval", lambda cell, row: interval(row.iqm, form)),
        ("against PPO-clip, paired by seed", difference),
        ("probability of ending above a PPO-clip run", improvement),
        *((f"step that first passes {x:g}", each(partial(first_passed, value=x))) for x in passed),
        ("evaluation success at any step, last, %", each(success)),
        ("samples that move the policy", average("health/utilisation", ".0%")),
        ("effective sample size", average("health/ess", ".2g")),
        ("KL(mu \\|\\| pi)", average("health/kl", ".2g")),
        ("policy lag, versions", average("health/lag_mean", ".1f")),
    ]


def speed(form: str) -> list[Line]:
    """The mean over all steps, and what sets it apart from PPO-clip's."""
    return [
        ("mean training return over all steps, by seed", lambda cell, row: shown(cell.finals, form)),
        ("IQM and 95 % interval", lambda cell, row: interval(row.iqm, form)),
        ("against PPO-clip, paired by seed", lambda cell, row: interval(row.difference, form)),
    ]


def over_all_steps(comparison: Comparison) -> Comparison:
    """The same with the mean height of the whole curve in place of its last tenth."""
    cells = {key: replace(cell, finals=cell.areas) for key, cell in comparison.cells.items()}
    return replace(comparison, cells=cells)


def whole_seeds(study: Path, baseline: str | None) -> Comparison:
    """The finished runs of the seeds that no group lacks."""
    paths = [str(study)]
    seeds = [set(cell.seeds) for cell in read_runs(paths, metric=METRIC).cells.values()]
    lacking = set.union(*seeds) - set.intersection(*seeds)
    return read_runs(paths, metric=METRIC, baseline=baseline, filters=[f"seed!={seed}" for seed in lacking])


def table(comparison: Comparison, buffer: int | None, shown_lines: Sequence[Line]) -> list[str]:
    """One table, of one buffer size."""
    rows = {row.arm: row for row in summarise(comparison)}
    cells = {arm.objective: cell for (_, arm), cell in comparison.cells.items() if arm.buffer == buffer}
    shown = [name for name in NAMES if name in cells]
    out = [
        "| | " + " | ".join(NAMES[name] for name in shown) + " |",
        "| --- |" + " --- |" * len(shown),
    ]
    for title, of in shown_lines:
        parts = (of(cells[name], rows[cells[name].arm]) for name in shown)
        out.append(f"| {title} | " + " | ".join(parts) + " |")
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The tables of a results page.")
    parser.add_argument("study", type=Path, help="folder of its runs")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--against", metavar="OBJECTIVE", help="only the differences from this one")
    only.add_argument("--whole", action="store_true", help="only of the mean over all steps")
    parser.add_argument(
        "--passed",
        metavar="RETURN",
        type=float,
        nargs="+",
        default=PASSED,
        help="whose first passing is shown",
    )
    given = parser.parse_args(arguments)
    comparison = whole_seeds(given.study, given.against)
    form = ".0f" if max(np.abs(cell.finals).max() for cell in comparison.cells.values()) >= 100 else ".2f"
    rows = differences(form) if given.against else lines(form, given.passed)
    if given.whole:
        comparison, rows = over_all_steps(comparison), speed(form)
    sizes = sorted({arm.buffer for arm in comparison.arms if arm.buffer is not None})
    for buffer in sizes:
        if len(sizes) > 1:
            print(f"**Buffer of {buffer:,} transitions**\n")
        print("\n".join(table(comparison, buffer, rows)), end="\n\n")


if __name__ == "__main__":
    main()
