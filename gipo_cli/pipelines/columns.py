"""Plain text in columns, for a terminal and for a pipe."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Rows as lines of aligned cells.

    Args:
        rows: Cells, as many in every row.
        width: Of the screen; None has no end.

    Returns:
        One line per row; or two where they are wider than the screen, since a first cell is never broken.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = [[cell.ljust(size) for cell, size in zip(row, widths, strict=True)] for row in rows]
    if width is None or sum(widths) + 2 * (len(widths) - 1) <= width:
        return ["  ".join(row).rstrip() for row in texts]
    return [line.rstrip() for row in texts for line in (row[0], "    " + "  ".join(row[1:]))]
