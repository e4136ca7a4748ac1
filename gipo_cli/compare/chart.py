"""Curves as letters, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from rich.text import Text

from gipo_cli.compare.aggregate import iqm
from gipo_cli.compare.canvas import seed_labels
from gipo_cli.compare.grouping import Arm
from gipo_cli.compare.style import Look
from gipo_cli.compare.tables import FloatArray
from gipo_cli.compare.words import count_words, number_words

if TYPE_CHECKING:
    from gipo_cli.compare.figures_time import ColumnPanel

HEIGHT, MARGIN = 10, 10
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bits of a braille letter's four rows of two dots."""
FRAME, PLAIN_FRAME = ("│", "└", "─", "━"), ("|", "+", "-", "-")


def chart(panel: ColumnPanel, look: Mapping[Arm, Look], width: int, *, plain: bool = False) -> Text:
    """Draw the interquartile mean over the seeds of every group; later groups hide earlier ones.

    Args:
        panel: The groups, all of them with values.
        look: Colours by arm.
        width: Letters in a line.
        plain: Use letters of ASCII only.
    """
    lines = [np.asarray(iqm(rows.T)) for rows in panel.rows]
    low, high = min(line.min() for line in lines), max(line.max() for line in lines)
    shape = (HEIGHT, max(width - MARGIN - 1, 10))
    bits, owner = np.zeros(shape, int), np.zeros(shape, int)
    for index, line in enumerate(lines):
        drawn = _dots(panel.grid, line, low, high, shape)
        bits, owner = bits | drawn, np.where(drawn > 0, index, owner)
    wall, corner, floor, dash = PLAIN_FRAME if plain else FRAME
    colors = [to_hex(look[cell.arm].color) for cell in panel.cells]
    ends = {0: high, HEIGHT - 1: low} if high > low else {HEIGHT // 2: low}
    marks = {row: number_words(value) for row, value in ends.items()}
    text = Text(f"{panel.criterion.title}\n", "bold")
    for row in range(HEIGHT):
        text.append(f"{marks.get(row, ''):>{MARGIN}}{wall}", "not bold dim")
        for dots, group in zip(bits[row].tolist(), owner[row].tolist(), strict=True):
            letter = "*" if plain else chr(0x2800 + dots)
            text.append(letter if dots else " ", f"not bold {colors[group]}")
        text.append("\n")
    first, last = count_words(panel.grid[0]), f"{count_words(panel.grid[-1])} steps"
    text.append(f"{'':{MARGIN}}{corner}{floor * shape[1]}\n", "not bold dim")
    text.append(f"{'':{MARGIN + 1}}{first}{last:>{shape[1] - len(first)}}\n", "not bold dim")
    labels = seed_labels((cell.arm.label, cell) for cell in panel.cells)
    for cell, line, color in zip(panel.cells, lines, colors, strict=True):
        text.append(f"{'':{MARGIN + 1}}{dash * 2} ", f"not bold {color}")
        text.append(f"{labels[cell.arm.label]}: {number_words(line[-1])} at the end\n", "not bold")
    return text


def _dots(
    grid: FloatArray, line: FloatArray, low: float, high: float, shape: tuple[int, int]
) -> NDArray[np.int_]:
    """Braille bits ``[rows, columns]`` of a line through the points of a grid."""
    height, width = 4 * shape[0], 2 * shape[1]
    values = np.interp(np.linspace(grid[0], grid[-1], width), grid, line)
    share = (high - values) / (high - low) if high > low else np.full(width, 0.5)
    rows = np.round(share * (height - 1)).astype(int)
    dots = np.zeros((height, width), bool)
    for column, row in enumerate(rows):
        before = rows[max(column - 1, 0)]
        # Upwards or downwards from beside the last one, so that the line has no gaps.
        start, end = (row, max(before, row + 1)) if row <= before else (before + 1, row + 1)
        dots[start:end, column] = True
    cells = dots.reshape(shape[0], 4, shape[1], 2)
    return np.asarray((cells * DOTS[:, None]).sum(axis=(1, 3)))
