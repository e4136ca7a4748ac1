"""The table as text: the same cells in the terminal, in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
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
NOTHING, GAP = "-", 2


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
        NOTHING if row.optimality_gap is None else f"{row.optimality_gap:.3g}",
        number_words(row.area),
        NOTHING if row.reached is None else f"{row.reached}/{row.n}",
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
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
    )
    texts = [dict(zip(HEADINGS, cells(row), strict=True)) for row in rows]
    columns = {name: [row[name] for row in texts] for name in shown}
    headings = _headings(rows, columns, width)
    for name in shown:
        numeric = name in NUMERIC
        table.add_column(
            headings[name], justify="right" if numeric else "left", no_wrap=numeric, overflow="fold"
        )
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _headings(rows: Sequence[Row], columns: Mapping[str, Sequence[str]], width: int) -> dict[str, str]:
    """Heading of every column; the baseline and the threshold are named where there is room for them."""
    rivals = {row.rival for row in rows if row.rival}
    thresholds = {row.threshold for row in rows if row.threshold is not None}
    fuller = [("P(better)", f"P(> {rival})") for rival in rivals if len(rivals) == 1]
    fuller += [("steps", f"steps to {number_words(threshold)}") for threshold in thresholds]
    headings = {name: name for name in columns}
    for name, heading in fuller:
        named = headings | {name: heading}
        needed = (max(map(cell_len, [named[own], *texts])) for own, texts in columns.items())
        if sum(needed) + GAP * (len(columns) - 1) <= width:
            headings = named
    return headings
