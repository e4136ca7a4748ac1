from itertools import product

import numpy as np
import pytest
from scipy import stats

from gipo_cli.compare import aggregate
from gipo_cli.compare.aggregate import (
    Interval,
    band,
    estimate,
    iqm,
    iqm_difference,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

RNG = np.random.default_rng(7)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1, 2, 9], 4.0),
        ([0, 0, 0, 0, 1], 0.0),
        ([9, 1, 2, 3], 2.5),
        ([1, 2, 3, 4, 5, 6, 7, 80], 4.5),
    ],
)
def test_iqm_by_hand(scores, expected):
    assert iqm(np.array(scores, float)) == expected


def test_optimality_gap_by_hand():
    assert optimality_gap(np.array([0.5, 1.5, 0.75])) == pytest.approx(0.25)


def exact_bootstrap(scores, statistic, *, low=2.5, high=97.5):
    """All n^n resamples, each equally likely."""
    values = [statistic(np.array(drawn)) for drawn in product(scores, repeat=len(scores))]
    return np.percentile(values, [low, high])


def test_interval_of_the_mean_is_that_of_all_resamples():
    scores = np.array([0.1, 0.35, 0.4, 0.9])
    exact = exact_bootstrap(scores, np.mean)
    found = estimate([scores], aggregate.mean, resamples=20_000)
    assert (found.low, found.high) == pytest.approx(exact, abs=0.026)


def test_interval_of_the_mean_of_many_is_the_normal_one():
    scores = RNG.normal(3, 2, size=400)
    half = 1.96 * scores.std(ddof=1) / 20
    found = estimate([scores], aggregate.mean, resamples=20_000)
    assert found.value == pytest.approx(scores.mean())
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.02)


def loop_bootstrap(strata, statistic, resamples, seed):
    """The stratified bootstrap as plain loops: within each stratum draw as many runs as it has."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = [[own[rng.integers(len(own))] for _ in own] for own in strata]
        values.append(statistic([x for own in drawn for x in own]))
    return np.percentile(values, [2.5, 97.5])


def plain_iqm(values):
    cut = len(values) // 4
    kept = sorted(values)[cut : len(values) - cut]
    return sum(kept) / len(kept)


def test_stratified_interval_agrees_with_an_independent_loop():
    strata = [RNG.random(8), 5 + RNG.random(8), 2 + 3 * RNG.random(5)]
    found = estimate(strata, resamples=5000)
    expected = loop_bootstrap([list(own) for own in strata], plain_iqm, 5000, 1)
    assert found.value == pytest.approx(plain_iqm(np.concatenate(strata)))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.05)


def test_strata_do_not_mix():
    # Between the strata lies everything, within them nothing: resampling within them changes nothing.
    found = estimate([np.zeros(5), np.ones(5)], aggregate.mean)
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


def test_the_same_scores_give_the_same_interval_whatever_came_before():
    scores = RNG.random(6)
    first = estimate([scores])
    estimate([RNG.random(9)])
    assert estimate([scores]) == first


def test_one_seed_has_no_interval_and_includes_everything():
    found = estimate([np.array([0.5])])
    assert found.value == 0.5
    assert np.isnan([found.low, found.high]).all()
    assert found.includes(99)


def test_includes_is_about_the_closed_interval():
    assert Interval(0.7, 0.5, 0.9).includes(0.5)
    assert not Interval(0.7, 0.51, 0.9).includes(0.5)
    assert not Interval(0.2, 0.1, 0.4).includes(0.5)


class TestProbabilityOfImprovement:
    def test_by_hand_with_ties(self):
        # 1 > {0}: 1; 1 = 1: 1/2; 1 < 2: 0; 3 beats all three: (1.5 + 3) / 6.
        found = probability_of_improvement(
            [np.array([1.0, 3.0])], [np.array([0.0, 1.0, 2.0])], paired=[False]
        )
        assert found.value == 0.75

    def test_is_mann_whitney_u_per_pair_averaged_over_environments(self):
        ours, theirs = [RNG.integers(0, 9, 7) / 9, RNG.random(4)], [RNG.integers(0, 9, 5) / 9, RNG.random(6)]
        expected = np.mean(
            [
                stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
                for x, y in zip(ours, theirs, strict=True)
            ]
        )
        assert probability_of_improvement(ours, theirs, paired=[False] * 2).value == pytest.approx(expected)

    def test_exchanging_the_arms_mirrors_everything(self):
        x, y = [RNG.random(6)], [RNG.random(6)]
        forth = probability_of_improvement(x, y, paired=[True])
        back = probability_of_improvement(y, x, paired=[True])
        assert (back.value, back.low, back.high) == pytest.approx(
            (1 - forth.value, 1 - forth.high, 1 - forth.low)
        )

    def test_complete_separation_has_no_width(self):
        found = probability_of_improvement([np.array([3.0, 4.0])], [np.array([1.0, 2.0])], paired=[False])
        assert (found.low, found.value, found.high) == (1, 1, 1)


class TestDifference:
    def test_pairs_remove_what_a_seed_does_to_both(self):
        seed_effect = np.linspace(0, 10, 6)
        ours, theirs = [seed_effect + 1], [seed_effect]
        paired = iqm_difference(ours, theirs, paired=[True])
        apart = iqm_difference(ours, theirs, paired=[False])
        assert (paired.low, paired.value, paired.high) == pytest.approx((1, 1, 1))
        assert apart.value == pytest.approx(1)
        assert apart.high - apart.low > 5

    def test_pairing_is_by_environment(self):
        effect = np.linspace(0, 10, 6)
        half = iqm_difference([effect + 1, effect + 1], [effect, effect], paired=[True, False])
        none = iqm_difference([effect + 1, effect + 1], [effect, effect], paired=[False, False])
        assert 0 < half.high - half.low < none.high - none.low


def test_profile_is_one_minus_the_empirical_distribution():
    scores = [np.array([0.1, 0.4, 0.4]), np.array([0.9, 0.2])]
    thresholds = np.array([0.0, 0.1, 0.4, 0.5, 0.9])
    value, low, high = performance_profile(scores, thresholds)
    expected = 1 - stats.ecdf(np.concatenate(scores)).cdf.evaluate(thresholds)
    np.testing.assert_allclose(value, expected)
    assert ((low <= value) & (value <= high)).all()
    assert (low[0], high[-1]) == (1, 0)


def test_band_is_the_estimate_at_every_point():
    curves = RNG.random((5, 4))
    value, low, high = band(curves, resamples=2000)
    for column in range(4):
        single = estimate([curves[:, column]])
        assert value[column] == pytest.approx(single.value)
        assert (low[column], high[column]) == pytest.approx((single.low, single.high), abs=0.03)


@pytest.mark.parametrize("sizes", [(5,), (8, 3), (2, 2, 6)])
def test_intervals_are_scipys_to_the_bit(sizes):
    strata = [RNG.random(size) for size in sizes]
    other = stats.bootstrap(
        strata,
        lambda *drawn, axis: stats.trim_mean(np.concatenate(drawn, axis=axis), 0.25, axis=axis),
        n_resamples=aggregate.RESAMPLES,
        confidence_level=aggregate.CONFIDENCE,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(aggregate.BOOTSTRAP_SEED),
    ).confidence_interval
    found = estimate(strata)
    assert (found.low, found.high) == (other.low, other.high)


def test_an_unknown_score_has_no_interquartile_mean():
    assert np.isnan(iqm(np.array([[1.0, 2.0, 3.0, np.nan]]))).all()
