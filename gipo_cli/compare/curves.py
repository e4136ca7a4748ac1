"""One run's column to what comparisons need: curve on a grid, final value, time to threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gipo_cli.compare.tables import FloatArray

GRID_POINTS = 100
FINAL_SHARE = 0.1


def common_grid(steps: Sequence[FloatArray]) -> FloatArray:
    """Environment steps ``[G]`` at which every run of an environment has a value; none if they do not meet.

    The runs' own steps where they agree and are no more than 100, else 100 evenly spaced ones; from the
    latest first step to the earliest last step. ``steps`` increase and hold at least one each.
    """
    start, end = max(own[0] for own in steps), min(own[-1] for own in steps)
    inside = [own[(own >= start) & (own <= end)] for own in steps]
    if all(np.array_equal(own, inside[0]) for own in inside) and len(inside[0]) <= GRID_POINTS:
        return np.unique(inside[0])
    return np.linspace(start, end, GRID_POINTS) if end > start else np.full(int(end == start), end)


def on_grid(grid: FloatArray, steps: FloatArray, values: FloatArray) -> FloatArray:
    """Values between recorded steps by linear interpolation, ``[G]``; NaN outside the recorded range."""
    if not len(steps):
        return np.full(grid.shape, np.nan)
    return np.interp(grid, steps, values, left=np.nan, right=np.nan)


def final_value(steps: FloatArray, values: FloatArray, horizon: float) -> float:
    """Mean over the last tenth of the steps up to ``horizon``, or the last value if none lies there."""
    late = (steps > (1 - FINAL_SHARE) * horizon) & (steps <= horizon)
    return float(values[late].mean() if late.any() else values[steps <= horizon][-1])


def steps_to_threshold(steps: FloatArray, values: FloatArray, threshold: float, horizon: float) -> float:
    """First recorded step up to ``horizon`` with a value of at least ``threshold``; infinite for never."""
    reached = steps[(values >= threshold) & (steps <= horizon)]
    return float(reached[0]) if len(reached) else float("inf")


def area_under(grid: FloatArray, curves: FloatArray) -> FloatArray:
    """Area under curves ``[R, G]`` by the trapezoid rule over the width of the grid: their mean heights."""
    if len(grid) == 1:
        return curves[:, 0]
    slices = np.diff(grid) * (curves[:, 1:] + curves[:, :-1]) / 2
    return np.asarray(slices.sum(axis=-1) / (grid[-1] - grid[0]), dtype=np.float64)
