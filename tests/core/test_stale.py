"""M2PO's batch statistic, and the shapes of objectives made for stale data."""

from __future__ import annotations

import math

import pytest
import torch

from gipo_cli.core.objectives import Icepop, M2po, Vespo, evaluate


def kept(params: M2po, log_ratio: list[float], advantage: list[float]) -> list[bool]:
    x = torch.tensor(log_ratio, dtype=torch.float64)
    a = torch.tensor(advantage, dtype=torch.float64)
    return (evaluate(params, x, torch.zeros_like(x), a).coefficient > 0).tolist()


def test_m2po_drops_the_largest_until_the_mean_fits_the_budget() -> None:
    # On the clipped side (log r)^2 is .01, .04, .09 and 1: means .01, .025, .0467 and .285.
    outward = [0.1, -0.2, 0.3, -1.0]
    sign = [1.0, -1.0, 1.0, -1.0]
    assert kept(M2po(budget=0.04), outward, sign) == [True, True, False, False]
    assert kept(M2po(budget=0.05), outward, sign) == [True, True, True, False]
    assert kept(M2po(budget=0.3), outward, sign) == [True] * 4
    assert kept(M2po(budget=0.005), outward, sign) == [False] * 4


def test_m2po_leaves_alone_what_the_advantage_drives_back_to_mu() -> None:
    assert kept(M2po(), [3.0, -3.0, 0.1], [-1.0, 1.0, 1.0]) == [True, True, True]


def test_m2po_drops_equal_samples_together() -> None:
    assert kept(M2po(budget=0.1), [0.1, 0.4, 0.4, 0.4], [1.0] * 4) == [True, False, False, False]


def test_m2pos_statistic_is_weighted_and_of_each_batch_alone() -> None:
    square = torch.tensor([0.01, 0.04, 0.09], dtype=torch.float64)
    x, a = square.sqrt().expand(2, 3), torch.ones(2, 3, dtype=torch.float64)
    weight = torch.tensor([[0.2, 0.6, 0.2], [0.8, 0.1, 0.1]], dtype=torch.float64)
    # Means up to each: .01, .0325, .044 and .01, .0133, .021.
    cut = M2po(budget=0.04).statistic(x, a, weight)
    assert cut.shape == (2, 1)
    assert cut[0].item() == pytest.approx(0.09)
    assert cut[1].item() == math.inf
    edges = M2po().edges(x, a, weight)
    assert edges[0].tolist() == pytest.approx([0.01, 0.0325, 0.044])
    per_cell = M2po().with_knob(torch.tensor([[0.04], [0.015]]).expand(2, 3).flatten())
    assert per_cell.statistic(x, a, weight)[1].item() == pytest.approx(0.09)


def test_m2pos_factors_of_an_action_share_one_statistic() -> None:
    x = torch.tensor([[0.1, 0.2], [0.3, 1.0]], dtype=torch.float64)
    got = evaluate(M2po(budget=0.05), x, torch.zeros_like(x), torch.ones(2, dtype=torch.float64))
    assert (got.coefficient > 0).tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize(("advantage", "top"), [(1.0, 2 / 3), (-1.0, 3 / 2)])
def test_vespo_peaks_at_k_over_lambda(advantage: float, top: float) -> None:
    x = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    g = evaluate(Vespo(), x, torch.zeros_like(x), torch.full_like(x, advantage)).coefficient
    assert x[g.argmax()].exp().item() == pytest.approx(top, rel=2e-3)


def test_vespo_without_decay_is_a_power() -> None:
    x = torch.tensor([-1.0, 2.0], dtype=torch.float64)
    params = Vespo(k_pos=0.5, lambda_pos=0.0)
    g = evaluate(params, x, torch.zeros_like(x), torch.ones_like(x)).coefficient
    assert torch.allclose(g, (0.5 * x).exp())


def test_icepop_keeps_a_lower_bound_of_zero() -> None:
    x = torch.tensor([-700.0, -5.0, 1.0, 2.0], dtype=torch.float64)
    g = evaluate(Icepop(low=0.0), x, torch.zeros_like(x), torch.ones_like(x)).coefficient
    assert torch.allclose(g, torch.tensor([0.0, math.exp(-5), math.e, 0.0], dtype=torch.float64))
