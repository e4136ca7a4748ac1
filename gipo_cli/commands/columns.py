"""Plain text in columns, for a terminal and for a pipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_GAP = 2
_LEAST_NAME = 20


def aligned(rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Rows as lines of aligned cells.

    Args:
        rows: Cells, as many in every row.
        width: Of the screen; None has no end.

    Returns:
        One line per row; or two where they are wider than the screen, since a first cell is never broken.
    """
    widths = _widths(rows)
    texts = [[cell.ljust(size) for cell, size in zip(row, widths, strict=True)] for row in rows]
    if width is None or _sum(widths) <= width:
        return [(" " * _GAP).join(row).rstrip() for row in texts]
    return [line.rstrip() for row in texts for line in (row[0], "    " + "  ".join(row[1:]))]


def fitted(rows: Sequence[Sequence[str]], width: int, optional: Sequence[int]) -> list[list[str]]:
    """Rows that fit a screen, the first of which is the heading and the first cells of which are references.

    A reference keeps what tells it from all others, so that it can be typed as it is shown; in what is left,
    columns that may be missing come before the rest of its letters.

    Args:
        rows: Cells, as many in every row.
        width: Of the screen.
        optional: Columns that may be missing.

    Returns:
        The rows; as they are, without any column that may be missing, on a screen that is too narrow anyway.
    """
    widths, needed = _widths(rows), beginnings([row[0] for row in rows[1:]])
    kept = [column for column in range(1, len(widths)) if column not in optional]
    room = width - _sum([0, *(widths[column] for column in kept)])
    if room < min(widths[0], _LEAST_NAME):
        return [[row[0], *(row[column] for column in kept)] for row in rows]
    # One letter more, for the sign that there are others.
    least = min(widths[0], max(_LEAST_NAME, *(1 + count for count in needed.values())))
    for column in optional:
        if room - widths[column] - _GAP >= least:
            kept.append(column)
            room -= widths[column] + _GAP
    return [
        [shortened(row[0], room, needed.get(row[0], 0)), *(row[column] for column in sorted(kept))]
        for row in rows
    ]


def beginnings(names: Sequence[str]) -> dict[str, int]:
    """How many letters a reference must have to mean this name alone.

    A name is meant by its beginning, and by the beginning of what follows its last slash.
    """
    ends = {name: {name, name.rpartition("/")[2]} for name in names}
    count = Counter(
        start for texts in ends.values() for start in {t[:n] for t in texts for n in range(1, len(t) + 1)}
    )
    return {name: next((n for n in range(1, len(name)) if count[name[:n]] == 1), len(name)) for name in names}


def shortened(name: str, room: int, needed: int) -> str:
    """A name in ``room`` letters, without its end; or its middle, if it needs more of its beginning."""
    if len(name) <= room:
        return name
    end = 0 if needed < room else room // 2
    return f"{name[: room - end - 1]}…{name[len(name) - end :]}"


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _sum(widths: Sequence[int]) -> int:
    """Width of a line with so wide cells."""
    return sum(widths) + _GAP * (len(widths) - 1)
