"""Which runs are compared, and by what: settings, filters and metrics as typed, and what is left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gipo_cli.compare.load import LeftOut, Run, Value
from gipo_cli.compare.words import counts_apart, environment_labels
from gipo_cli.errors import UserError, suggest
from gipo_cli.settings.explain import is_number
from gipo_cli.settings.schema import keys_that_change

SHORT_KEYS = {"objective": "objective.name", "buffer": "buffer.size", "env": "env.name", "task": "env.task"}
SHORT_METRICS = {"return": "return_mean", "length": "length_mean"}
TITLES = {
    "success": "success rate",
    "success_any": "success rate (at any step)",
    "success_last": "success rate (at the last step)",
    "return_mean": "return",
    "length_mean": "episode length",
    "first_success": "step of the first success",
    "train/return": "training return",
    "train/success": "training success rate",
    "health/utilisation": "utilisation",
    "health/ess": "effective sample size",
    "health/kl": "KL(behaviour || policy)",
    "health/lag_mean": "policy lag (versions)",
}
SHARES = ("health/utilisation", "health/ess")
REASONS_SHOWN = 5
"""Kinds of reasons for leaving runs out that one sentence can hold."""


def resolve_key(text: str, runs: Iterable[Run]) -> str:
    """Find the full configuration key that ``text`` stands for.

    Raises:
        UserError: none or several keys fit; the message names the nearest.
    """
    known = sorted({key for run in runs for key in run.config})
    for candidate in (text, SHORT_KEYS.get(text, text), f"{text}.name"):
        if candidate in known:
            return candidate
    fits = [key for key in known if key.endswith(f".{text}")]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UserError(f"The key {text!r} is ambiguous; write one of {', '.join(fits)}.")
    hint = suggest(text, known) or "; a run's config.yaml holds its settings"
    raise UserError(f"No run has the setting {text!r}{hint}.")


@dataclass(frozen=True)
class Filter:
    """``key=value[,value]`` or ``key!=value[,value]``; a list is one value, as in ``hidden=[64,64]``."""

    text: str
    key: str

    def passes(self, config: Mapping[str, Value]) -> bool:
        """Whether a configuration has one of the values, or none of them."""
        name, _, wanted = self.text.partition("=")
        return _reads_as(config.get(self.key), wanted) is not name.endswith("!")


def read_filters(texts: Iterable[str], runs: Sequence[Run]) -> list[Filter]:
    """Read filters as typed; their keys are those of some runs.

    Raises:
        UserError: no ``=``, or an unknown key.
    """
    filters = []
    for text in texts:
        name, equals, _ = text.partition("=")
        if not equals or not name.rstrip("!"):
            raise UserError(
                f"The filter {text!r} is no key=value; write for example objective=gipo or buffer.size!=512."
            )
        filters.append(Filter(text, resolve_key(name.rstrip("!"), runs)))
    return filters


def filter_runs(runs: Sequence[Run], filters: Iterable[Filter]) -> list[Run]:
    """Keep the runs that pass every filter.

    Raises:
        UserError: a filter that no run passes.
    """
    kept = list(runs)
    for one in filters:
        passing = [run for run in kept if one.passes(run.config)]
        if not passing:
            there = ", ".join(sorted({_typed(run.config.get(one.key)) for run in kept}))
            raise UserError(f"No run passes the filter {one.text!r}; {one.key} is one of: {there}.")
        kept = passing
    return kept


def _typed(value: Value) -> str:
    """A value as one types it in a filter."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _reads_as(value: Value, typed: str) -> bool:
    """Whether a value is one of those typed: as a number if both are, else letter by letter."""
    wanted = typed.split(",")
    if isinstance(value, tuple):
        return "".join(typed.split()) == _typed(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return any(is_number(text) and float(text) == value for text in wanted)
    return (json.dumps(value) if value is None or isinstance(value, bool) else str(value)) in wanted


@dataclass(frozen=True)
class Criterion:
    """One column of ``eval.csv`` or ``metrics.csv``; a higher value counts as better."""

    table: str
    column: str

    @property
    def title(self) -> str:
        """Name for axes and tables."""
        return TITLES.get(self.column, self.column)

    @property
    def is_rate(self) -> bool:
        """Whether this is a share between 0 and 1, which needs no normalisation across environments."""
        return "success" in self.column or self.column in SHARES

    @property
    def source(self) -> str:
        """File and column in words."""
        return f"column {self.column} of {self.table}.csv"


def find_criterion(name: str | None, runs: Iterable[Run]) -> Criterion:
    """Find the column that ``--metric`` names; by default success, or return if no run reports success.

    Raises:
        UserError: no run has it; the message names the nearest.
    """
    known: dict[str, str] = {}
    for table in ("metrics", "eval"):
        known.update({column: table for run in runs for column in run.recorded(table)})
    for hidden in ("step", "episodes", "iteration"):
        known.pop(hidden, None)
    name = name or ("success" if known.get("success") == "eval" else "return")
    column = SHORT_METRICS.get(name, name)
    if column in known:
        return Criterion(known[column], column)
    short = [text for text in ("success", *SHORT_METRICS) if SHORT_METRICS.get(text, text) in known]
    hint = suggest(name, [*short, *sorted(known)])
    usual = "" if hint else f"; usual ones are {', '.join(short or sorted(known)[:3])}"
    raise UserError(f"No run has the metric {name!r}{hint}{usual}. docs/metrics.md lists all.")


def select_runs(
    runs: Sequence[Run], criterion: Criterion, *, include_unfinished: bool
) -> tuple[list[Run], list[LeftOut]]:
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
    trainings = _trainings(runs)
    best: dict[object, Run] = {}
    for run, training, reason in zip(runs, trainings, reasons, strict=True):
        if not reason:
            best[training] = max(best.get(training, run), run, key=lambda own: _progress(own, criterion))
    used: list[Run] = []
    left_out: list[LeftOut] = []
    for run, training, reason in zip(runs, trainings, reasons, strict=True):
        if not reason and best[training] is run:
            used.append(run)
        else:
            repeats = "" if reason else f"repeats {best[training].path.name}: the same training and seed"
            left_out.append(LeftOut(run.path, reason or repeats))
    return used, left_out


def _trainings(runs: Iterable[Run]) -> list[object]:
    """What was trained, by run: its settings, the seed included, without those that change no result."""
    aside = tuple(f"{name}." for name in keys_that_change("scores", "origin", "nothing"))
    return [
        frozenset(item for item in run.config.items() if not f"{item[0]}.".startswith(aside)) for run in runs
    ]


def _progress(run: Run, criterion: Criterion) -> tuple[bool, float]:
    """Whether a run is finished, and its last step with a value."""
    return run.state == "done", float(run.column(criterion.table, criterion.column)[0][-1])


def _reason(run: Run, criterion: Criterion, budgets: Counter[int], include_unfinished: bool) -> str:
    """Why a run is left out, empty if it is not."""
    if run.state != "done" and not include_unfinished:
        if run.imported:
            return f"imported in part: {run.reason}"
        return f"{run.state} at step {run.step} of {run.budget}"
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
    return ""


def none_left(left_out: Sequence[LeftOut], include_unfinished: bool) -> str:
    """Why no run is left, with every reason and how many runs it holds for."""
    counts = Counter(out.reason for out in left_out).most_common()
    reasons = "; ".join(f"{reason} ({count})" for reason, count in counts[:REASONS_SHOWN])
    if len(counts) > REASONS_SHOWN:
        reasons += f"; and {len(counts) - REASONS_SHOWN} other reasons"
    hint = "" if include_unfinished else " --include-unfinished keeps unfinished runs and other budgets."
    return f"No run is left. Left out: {reasons}.{hint}"
