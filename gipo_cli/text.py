"""Small ways of writing values, shared by everything that prints or records them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

_BLOCKS = "▁▂▃▄▅▆▇█"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one with dotted keys; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def duration(seconds: float | None) -> str:
    """Write seconds as ``h:mm:ss``, or ``-`` where they are unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"


def printable(text: str) -> str:
    r"""Replace characters that a terminal would obey, such as escape sequences, by ``\x1b`` and the like."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw finite numbers as a row of blocks, each the mean of its share of them; empty without numbers."""
    count = min(width, len(values))
    ends = [len(values) * place // count for place in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(ends)]
    low, span = (min(means), max(means) - min(means)) if means else (0.0, 0.0)
    return "".join(_BLOCKS[round(7 * (mean - low) / span) if span else 3] for mean in means)
