"""Bias-variance frontiers of swept families, and which family's lies lower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gipo_cli.analysis.families import Family
from gipo_cli.analysis.gridworld import Pairs, moments, scale_free

Floats = NDArray[np.float64]

LEVELS: Floats = np.geomspace(1e-3, 0.5, 28)
"""Bias levels at which frontiers are compared, as bias^2 over the squared norm of the reference."""

TIE = 0.01
"""Relative difference in variance below which two frontiers count as equal."""


@dataclass(frozen=True)
class Sweep:
    """A family on a set of B policy pairs: arrays ``[V, B]``, V knob values.

    ``bias2`` and ``variance`` are over the squared norm of the reference, ``free_*`` after rescaling the mean
    to unit projection on the reference.
    """

    family: Family
    bias2: Floats
    variance: Floats
    free_bias2: Floats
    free_variance: Floats
    cosine: Floats
    dead_mass: Floats

    def points(self, scale: str) -> tuple[Floats, Floats]:
        """bias^2 and variance, ``raw`` or ``scale_free``."""
        return (self.bias2, self.variance) if scale == "raw" else (self.free_bias2, self.free_variance)

    def mse(self, scale: str, n: int) -> Floats:
        """Relative mean squared error ``[V, B]`` of an n-sample gradient."""
        bias2, variance = self.points(scale)
        return bias2 + variance / n


@dataclass(frozen=True)
class Duel:
    """GIPO's frontier against a rival's, over all pairs and bias levels that either reaches.

    ``lower``, ``equal``, ``higher``: shares of levels at which GIPO needs less, the same or more variance.
    ``variance_ratio``: geometric mean of GIPO's variance over the rival's where both reach the level.
    ``mse_ratio``: by sample size, the geometric mean of GIPO's MSE over the rival's, each at its best knob;
    ``mse_wins``: share of pairs where GIPO's is smaller.
    """

    lower: float
    equal: float
    higher: float
    variance_ratio: float
    mse_ratio: dict[int, float]
    mse_wins: dict[int, float]


def sweep(pairs: Pairs, family: Family) -> Sweep:
    """Exact moments of every member of a family on every pair."""
    norm2 = pairs.reference.square().sum((-1, -2))
    rows = []
    for value in family.values:
        exact = moments(pairs, family.make(value))
        rows.append(
            torch.stack(
                [
                    exact.bias2 / norm2,
                    exact.variance / norm2,
                    *scale_free(pairs, exact),
                    exact.cosine,
                    exact.dead_mass,
                ]
            )
        )
    return Sweep(family, *torch.stack(rows, 1).numpy())


def frontier(bias2: Floats, variance: Floats, levels: Floats = LEVELS) -> Floats:
    """Least variance with bias^2 at most each level: ``[V, B]`` to ``[levels, B]``, inf where not reached.

    Knob values between two swept ones are interpolated in the logarithms.
    """
    lowest = np.full((len(levels), bias2.shape[1]), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = np.log(np.maximum(bias2, 1e-30)), np.log(variance)
        for i, level in enumerate(np.log(levels)):
            reached = np.where(x <= level, y, np.inf)
            crosses = (x[:-1] <= level) != (x[1:] <= level)
            share = (level - x[:-1]) / (x[1:] - x[:-1])
            between = np.where(crosses, y[:-1] + share * (y[1:] - y[:-1]), np.inf)
            between = np.where(np.isnan(between), np.inf, between)
            lowest[i] = np.minimum(reached.min(0), between.min(0, initial=np.inf))
    result: Floats = np.exp(lowest)
    return result


def duels(gipo: Sweep, rivals: Sequence[Sweep], scale: str, sizes: Sequence[int]) -> dict[str, Duel]:
    """Compare GIPO with every rival on the same pairs; ``scale`` is ``raw`` or ``scale_free``."""
    ours = frontier(*gipo.points(scale))
    best = {n: gipo.mse(scale, n).min(0) for n in sizes}
    results = {}
    for rival in rivals:
        theirs = frontier(*rival.points(scale))
        results[rival.family.name] = _duel(
            ours, theirs, {n: best[n] / rival.mse(scale, n).min(0) for n in sizes}
        )
    return results


def _duel(ours: Floats, theirs: Floats, ratios: dict[int, Floats]) -> Duel:
    either = np.isfinite(ours) | np.isfinite(theirs)
    both = np.isfinite(ours) & np.isfinite(theirs)
    lower = (ours < (1 - TIE) * theirs)[either]
    higher = (theirs < (1 - TIE) * ours)[either]
    return Duel(
        lower=float(lower.mean()),
        equal=float(1.0 - lower.mean() - higher.mean()),
        higher=float(higher.mean()),
        variance_ratio=_geometric_mean(ours[both] / theirs[both]),
        mse_ratio={n: _geometric_mean(r) for n, r in ratios.items()},
        mse_wins={n: float((r < 1.0).mean()) for n, r in ratios.items()},
    )


def _geometric_mean(ratios: Floats) -> float:
    return float(np.exp(np.log(ratios).mean())) if ratios.size else float("nan")
