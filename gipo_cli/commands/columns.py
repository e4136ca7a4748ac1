"""Plain text in columns, for a terminal and for a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_GAP = "  "


def aligned(
    rows: Sequence[Sequence[str]], width: int | None = None, optional: Sequence[int] = ()
) -> list[str]:
    """Lay out rows as lines of aligned cells.

    Args:
        rows: Cells, equally many in every row. The first is never shortened, so that it can be copied.
        width: Columns of the screen; None for no limit.
        optional: Columns to leave out, the last first, where the screen is too narrow.

    Returns:
        One line per row; two, with all columns, where even the others do not fit.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def room(columns: Iterable[int]) -> int:
        sizes = [widths[column] for column in columns]
        return sum(sizes) + len(_GAP) * (len(sizes) - 1)

    everything = range(len(widths))
    kept = sorted(set(everything) - set(optional))
    for column in optional:
        if width is None or room([*kept, column]) <= width:
            kept.append(column)
    fits = width is None or room(kept) <= width
    texts = [[row[column].ljust(widths[column]) for column in everything] for row in rows]
    if fits:
        return [_GAP.join(row[column] for column in sorted(kept)).rstrip() for row in texts]
    return [line.rstrip() for row in texts for line in (row[0], "    " + _GAP.join(row[1:]))]
