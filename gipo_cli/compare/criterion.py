"""Which number runs are compared by, and in which file it lies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gipo_cli.compare.load import RunTable
from gipo_cli.errors import UserError, suggest

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
        return "success" in self.column

    @property
    def source(self) -> str:
        """File and column in words."""
        return f"column {self.column} of {self.table}.csv"


def find_criterion(name: str | None, runs: Iterable[RunTable]) -> Criterion:
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
    column = SHORT_NAMES.get(name, name)
    if column in known:
        return Criterion(known[column], column)
    short = [text for text in ("success", *SHORT_NAMES) if SHORT_NAMES.get(text, text) in known]
    hint = suggest(name, [*short, *sorted(known)])
    usual = "" if hint else f"; usual ones are {', '.join(short or sorted(known)[:3])}"
    raise UserError(f"No run has the metric {name!r}{hint}{usual}. docs/metrics.md lists all.")
