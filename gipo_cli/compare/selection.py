"""Which runs enter the numbers, and why the others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gipo_cli.compare.criterion import Criterion
from gipo_cli.compare.grouping import environment_labels
from gipo_cli.compare.load import LeftOut, RunTable
from gipo_cli.compare.words import counts_apart
from gipo_cli.settings.schema import keys_that_change

REASONS_SHOWN = 5
"""Kinds of reasons for leaving runs out that one sentence can hold."""


def select_runs(
    runs: Sequence[RunTable], criterion: Criterion, *, include_unfinished: bool
) -> tuple[list[RunTable], list[LeftOut]]:
    """Split runs into those that enter the numbers and those that do not, each with its reason.

    Of several runs of the same training and seed a finished one enters, else the one that went furthest.
    """
    labels = environment_labels(runs)
    budgets: dict[str, Counter[int]] = {label: Counter() for label in labels}
    finished: dict[str, Counter[int]] = {label: Counter() for label in labels}
    for run, label in zip(runs, labels, strict=True):
        budgets[label][run.budget] += 1
        finished[label][run.budget] += run.state == "done"
    reasons = [
        _reason(run, criterion, +finished[label] or budgets[label], include_unfinished)
        for run, label in zip(runs, labels, strict=True)
    ]
    best: dict[object, RunTable] = {}
    for run, reason in zip(runs, reasons, strict=True):
        if not reason:
            twin = best.setdefault(_identity(run), run)
            best[_identity(run)] = max(twin, run, key=lambda own: _progress(own, criterion))
    used: list[RunTable] = []
    left_out: list[LeftOut] = []
    for run, reason in zip(runs, reasons, strict=True):
        if not reason and (twin := best[_identity(run)]) is not run:
            reason = f"repeats {twin.path.name}: the same training and seed"
        if reason:
            left_out.append(LeftOut(run.path, reason))
        else:
            used.append(run)
    return used, left_out


def too_few(used: Sequence[RunTable], left_out: Sequence[LeftOut], include_unfinished: bool) -> str:
    """Why fewer than two runs are left, with every reason and how many runs it holds for."""
    only = f"{used[0].path.name} is the only run" if used else "no run is left"
    if not left_out:
        return f"Nothing to compare: {only}; name at least two."
    counts = Counter(out.reason for out in left_out).most_common()
    reasons = "; ".join(f"{reason} ({count})" for reason, count in counts[:REASONS_SHOWN])
    if len(counts) > REASONS_SHOWN:
        reasons += f"; and {len(counts) - REASONS_SHOWN} other reasons"
    hint = "" if include_unfinished else " --include-unfinished keeps unfinished runs and other budgets."
    return f"Nothing to compare: {only}. Left out: {reasons}.{hint}"


def _progress(run: RunTable, criterion: Criterion) -> tuple[bool, float]:
    """Whether a run is finished, and its last step with a value."""
    return run.state == "done", float(run.column(criterion.table, criterion.column)[0][-1])


def _reason(
    run: RunTable, criterion: Criterion, budgets: Counter[int], include_unfinished: bool
) -> str | None:
    if run.state != "done" and not include_unfinished:
        if run.imported:
            return f"imported in part: {run.status.get('reason')}"
        return f"{run.state} at step {run.status.get('step', 'unknown')} of {run.budget}"
    usual = max(budgets, key=lambda budget: (budgets[budget], budget))
    if run.budget != usual and not include_unfinished:
        rest = "most" if 2 * budgets[usual] > budgets.total() else "others"
        own, theirs = counts_apart(run.budget, usual)
        return f"budget of {own} steps, where {rest} have {theirs}"
    table = run.table(criterion.table)
    if table is None:
        return f"no {criterion.table}.csv"
    if count := table.not_finite.get(criterion.column, 0):
        return f"{criterion.column} is NaN or infinite in {count} row{'s' * (count > 1)}"
    if not len(run.column(criterion.table, criterion.column)[0]):
        return f"no value of {criterion.column}"
    return None


def _identity(run: RunTable) -> object:
    aside = tuple(f"{name}." for name in keys_that_change("scores", "origin", "nothing"))
    return frozenset((key, value) for key, value in run.config.items() if not f"{key}.".startswith(aside))
