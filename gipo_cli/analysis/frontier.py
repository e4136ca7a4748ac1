"""Bias-variance frontiers of swept objectives by attainable points only, and whose lies lower."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gipo_cli.analysis.gridworld import Pairs, moments, relative, scale_free
from gipo_cli.analysis.swept import Swept

SCALES = {"raw": relative, "scale_free": scale_free}
"""bias^2 and variance over ||reference||^2, as they are and with the mean at unit projection on it."""

LEVELS = torch.logspace(-3, math.log10(0.5), 28, dtype=torch.float64)
"""Values of bias^2 over ||reference||^2 at which frontiers are compared."""

TIE = 0.01
"""Relative difference in variance below which two frontiers count as equal."""

HALVINGS = 24
GOLDEN_CUTS = 16
ONE_ALONE = (1e-12, 1e12)
"""Sample sizes at which bias^2 + variance / n is the variance alone, and the bias alone."""

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


class Best(NamedTuple):
    """What one swept objective attains on each of B pairs.

    ``variance`` ``[levels, B]`` is the least with bias^2 at most each level, inf where none is; ``mse``
    ``[B]`` the least mean squared error by sample size.
    """

    variance: Tensor
    mse: dict[int, Tensor]


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


@dataclass(frozen=True)
class _Curve:
    """bias^2 and variance of a swept objective by its knob, one value for each of the pairs."""

    pairs: Pairs
    swept: Swept
    scale: str

    def __call__(self, knob: Tensor) -> tuple[Tensor, Tensor]:
        return SCALES[self.scale](self.pairs, moments(self.pairs, self.swept.at(knob)))

    def of(self, pair: Tensor) -> _Curve:
        """The same by the knobs of the pairs of these numbers."""
        return _Curve(self.pairs.take(pair), self.swept, self.scale)


def best(
    pairs: Pairs, swept: Swept, scale: str, points: int, sizes: Sequence[int], levels: Tensor = LEVELS
) -> Best:
    """The frontier of a swept objective, and its least MSE at every sample size.

    Every number belongs to a knob value. A clipped objective has at most 13 different gradients per pair, and
    all are tried. Any other is continuous in its knob: ``points`` values bracket the local minima and the
    crossings of every level, which are then found to rounding.
    """
    curve, knob = _Curve(pairs, swept, scale), swept.attained(pairs, points)
    count, pair = knob.shape[1], torch.arange(knob.shape[1]).expand_as(knob).flatten()
    bias2, variance = curve.of(pair)(knob.flatten())
    candidates = [(pair, bias2, variance)]
    if not swept.objective.clipped:
        grid = bias2.view_as(knob), variance.view_as(knob)
        at, where = _minima(curve, knob, *grid, bias2.new_tensor([*ONE_ALONE, *sizes]))
        candidates.append((where, *curve.of(where)(at)))
        pair, bias2, variance = (torch.cat(one) for one in zip(*candidates, strict=True))
    lowest = torch.stack([_least(variance.where(bias2 <= level, math.inf), pair, count) for level in levels])
    if not swept.objective.clipped:
        lowest = torch.minimum(lowest, _at_crossings(curve, knob, grid[0], levels))
    return Best(lowest, {n: _least(bias2 + variance / n, pair, count) for n in sizes})


def _least(values: Tensor, pair: Tensor, count: int) -> Tensor:
    """The least value of every pair, ``[count]``; inf where it has none."""
    return values.new_full((count,), math.inf).scatter_reduce(0, pair, values, "amin")


def _minima(
    curve: _Curve, knob: Tensor, bias2: Tensor, variance: Tensor, sizes: Tensor
) -> tuple[Tensor, Tensor]:
    """Knobs at the local minima of bias^2 + variance / n for every n, and their pairs; flat."""
    error = bias2 + variance / sizes[:, None, None]
    inner = error[:, 1:-1]
    size, place, pair = ((inner < error[:, :-2]) & (inner <= error[:, 2:])).nonzero(as_tuple=True)
    n, on = sizes[size], curve.of(pair)
    low, high = knob[place, pair].log(), knob[place + 2, pair].log()
    for _ in range(GOLDEN_CUTS):
        step = GOLDEN * (high - low)
        left, right = high - step, low + step
        (bias_left, variance_left), (bias_right, variance_right) = on(left.exp()), on(right.exp())
        falls = bias_left + variance_left / n > bias_right + variance_right / n
        low, high = left.where(falls, low), high.where(falls, right)
    return ((low + high) / 2).exp(), pair


def _at_crossings(curve: _Curve, knob: Tensor, bias2: Tensor, levels: Tensor) -> Tensor:
    """The least variance ``[levels, B]`` at the knobs whose bias^2 is that of a level; inf without any."""
    within = bias2 <= levels[:, None, None]
    level, place, pair = (within[:, 1:] != within[:, :-1]).nonzero(as_tuple=True)
    first, on = within[level, place, pair], curve.of(pair)
    ends = knob[place, pair].log(), knob[place + 1, pair].log()
    inside, outside = ends[0].where(first, ends[1]), ends[1].where(first, ends[0])
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        reached = on(middle.exp())[0] <= levels[level]
        inside, outside = middle.where(reached, inside), outside.where(reached, middle)
    slot, shape = level * knob.shape[1] + pair, (len(levels), knob.shape[1])
    return _least(on(inside.exp())[1], slot, shape[0] * shape[1]).view(shape)


def duel(gipo: Best, rival: Best) -> Duel:
    """Compare GIPO with a rival on the same pairs."""
    ours, theirs = gipo.variance, rival.variance
    either, both = ours.isfinite() | theirs.isfinite(), ours.isfinite() & theirs.isfinite()
    lower = float((ours < (1 - TIE) * theirs)[either].double().mean())
    higher = float((theirs < (1 - TIE) * ours)[either].double().mean())
    mse: Mapping[int, Tensor] = {n: gipo.mse[n] / rival.mse[n] for n in gipo.mse}
    return Duel(
        lower=lower,
        equal=1.0 - lower - higher,
        higher=higher,
        variance_ratio=_geometric_mean(ours[both] / theirs[both]),
        mse_ratio={n: _geometric_mean(ratio) for n, ratio in mse.items()},
        mse_wins={n: float((ratio < 1.0).double().mean()) for n, ratio in mse.items()},
    )


def _geometric_mean(ratios: Tensor) -> float:
    return float(ratios.log().mean().exp())
