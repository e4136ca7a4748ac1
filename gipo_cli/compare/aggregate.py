"""Aggregates over seeds and environments, and what is known about them.

Scores are passed as one array ``[seeds]`` per environment ("stratum"). Every interval is a percentile
bootstrap that resamples seeds within each environment, which is the stratified bootstrap of
Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section 4
(arXiv 2108.13264).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gipo_cli.compare.tables import FloatArray

CONFIDENCE = 0.95
RESAMPLES = 2000
BAND_RESAMPLES = 500
BOOTSTRAP_SEED = 20_260_303
Scores = Sequence[FloatArray]
Statistic = Callable[..., FloatArray]


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % bootstrap interval; ``low`` and ``high`` are NaN if a stratum has one seed."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def includes(self, value: float) -> bool:
        """Whether the interval holds ``value``; no interval includes everything."""
        return not (value < self.low or value > self.high)


def iqm(scores: FloatArray, axis: int = -1) -> FloatArray:
    """Interquartile mean: the mean after the lowest and highest quarter (rounded down) are left out.

    Of three values nothing is left out, so there it is the plain mean.
    """
    return np.asarray(stats.trim_mean(scores, 0.25, axis=axis), dtype=np.float64)


def mean(scores: FloatArray, axis: int = -1) -> FloatArray:
    """Arithmetic mean."""
    return np.asarray(np.mean(scores, axis=axis), dtype=np.float64)


def optimality_gap(scores: FloatArray, axis: int = -1) -> FloatArray:
    """Mean shortfall from a normalised score of 1, above which scores count as 1 (arXiv 2108.13264, 4.3)."""
    return mean(np.maximum(1.0 - scores, 0.0), axis=axis)


def estimate(scores: Scores, statistic: Statistic = iqm, *, resamples: int = RESAMPLES) -> Interval:
    """A statistic, such as `iqm`, of all scores pooled, with its stratified bootstrap interval."""
    return _interval(tuple(scores), _pooled(statistic), resamples)


def band(curves: FloatArray, *, resamples: int = BAND_RESAMPLES) -> tuple[FloatArray, FloatArray, FloatArray]:
    """IQM of curves ``[R, G]`` over seeds with its pointwise interval: value, low and high ``[G]``."""
    return _band((curves.T,), iqm, resamples)


def probability_of_improvement(ours: Scores, theirs: Scores, *, paired: Sequence[bool]) -> Interval:
    """P(X > Y) for a run X of ours and a run Y of theirs, ties counted half, averaged over environments.

    The value is the Mann-Whitney U statistic over the number of pairs (arXiv 2108.13264, section 4.3).
    Environments that are ``paired``, having the same seeds in the same order in both arms, are resampled
    together, so that what a seed does to both arms stays in the interval.
    """

    def chance(x: FloatArray, y: FloatArray) -> FloatArray:
        # Run by run, since an array of all pairs of all resamples would take hundreds of megabytes.
        own = np.moveaxis(x, -1, 0)[..., None]
        wins = sum((run > y).sum(axis=-1) + 0.5 * (run == y).sum(axis=-1) for run in own)
        return np.asarray(wins / (x.shape[-1] * y.shape[-1]), dtype=np.float64)

    def averaged(xs: Scores, ys: Scores) -> FloatArray:
        return mean(np.array([chance(x, y) for x, y in zip(xs, ys, strict=True)]), axis=0)

    return _two_arms(ours, theirs, averaged, paired)


def iqm_difference(ours: Scores, theirs: Scores, *, paired: Sequence[bool]) -> Interval:
    """IQM of ours minus IQM of theirs over all environments; arguments as in `probability_of_improvement`."""

    def difference(xs: Scores, ys: Scores) -> FloatArray:
        return iqm(np.concatenate(xs, axis=-1)) - iqm(np.concatenate(ys, axis=-1))

    return _two_arms(ours, theirs, difference, paired)


def performance_profile(
    scores: Scores, thresholds: FloatArray, *, resamples: int = BAND_RESAMPLES
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Share of runs whose normalised score exceeds each threshold ``[T]`` (arXiv 2108.13264, section 4.2).

    Returns value, low and high ``[T]``.
    """
    above = tuple((own[None, :] > thresholds[:, None]).astype(np.float64) for own in scores)
    return _band(above, _pooled(mean), resamples)


def _two_arms(
    ours: Scores, theirs: Scores, statistic: Callable[[Scores, Scores], FloatArray], paired: Sequence[bool]
) -> Interval:
    """Bootstrap over positions, not scores: a paired environment has one set for both arms."""
    sizes: list[int] = []
    for x, y, together in zip(ours, theirs, paired, strict=True):
        sizes += [len(x)] if together else [len(x), len(y)]
    positions = tuple(np.arange(size, dtype=np.float64) for size in sizes)

    def resampled(*drawn: FloatArray, axis: int = -1) -> FloatArray:
        own, other = [], []
        rest = iter(drawn)
        for x, y, together in zip(ours, theirs, paired, strict=True):
            first = next(rest)
            own.append(x[first.astype(np.intp)])
            other.append(y[(first if together else next(rest)).astype(np.intp)])
        return statistic(own, other)

    return _interval(positions, resampled, RESAMPLES)


def _pooled(statistic: Statistic) -> Statistic:
    def pooled(*strata: FloatArray, axis: int = -1) -> FloatArray:
        return statistic(np.concatenate(strata, axis=axis), axis=axis)

    return pooled


def _band(
    strata: tuple[FloatArray, ...], statistic: Statistic, resamples: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Statistic along the last axis, and its interval; NaN if a stratum has one seed."""
    value = statistic(*strata, axis=-1)
    if min(own.shape[-1] for own in strata) < 2:
        return value, np.full_like(value, np.nan), np.full_like(value, np.nan)
    return value, *_bootstrap(strata, statistic, resamples)


def _interval(strata: tuple[FloatArray, ...], statistic: Statistic, resamples: int) -> Interval:
    return Interval(*map(float, _band(strata, statistic, resamples)))


def _bootstrap(
    strata: tuple[FloatArray, ...], statistic: Statistic, resamples: int
) -> tuple[FloatArray, FloatArray]:
    """Percentile bootstrap along the last axis, seeded anew so that no result depends on another."""
    interval = stats.bootstrap(
        strata,
        statistic,
        axis=-1,
        n_resamples=resamples,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    ).confidence_interval
    return np.asarray(interval.low, np.float64), np.asarray(interval.high, np.float64)
