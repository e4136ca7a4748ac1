"""The look of every objective in figures, from its class: colour, marker and dashes.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers tell apart,
less black and yellow, plus three of other lightness; marker and dashes repeat the distinction for a reader
of a grey copy. All are legible on white and on the report's dark ground.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from matplotlib.colors import to_rgb

from gipo_cli.core.objectives import OBJECTIVES

INK, GRID, PAPER = "#1c1d22", "#d8d9de", "#fefefe"
"""Text, grid lines and ground, which the report replaces to follow the reader's light or dark setting."""

V = TypeVar("V", bound=Hashable)
Dash = str | tuple[float, tuple[float, ...]]
LOOKS = {name: kind.look for name, kind in OBJECTIVES.items() if kind.look}
OTHERS: tuple[tuple[str, str, Dash], ...] = (
    ("#b8405e", "h", (0, (1, 2))),
    ("#6f8f2f", "d", (0, (9, 3))),
    ("#3f8f9f", "p", (0, (3, 3))),
    ("#a0559f", "*", (0, (5, 1, 2, 1))),
)
FILLS = ("full", "none", "left", "bottom", "right", "top")

_TEXT = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
RC: Any = {
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 12.5),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 11.5),
    **dict.fromkeys(_TEXT, INK),
    **dict.fromkeys(("legend.frameon", "axes.spines.top", "axes.spines.right"), False),
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.formatter.useoffset": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.5,
    "path.simplify_threshold": 0.3,
    "svg.hashsalt": "gipo",
}


@dataclass(frozen=True)
class Look:
    """How one line is drawn."""

    color: str | tuple[float, float, float]
    marker: str
    dash: Dash
    fill: str

    @property
    def curve(self) -> dict[str, Any]:
        """Keyword arguments for a line without markers."""
        return {"color": self.color, "linestyle": self.dash}

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments for a line with markers."""
        return {**self.curve, "marker": self.marker, "fillstyle": self.fill, "markerfacecoloralt": PAPER}


def base_look(objective: str) -> tuple[str, str, Dash]:
    """Colour, marker and dashes of an objective, the same in every report.

    A user's own objective gets one of four further looks, picked by its name.
    """
    return LOOKS.get(objective) or OTHERS[zlib.crc32(objective.encode()) % len(OTHERS)]


def variant_looks(names: Iterable[tuple[str, V]]) -> dict[V, Look]:
    """The look of every variant, each given after its objective's name; a single one has the objective's."""
    variants: dict[str, dict[V, None]] = {}
    for objective, variant in names:
        variants.setdefault(objective, {})[variant] = None
    found: dict[V, Look] = {}
    for objective, own in variants.items():
        color, marker, dash = base_look(objective)
        for index, name in enumerate(own):
            found[name] = Look(_shade(color, index, len(own)), marker, dash, FILLS[index % len(FILLS)])
    return found


def _shade(color: str, index: int, count: int) -> str | tuple[float, float, float]:
    """The colour itself for a single variant, else from darker to lighter around it."""
    if count == 1:
        return color
    position = index / (count - 1)
    goal, amount = (0.0, 0.35 * (1 - 2 * position)) if position < 0.5 else (1.0, 0.9 * (position - 0.5))
    red, green, blue = (part + (goal - part) * amount for part in to_rgb(color))
    return (red, green, blue)
