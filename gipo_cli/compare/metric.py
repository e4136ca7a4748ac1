"""Which number runs are compared by, and in which file it lies."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from gipo_cli.compare.load import RunTable
from gipo_cli.errors import UserError

SHORT_NAMES = {"return": "return_mean", "length": "length_mean"}
TITLES = {
    "success": "success rate",
    "success_any": "success rate (at any step)",
    "success_last": "success rate (at the last step)",
    "return_mean": "return",
    "length_mean": "episode length",
    "train/return": "training return",
    "train/success": "training success rate",
}


@dataclass(frozen=True)
class Metric:
    """One column of ``eval.csv`` or ``metrics.csv``; a higher value counts as better."""

    table: str
    column: str

    @property
    def title(self) -> str:
        """Name for axes and tables."""
        return TITLES.get(self.column, self.column)

    @property
    def is_rate(self) -> bool:
        """A share between 0 and 1, which needs no normalisation across environments."""
        return "success" in self.column

    @property
    def source(self) -> str:
        """File and column in words."""
        return f"column {self.column} of {self.table}.csv"


def usual_metric(runs: Iterable[RunTable]) -> str:
    """Success, or return where no run reports success."""
    return "success" if any("success" in run.recorded("eval") for run in runs) else "return"


def find_metric(name: str, runs: Iterable[RunTable]) -> Metric:
    """The metric a user means by ``name``.

    Args:
        name: ``success``, ``return``, ``length``, or any column of ``eval.csv`` or ``metrics.csv``.
        runs: the runs to be compared; at least one must have the column.

    Raises:
        UserError: no run has it; the message names the nearest.
    """
    runs = list(runs)
    column = SHORT_NAMES.get(name, name)
    known: dict[str, str] = {}
    for table in ("metrics", "eval"):
        for run in runs:
            known.update(dict.fromkeys(run.recorded(table), table))
    for hidden in ("step", "episodes", "iteration"):
        known.pop(hidden, None)
    if column in known:
        return Metric(known[column], column)
    short = [text for text in ("success", *SHORT_NAMES) if SHORT_NAMES.get(text, text) in known]
    near = _nearest(name, [*short, *known])
    usual = ", ".join(short or sorted(known)[:3])
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Usual ones are: {usual}."
    raise UserError(f"No run has the metric {name!r}. {hint} docs/metrics.md lists all.")


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    """At most three names like this one, in whole or in what follows their slash."""
    wholes: dict[str, list[str]] = {}
    for full in dict.fromkeys(known):
        for text in {full, full.rpartition("/")[2]}:
            wholes.setdefault(text, []).append(full)
    close = difflib.get_close_matches(name.rpartition("/")[2], wholes, n=3)
    close = difflib.get_close_matches(name, wholes, n=3) + close
    return list(dict.fromkeys(full for text in close for full in wholes[text]))[:3]
