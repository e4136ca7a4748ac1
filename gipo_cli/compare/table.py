"""The table as text: the same cells in the terminal, in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from gipo_cli.compare.aggregate import Interval
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
    steps = NOTHING if row.steps is None else count_words(row.steps)
    return [
        row.arm.label,
        str(row.n),
        interval_words(row.iqm),
        number_words(row.mean),
        number_words(row.median),
        interval_words(row.improvement),
        interval_words(row.difference) + (" (paired)" if row.paired else ""),
        row.verdict or NOTHING,
        NOTHING if row.optimality_gap is None else f"{row.optimality_gap:.3g}",
        number_words(row.area),
        NOTHING if row.reached is None else f"{row.reached}/{row.n}",
        "never" if row.steps == float("inf") else steps,
        NOTHING if row.efficiency is None else f"{row.efficiency:.3g}",
        duration_words(row.wall),
    ]


def interval_words(found: Interval | None) -> str:
    """``0.82 [0.61, 0.95]``; only the number if there is no interval."""
    if found is None:
        return NOTHING
    bounds = f" [{number_words(found.low)}, {number_words(found.high)}]" if found.low == found.low else ""
    return number_words(found.value) + bounds


def terminal_table(title: str, rows: Sequence[Row], width: int) -> Table:
    """One environment's rows; a narrow terminal gets fewer columns, never cut numbers."""
    shown = NARROW if width < 100 else MIDDLE
    table = Table(title=Text(title, "bold"), title_justify="left", box=None, pad_edge=False)
    table.padding = (0, GAP, 0, 0)
    texts = [dict(zip(HEADINGS, cells(row), strict=True)) for row in rows]
    columns = {name: [row[name] for row in texts] for name in shown}
    headings = _headings(rows, columns, width)
    for name in shown:
        numeric = name in NUMERIC
        table.add_column(
            headings[name], justify="right" if numeric else "left", no_wrap=numeric, overflow="fold"
        )
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    return table


def _headings(rows: Sequence[Row], columns: dict[str, list[str]], width: int) -> dict[str, str]:
    """Heading of every column; the baseline and the threshold are named if there is room for them."""
    rivals = {row.rival for row in rows if row.rival}
    fuller = [("P(better)", f"P(> {rival})") for rival in rivals if len(rivals) == 1]
    fuller += [
        ("steps", f"steps to {number_words(threshold)}")
        for threshold in {row.threshold for row in rows if row.threshold is not None}
    ]
    headings = {name: name for name in columns}
    for name, heading in fuller:
        named = headings | {name: heading}
        needed = sum(max(map(cell_len, [named[own], *texts])) for own, texts in columns.items())
        if needed + GAP * (len(columns) - 1) <= width:
            headings = named
    return headings
