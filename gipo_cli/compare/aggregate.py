"""Aggregates over seeds and environments, and what is known about them.

Scores are passed as one array ``[seeds]`` per environment ("stratum"). Every interval is a percentile
bootstrap that resamples seeds within each environment, which is the stratified bootstrap of
Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section 4
(arXiv 2108.13264). Resamples are drawn anew with the same seed, so that no result depends on another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gipo_cli.compare.tables import FloatArray

CONFIDENCE = 0.95
RESAMPLES = 2000
BAND_RESAMPLES = 500
BOOTSTRAP_SEED = 20_260_303
Scores = Sequence[FloatArray]
Statistic = Callable[[FloatArray], FloatArray]
"""Of scores along the last axis."""
Band = tuple[FloatArray, FloatArray, FloatArray]
"""Value, low and high at every point."""
Drawn = NDArray[np.int64]
"""Positions ``[resamples, seeds]`` in a stratum."""


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % bootstrap interval; ``low`` and ``high`` are NaN if a stratum has one seed."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def includes(self, value: float) -> bool:
        """Whether the interval holds ``value``; no interval includes everything."""
        return not (value < self.low or value > self.high)


def iqm(scores: FloatArray) -> FloatArray:
    """Interquartile mean: the mean after the lowest and highest quarter (rounded down) are left out.

    Of three values nothing is left out, so there it is the plain mean. NaN if any value is.
    """
    count = scores.shape[-1]
    first, last = count // 4, count - count // 4 - 1
    kept = np.partition(scores, (first, last), axis=-1)[..., first : last + 1]
    return np.where(np.isnan(scores).any(axis=-1), np.nan, mean(kept))


def mean(scores: FloatArray) -> FloatArray:
    """Arithmetic mean."""
    return np.asarray(np.mean(scores, axis=-1), dtype=np.float64)


def optimality_gap(scores: FloatArray) -> FloatArray:
    """Mean shortfall from a normalised score of 1, above which scores count as 1 (arXiv 2108.13264, 4.3)."""
    return mean(np.maximum(1.0 - scores, 0.0))


def estimate(scores: Scores, statistic: Statistic = iqm, *, resamples: int = RESAMPLES) -> Interval:
    """A statistic, such as `iqm`, of all scores pooled, with its stratified bootstrap interval."""
    value = statistic(np.concatenate(scores))
    if min(map(len, scores)) < 2:
        return Interval(float(value))
    drawn = _draw(tuple(map(len, scores)), resamples)
    resampled = [own[places] for own, places in zip(scores, drawn, strict=True)]
    return _interval(value, statistic(np.concatenate(resampled, axis=-1)))


def band(curves: FloatArray, *, resamples: int = BAND_RESAMPLES) -> Band:
    """IQM of curves ``[R, G]`` over seeds with its pointwise interval: value, low and high ``[G]``."""
    return _band([estimate([scores], resamples=resamples) for scores in curves.T])


def performance_profile(scores: Scores, thresholds: FloatArray, *, resamples: int = BAND_RESAMPLES) -> Band:
    """Share of runs whose normalised score exceeds each threshold ``[T]`` (arXiv 2108.13264, section 4.2).

    Returns value, low and high ``[T]``.
    """
    above = ([own > threshold for own in scores] for threshold in thresholds)
    return _band([estimate(each, mean, resamples=resamples) for each in above])


def probability_of_improvement(ours: Scores, theirs: Scores, *, paired: Sequence[bool]) -> Interval:
    """P(X > Y) for a run X of ours and a run Y of theirs, ties counted half, averaged over environments.

    The value is the Mann-Whitney U statistic over the number of pairs (arXiv 2108.13264, section 4.3).
    Environments that are ``paired``, having the same seeds in the same order in both arms, are resampled
    together, so that what a seed does to both arms stays in the interval.
    """
    wins = [(x[:, None] > y) + 0.5 * (x[:, None] == y) for x, y in zip(ours, theirs, strict=True)]
    value = np.mean([own.mean() for own in wins])
    drawn = _draw_both(ours, theirs, paired)
    if drawn is None:
        return Interval(float(value))
    chances = [
        np.einsum("rx,rx->r", _counts(first, len(own)) @ own, _counts(second, own.shape[1])) / own.size
        for own, (first, second) in zip(wins, drawn, strict=True)
    ]
    return _interval(value, np.mean(chances, axis=0))


def iqm_difference(ours: Scores, theirs: Scores, *, paired: Sequence[bool]) -> Interval:
    """IQM of ours minus IQM of theirs over all environments; arguments as in `probability_of_improvement`."""
    value = iqm(np.concatenate(ours)) - iqm(np.concatenate(theirs))
    drawn = _draw_both(ours, theirs, paired)
    if drawn is None:
        return Interval(float(value))
    own = [scores[first] for scores, (first, _) in zip(ours, drawn, strict=True)]
    other = [scores[second] for scores, (_, second) in zip(theirs, drawn, strict=True)]
    return _interval(value, iqm(np.concatenate(own, axis=-1)) - iqm(np.concatenate(other, axis=-1)))


@lru_cache(maxsize=64)
def _draw(sizes: tuple[int, ...], resamples: int) -> list[Drawn]:
    """Positions of resamples of strata of some sizes."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    return [rng.integers(0, size, (resamples, size)) for size in sizes]


def _draw_both(ours: Scores, theirs: Scores, paired: Sequence[bool]) -> list[tuple[Drawn, Drawn]] | None:
    """Positions for both arms in each environment, the same where it is paired; None with a single seed."""
    if min(map(len, [*ours, *theirs])) < 2:
        return None
    sizes: list[int] = []
    for x, y, together in zip(ours, theirs, paired, strict=True):
        sizes += [len(x)] if together else [len(x), len(y)]
    drawn = iter(_draw(tuple(sizes), RESAMPLES))
    return [(first := next(drawn), first if together else next(drawn)) for together in paired]


def _counts(drawn: Drawn, size: int) -> FloatArray:
    """How often each of so many runs was drawn ``[resamples, size]``."""
    rows = np.arange(len(drawn))[:, None] * size
    return np.bincount((drawn + rows).ravel(), minlength=len(drawn) * size).reshape(-1, size).astype(float)


def _interval(value: FloatArray, resampled: FloatArray) -> Interval:
    tail, ordered = (1 - CONFIDENCE) / 2, np.sort(resampled)
    bounds = []
    for share in (tail, 1 - tail):
        # numpy.quantile interpolates by another formula, which may differ in the last digit.
        place = share * len(ordered) + (1 - share)
        below, part = ordered[int(place) - 1], place % 1
        bounds.append(float((1 - part) * below + part * ordered[min(int(place), len(ordered) - 1)]))
    return Interval(float(value), *bounds)


def _band(points: Sequence[Interval]) -> Band:
    value, low, high = (np.array([getattr(one, name) for one in points]) for name in ("value", "low", "high"))
    return value, low, high
