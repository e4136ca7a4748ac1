"""Frontiers and duels on curves that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from gipo_cli.analysis.exact_report import standing
from gipo_cli.analysis.exact_settings import Setting, Study
from gipo_cli.analysis.families import Family, families
from gipo_cli.analysis.frontier import LEVELS, Sweep, duels, frontier, sweep
from gipo_cli.analysis.gridworld import moments, random_pairs
from gipo_cli.core.objectives import Gipo, NoClip, PpoClip


def curve(scale: float, low: float = 1e-5, high: float = 1.0, points: int = 40, name: str = "gipo") -> Sweep:
    """Variance = scale / bias^2, on one pair."""
    bias2 = np.geomspace(low, high, points)[:, None]
    variance = scale / bias2
    zero = np.zeros_like(bias2)
    family = Family(name, "knob", tuple(bias2[:, 0]), lambda v: Gipo(sigma=v))
    return Sweep(family, bias2, variance, bias2, variance, zero, zero)


def test_frontier_interpolates_exactly_along_a_power_law() -> None:
    one = curve(3.0, points=7)
    assert frontier(one.bias2, one.variance)[:, 0] == pytest.approx(3.0 / LEVELS, rel=1e-12)


def test_frontier_takes_the_best_point_within_the_level_and_says_where_it_is_not_reached() -> None:
    bias2 = np.array([[0.01], [0.1], [0.2]])
    variance = np.array([[5.0], [1.0], [9.0]])
    got = frontier(bias2, variance, np.array([0.001, 0.01, 0.1, 0.5]))[:, 0]
    assert got == pytest.approx([np.inf, 5.0, 1.0, 1.0])


def test_a_single_point_is_reached_at_every_level() -> None:
    assert frontier(np.zeros((1, 2)), np.full((1, 2), 4.0)) == pytest.approx(np.full((len(LEVELS), 2), 4.0))


def test_duels_count_levels_and_average_ratios() -> None:
    rivals = [curve(2.0, name="worse"), curve(1.0, name="same"), curve(0.5, name="better")]
    out = duels(curve(1.0), rivals, "raw", (10,))
    assert [(d.lower, d.equal, d.higher) for d in out.values()] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert [d.variance_ratio for d in out.values()] == pytest.approx([0.5, 1.0, 2.0])
    # min over b of b + (s / b) / 10 is 2 sqrt(s / 10), on a grid of knob values.
    assert out["worse"].mse_ratio[10] == pytest.approx(np.sqrt(0.5), rel=0.02)
    assert (out["worse"].mse_wins[10], out["better"].mse_wins[10]) == (1.0, 0.0)


def test_a_level_that_only_one_side_reaches_is_that_sides() -> None:
    out = duels(curve(1.0), [curve(0.5, low=0.1, name="short")], "raw", ())["short"]
    assert out.lower == pytest.approx((LEVELS < 0.1).mean())
    assert out.higher == pytest.approx((LEVELS >= 0.1).mean())
    assert out.variance_ratio == pytest.approx(2.0)


@pytest.mark.parametrize(("scale", "word"), [(2.0, "dominates"), (1.0, "level"), (0.5, "dominated")])
def test_standing_puts_the_duel_in_a_word(scale: float, word: str) -> None:
    gipo, rival = curve(1.0), curve(scale, name="rival")
    setting = Setting("random", 1.0, lambda count, *, seed: random_pairs(count, 1.0, seed))
    study = Study(
        setting, random_pairs(1, 1.0, 0), [gipo, rival], {"raw": duels(gipo, [rival], "raw", (10,))}
    )
    assert standing(study, "raw", "rival") == word


def test_sweeps_are_relative_to_the_reference() -> None:
    pairs = random_pairs(5, 1.0, 2)
    family = next(f for f in families(6) if f.name == "ppo_clip")
    got = sweep(pairs, family)
    exact = moments(pairs, PpoClip(eps=family.values[2], eps_high=family.values[2]))
    norm2 = pairs.reference.square().sum((1, 2))
    assert got.bias2[2] == pytest.approx((exact.bias2 / norm2).numpy())
    assert got.mse("raw", 8)[2] == pytest.approx(((exact.bias2 + exact.variance / 8) / norm2).numpy())


@pytest.mark.parametrize("family", families(5), ids=lambda f: f.name)
def test_every_family_reaches_no_clip_at_one_end_of_its_sweep(family: Family) -> None:
    pairs = random_pairs(5, 1.0, 3)
    unclipped = moments(pairs, NoClip())
    gaps = [
        float((moments(pairs, family.make(value)).mean - unclipped.mean).norm() / unclipped.mean.norm())
        for value in (family.values[0], family.values[-1])
    ]
    assert min(gaps) < 0.05
