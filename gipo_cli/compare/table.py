"""The table as text: the same cells in the terminal, in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from gipo_cli.compare.aggregate import Estimate
from gipo_cli.compare.summary import Row
from gipo_cli.compare.words import count_words, duration_words, number_words

HEADINGS = (
    "group", "n", "IQM", "mean", "median", "P(better)", "IQM difference", "interval", "gap", "area",
    "reached", "steps", "efficiency", "wall time",
)  # fmt: skip
NUMERIC = frozenset(HEADINGS) - {"group", "interval"}
NARROW = ("group", "n", "IQM", "P(better)", "steps")
MIDDLE = ("group", "n", "IQM", "mean", "P(better)", "reached", "steps", "wall time")
NOTHING = "-"


def cells(row: Row) -> list[str]:
    """One row's texts in the order of `HEADINGS`."""
    return [
        row.arm.label,
        str(row.n),
        estimate_words(row.iqm),
        number_words(row.mean),
        number_words(row.median),
        estimate_words(row.improvement),
        estimate_words(row.difference) + (" (paired)" if row.paired else ""),
        row.verdict or NOTHING,
        f"{row.optimality_gap:.3g}",
        number_words(row.area),
        f"{row.reached}/{row.n}",
        _steps(row),
        NOTHING if row.efficiency is None else f"{row.efficiency:.3g}",
        duration_words(row.wall),
    ]


def estimate_words(estimate: Estimate | None) -> str:
    """``0.82 [0.61, 0.95]``; only the number where there is no interval."""
    if estimate is None:
        return NOTHING
    if estimate.low != estimate.low:
        return number_words(estimate.value)
    low, high = number_words(estimate.low), number_words(estimate.high)
    return f"{number_words(estimate.value)} [{low}, {high}]"


def _steps(row: Row) -> str:
    if row.steps is None:
        return NOTHING
    return "never" if row.steps == float("inf") else count_words(row.steps)


def terminal_table(title: str, rows: Sequence[Row], width: int) -> Table:
    """One environment's rows; a narrow terminal gets fewer columns, never cut numbers."""
    shown = NARROW if width < 100 else MIDDLE
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for name in shown:
        numeric = name in NUMERIC
        table.add_column(name, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows:
        texts = dict(zip(HEADINGS, cells(row), strict=True))
        table.add_row(*(texts[name] for name in shown))
    return table
