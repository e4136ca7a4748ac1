"""Frontiers against brute force over thousands of knob values, and duels on curves in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from gipo_cli.analysis.frontier import LEVELS, SCALES, Best, best, duel
from gipo_cli.analysis.gridworld import Pairs, lagged_pairs, moments, random_pairs
from gipo_cli.analysis.swept import GIPO, RIVALS, Swept
from gipo_cli.core.objectives import PpoClip

BY_NAME = {swept.name: swept for swept in RIVALS}
PPO = BY_NAME["ppo_clip"]
SWEPT = pytest.mark.parametrize("swept", [GIPO, *RIVALS], ids=lambda swept: swept.name)


def by_brute_force(pairs: Pairs, swept: Swept, scale: str, levels: torch.Tensor) -> torch.Tensor:
    """The least variance among 20,000 knob values, on one pair."""
    knob = swept.grid(20_000)
    every = pairs.take(torch.zeros(len(knob), dtype=torch.long))
    bias2, variance = SCALES[scale](every, moments(every, swept.at(knob)))
    return torch.stack([variance.where(bias2 <= level, math.inf).min() for level in levels])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("pairs", [random_pairs(1, 2.0, 1), lagged_pairs(1, 4, 4)], ids=["random", "lagged"])
@SWEPT
def test_the_frontier_is_the_least_that_any_knob_value_attains(
    swept: Swept, pairs: Pairs, scale: str
) -> None:
    found = best(pairs, swept, scale, 40, (16,)).variance[:, 0]
    brute = by_brute_force(pairs, swept, scale, LEVELS)
    reached = brute.isfinite()
    # Never above 20,000 tries; below them only by what lies between two of them.
    assert (found <= brute * (1 + 1e-6)).all()
    assert (found[reached] >= brute[reached] * (1 - 0.005)).all()
    assert (found.isfinite() == reached).float().mean() > 0.95


def test_ppo_attains_its_bias_levels_by_whole_samples_only() -> None:
    """20,000 values of eps tried one by one, through the objective as a run has it."""
    pairs, levels = lagged_pairs(1, 1, 4), torch.tensor([0.001, 0.01, 0.1], dtype=torch.float64)
    norm2 = pairs.reference.square().sum()
    tried = {}
    for eps in torch.linspace(1e-4, 0.99, 20_000).tolist():
        dead = ((pairs.log_pi - pairs.log_mu).expm1().abs() > eps).sum().item()
        if dead not in tried:
            exact = moments(pairs, PpoClip(eps=eps))
            tried[dead] = (exact.bias2 / norm2).item(), (exact.variance / norm2).item()
    expected = [min(v for b, v in tried.values() if b <= level) for level in levels]
    assert len(tried) <= 13
    for points in (4, 40):
        assert best(pairs, PPO, "raw", points, (), levels).variance[:, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("scale", SCALES)
def test_the_verdict_does_not_depend_on_the_number_of_points(scale: str) -> None:
    pairs = lagged_pairs(6, 4, 3)
    for swept in (PPO, *(BY_NAME[name] for name in ("sapo", "tis", "cispo", "spo"))):
        few, many = (
            duel(*(best(pairs, one, scale, points, (16,)) for one in (GIPO, swept))) for points in (40, 800)
        )
        for name in ("lower", "equal", "higher", "variance_ratio"):
            assert getattr(few, name) == pytest.approx(getattr(many, name), abs=0.01), (swept.name, name)
        assert few.mse_ratio[16] == pytest.approx(many.mse_ratio[16], abs=0.005)


def test_what_has_no_bias_is_reached_at_every_level() -> None:
    pairs = random_pairs(3, 1.0, 0)
    no_clip = BY_NAME["no_clip"]
    variance = best(pairs, no_clip, "raw", 40, ()).variance
    expected = SCALES["raw"](pairs, moments(pairs, no_clip.at(torch.ones(3))))[1]
    assert torch.allclose(variance, expected.expand(len(LEVELS), -1))


def power(scale: float, reached: torch.Tensor = LEVELS > 0, name: int = 10) -> Best:
    """Variance = scale / bias^2 on two pairs, at the levels that are reached."""
    variance = (scale / LEVELS).where(reached, math.inf)
    return Best(variance[:, None].expand(-1, 2), {name: torch.full((2,), scale)})


def test_duels_count_levels_and_average_ratios() -> None:
    found = [duel(power(1.0), power(scale)) for scale in (2.0, 1.0, 0.5)]
    assert [(d.lower, d.equal, d.higher) for d in found] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert [d.variance_ratio for d in found] == pytest.approx([0.5, 1.0, 2.0])
    assert [d.mse_ratio[10] for d in found] == pytest.approx([0.5, 1.0, 2.0])
    assert [d.mse_wins[10] for d in found] == [1.0, 0.0, 0.0]


def test_a_level_that_only_one_side_reaches_is_that_sides() -> None:
    late = LEVELS >= 0.1
    found = duel(power(1.0), power(0.5, late))
    assert found.lower == pytest.approx((~late).double().mean().item())
    assert found.higher == pytest.approx(late.double().mean().item())
    assert found.variance_ratio == pytest.approx(2.0)


def test_a_level_that_neither_reaches_does_not_count() -> None:
    late = LEVELS >= 0.1
    assert duel(power(1.0, late), power(2.0, late)).lower == 1.0
