"""How policy lag, in learner versions, is sorted into buckets. No torch."""

from __future__ import annotations

LAG_BUCKETS: dict[str, tuple[int, float]] = {
    "0": (0, 0),
    "1_3": (1, 3),
    "4_15": (4, 15),
    "16_63": (16, 63),
    "64_up": (64, float("inf")),
}
"""Name and inclusive bounds."""
