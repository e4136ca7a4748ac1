"""Objectives with a knob value for every pair."""

from __future__ import annotations

import pytest
import torch

from gipo_cli.analysis.gridworld import lagged_pairs, moments, random_pairs
from gipo_cli.analysis.swept import GIPO, RIVALS, Swept
from gipo_cli.core.objectives import Gipo, GipoDecoupled, NoClip, PpoClip, Sapo, Tis

SWEPT = pytest.mark.parametrize("swept", [GIPO, *RIVALS], ids=lambda swept: swept.name)


def test_the_knob_is_that_of_the_objective() -> None:
    knob, by_name = torch.tensor([0.7]).double(), {swept.name: swept for swept in RIVALS}
    pairs = random_pairs(1, 2.0, 0)
    for swept, objective in (
        (GIPO, Gipo(sigma=0.7)),
        (by_name["ppo_clip"], PpoClip(eps=0.7)),
        (by_name["sapo"], Sapo(tau_pos=0.7, tau_neg=0.7)),
        (by_name["tis"], Tis(c=0.7)),
        (by_name["gipo_upper"], Gipo(sigma=0.7, side="upper")),
        (by_name["gipo_cauchy"], Gipo(sigma=0.7, kernel="cauchy")),
    ):
        assert torch.allclose(moments(pairs, swept.at(knob)).mean, moments(pairs, objective).mean, rtol=1e-12)
    wide = moments(pairs, by_name["ppo_clip"].at(torch.tensor([7.0])))
    assert torch.allclose(wide.mean, moments(pairs, PpoClip(eps=0.99, eps_high=7.0)).mean, rtol=1e-12)


@SWEPT
def test_every_pair_has_its_own_knob_value(swept: Swept) -> None:
    pairs, knob = random_pairs(3, 1.5, 1), torch.tensor([0.3, 0.8, 1.9], dtype=torch.float64)
    together = moments(pairs, swept.at(knob))
    for i in range(3):
        alone = moments(pairs.take(torch.tensor([i])), swept.at(knob[i : i + 1]))
        assert together.bias2[i].item() == pytest.approx(alone.bias2.item(), rel=1e-12, abs=1e-15)
        assert together.variance[i].item() == pytest.approx(alone.variance.item(), rel=1e-12)


@SWEPT
def test_one_end_of_the_sweep_does_not_clip(swept: Swept) -> None:
    pairs = random_pairs(5, 1.0, 3)
    if swept.name in ("vespo", "topr"):
        return  # single points
    wide = GipoDecoupled(sigma_prox=1e9) if swept.name == "gipo_decoupled" else NoClip()
    unclipped = moments(pairs, wide).mean
    gaps = [
        float((moments(pairs, swept.at(end.expand(5))).mean - unclipped).norm() / unclipped.norm())
        for end in swept.grid(5)[[0, -1]]
    ]
    assert min(gaps) < 0.05


@pytest.mark.parametrize("name", ["ppo_clip", "icepop", "m2po"])
def test_a_clipped_objective_has_one_knob_value_for_every_gradient_that_it_can_have(name: str) -> None:
    pairs = lagged_pairs(4, 2, 0)
    ppo = next(swept for swept in RIVALS if swept.name == name)
    knob = ppo.attained(pairs, 40)
    assert knob.shape == (13, 4)
    dead = torch.stack([moments(pairs, ppo.at(row)).mean for row in knob])
    for eps in ppo.grid(300):
        mean = moments(pairs, ppo.at(eps.expand(4))).mean
        assert ((dead - mean).abs().amax((2, 3)).amin(0) < 1e-12).all()
