"""The exact study against an independent enumeration: loops, iteration and autograd instead of solves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gipo_cli.analysis.gridworld import (
    STEP_SIZE,
    Pairs,
    coefficients,
    lagged_pairs,
    moments,
    policy_gradient,
    random_pairs,
    scale_free,
)
from gipo_cli.core.objectives import (
    Cispo,
    Gipo,
    GipoDecoupled,
    M2po,
    NoClip,
    ObjectiveParams,
    PpoClip,
    PpoDualClip,
    PpoKl,
    Sapo,
    Spo,
    Tis,
)

OBJECTIVES = [
    NoClip(),
    PpoClip(eps=0.1),
    PpoDualClip(eps=0.2, c=1.5),
    PpoKl(beta=0.7),
    Sapo(tau_pos=1.3, tau_neg=2.1),
    Tis(c=0.8),
    Cispo(eps_low=0.4, eps_high=0.3),
    Spo(eps=0.5),
    Gipo(sigma=0.4),
    Gipo(sigma=0.4, neg_ratio=0.6, kernel="laplacian"),
    Gipo(sigma=0.4, kernel="cauchy"),
    Gipo(sigma=0.4, side="upper"),
]
MOVES = {0: (-1, 0), 1: (1, 0), 2: (0, -1), 3: (0, 1)}  # row, column


def step(state: int, action: int) -> tuple[int, float]:
    row, column = divmod(state, 2)
    row, column = row + MOVES[action][0], column + MOVES[action][1]
    inside = row in (0, 1) and column in (0, 1)
    after = 2 * row + column if inside else state
    return after, 1.0 if after == 3 else -1.0


def state_values(pi: list[list[float]]) -> list[float]:
    v = [0.0] * 4
    for _ in range(600):
        v = [sum(pi[s][a] * (step(s, a)[1] + 0.9 * v[step(s, a)[0]]) for a in range(4)) for s in range(3)] + [
            0.0
        ]
    return v


def long_run_share(mu: list[list[float]]) -> list[float]:
    """Time spent in each non-goal state by a chain of four states whose goal leads to the start."""
    share = [0.25] * 4
    for _ in range(20_000):
        after = [share[3], 0.0, 0.0, 0.0]
        for s in range(3):
            for a in range(4):
                after[step(s, a)[0]] += share[s] * mu[s][a]
        share = [0.5 * (x + y) for x, y in zip(share, after, strict=True)]  # lazy: no oscillation
    return [x / sum(share[:3]) for x in share[:3]]


def surrogate(objective: ObjectiveParams, log_pi: Tensor, log_mu: Tensor, adv: float) -> Tensor:
    """Textbook surrogate of one sample, differentiable by log pi; scalars."""
    r = (log_pi - log_mu).exp()
    frozen = r.detach()
    match objective:
        case PpoClip():
            return torch.min(r * adv, r.clamp(1 - objective.eps, 1 + objective.eps) * adv)
        case PpoDualClip():
            inner = torch.min(r * adv, r.clamp(1 - objective.eps, 1 + objective.eps) * adv)
            return torch.max(inner, torch.as_tensor(objective.c * adv).double()) if adv < 0 else inner
        case Sapo():
            tau = objective.tau_pos if adv > 0 else objective.tau_neg
            return 4 / tau / (1 + torch.exp(-tau * (r - 1))) * adv
        case Tis():
            return frozen.clamp(max=objective.c) * adv * log_pi
        case Cispo():
            return frozen.clamp(1 - objective.eps_low, 1 + objective.eps_high) * adv * log_pi
        case Spo():
            return r * adv - abs(adv) * (r - 1) ** 2 / (2 * objective.eps)
        case Gipo():
            x = math.log(frozen.item()) / objective.sigma
            if adv <= 0:
                x /= objective.neg_ratio
            if objective.side == "upper":
                x = max(x, 0.0)
            w = {"gaussian": math.exp(-x * x / 2), "laplacian": math.exp(-abs(x)), "cauchy": 1 / (1 + x * x)}
            return w[objective.kernel] * r * adv
    return r * adv


def enumerate_moments(
    mu_logits: Tensor, pi_logits: Tensor, objective: ObjectiveParams
) -> tuple[float, float, float]:
    """bias^2, variance and cosine by visiting every (s, a) and differentiating by the 12 logits."""
    theta = pi_logits.clone().requires_grad_()
    mu = mu_logits.softmax(-1)
    log_pi, log_mu = theta.log_softmax(-1), mu_logits.log_softmax(-1)
    pi_table = log_pi.exp().tolist()
    v, d = state_values(pi_table), long_run_share(mu.tolist())
    mean, second, reference = torch.zeros(3, 4).double(), 0.0, torch.zeros(3, 4).double()
    for s in range(3):
        for a in range(4):
            after, reward = step(s, a)
            adv = reward + 0.9 * v[after] - v[s]
            value = surrogate(objective, log_pi[s, a], log_mu[s, a], adv)
            value = value - objective.kl_coef * (mu[s] * (log_mu[s] - log_pi[s])).sum()
            x = torch.autograd.grad(value, theta, retain_graph=True)[0]
            p = d[s] * mu[s, a].item()
            mean += p * x
            second += p * x.square().sum().item()
            score = torch.autograd.grad(log_pi[s, a], theta, retain_graph=True)[0]
            reference += d[s] * pi_table[s][a] * adv * score
    bias2 = (mean - reference).square().sum().item()
    cosine = (mean * reference).sum() / mean.norm() / reference.norm()
    return bias2, second - mean.square().sum().item(), cosine.item()


def logits(pairs: Pairs) -> tuple[Tensor, Tensor]:
    return pairs.log_mu[0], pairs.log_pi[0]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: f"{o.name}-{getattr(o, 'kernel', '')}")
@pytest.mark.parametrize("pairs", [random_pairs(1, 1.5, 4), lagged_pairs(1, 10, 5)], ids=["random", "lagged"])
def test_moments_agree_with_enumeration(objective: ObjectiveParams, pairs: Pairs) -> None:
    bias2, variance, cosine = enumerate_moments(*logits(pairs), objective)
    exact = moments(pairs, objective)
    assert exact.bias2.item() == pytest.approx(bias2, abs=1e-10)
    assert exact.variance.item() == pytest.approx(variance, abs=1e-10)
    assert exact.cosine.item() == pytest.approx(cosine, abs=1e-10, nan_ok=True)
    assert exact.mse(64).item() == pytest.approx(bias2 + variance / 64, abs=1e-10)


def test_no_clip_is_unbiased_and_all_agree_on_policy() -> None:
    assert moments(random_pairs(50, 2.0, 0), NoClip()).bias2.max() < 1e-25
    together = random_pairs(20, 0.0, 1)
    for objective in OBJECTIVES:
        if objective.name not in ("tis", "ppo_kl"):  # c < 1 shrinks even on-policy gradients
            assert moments(together, objective).bias2.max() < 1e-25


def test_the_policy_gradient_is_that_of_the_start_states_value() -> None:
    """Against finite differences of a value found by iteration."""
    here = random_pairs(1, 0.0, 2).log_pi[0]
    gradient = policy_gradient(here.softmax(-1)[None])[0]
    for i in range(12):
        step_ = torch.zeros(12).double()
        step_[i] = 1e-5
        up, down = (
            state_values((here + d).softmax(-1).tolist())[0] for d in (step_.view(3, 4), -step_.view(3, 4))
        )
        assert gradient.flatten()[i].item() == pytest.approx((up - down) / 2e-5, abs=1e-8)


def test_lagged_pairs_climb_that_value_step_by_step() -> None:
    values = [state_values(lagged_pairs(1, k, 5).log_pi[0].exp().tolist())[0] for k in (0, 1, 2, 3)]
    assert values == sorted(values)
    pair, later = lagged_pairs(1, 1, 5), lagged_pairs(1, 2, 5)
    assert torch.equal(pair.log_mu, later.log_mu)
    moved = pair.log_mu + STEP_SIZE * policy_gradient(pair.log_mu.exp())
    assert torch.allclose(pair.log_pi, moved.log_softmax(-1))


def test_random_pairs_have_the_distance_asked_for_and_seeds_matter() -> None:
    pairs = random_pairs(8, 2.0, 3)
    step_ = (pairs.log_pi - pairs.log_mu).flatten(1)
    # log_softmax moves each state's logits by a constant, which only lengthens what is left of the step.
    centred = (step_.view(8, 3, 4) - step_.view(8, 3, 4).mean(-1, keepdim=True)).flatten(1)
    assert (centred.norm(dim=1) <= 2.0 + 1e-12).all()
    assert torch.equal(random_pairs(8, 2.0, 3).log_pi, pairs.log_pi)
    assert not torch.equal(random_pairs(8, 2.0, 4).log_pi, pairs.log_pi)


def test_scale_free_removes_shrinking_and_measures_the_angle() -> None:
    pairs = random_pairs(30, 1.0, 6)
    for objective in OBJECTIVES:
        exact = moments(pairs, objective)
        bias2, variance = scale_free(pairs, exact)
        angle = torch.arccos(exact.cosine.clamp(-1, 1))
        finite = torch.isfinite(bias2)
        assert torch.equal(finite, exact.cosine > 1e-7)
        assert torch.allclose(bias2[finite], torch.tan(angle[finite]).square(), rtol=1e-6, atol=1e-9)
        assert (variance[finite] > 0).all()
    # At ratios above c everywhere, tis is a multiple of REINFORCE: c and c / 2 are the same point, rescaled.
    low, lower = (scale_free(pairs, moments(pairs, Tis(c=c))) for c in (1e-3, 5e-4))
    assert torch.allclose(low[0], lower[0])
    assert torch.allclose(low[1], lower[1])


def test_dead_mass_is_the_data_share_without_gradient() -> None:
    pairs = random_pairs(40, 2.0, 7)
    assert moments(pairs, NoClip()).dead_mass.max() < 0.2
    ratio = (pairs.log_pi - pairs.log_mu).exp()
    clipped = (pairs.advantage > 0) & (ratio > 1.2) | (pairs.advantage < 0) & (ratio < 0.8)
    expected = (pairs.weight * (clipped | (ratio <= 0.01))).sum((1, 2))
    assert torch.allclose(moments(pairs, PpoClip(eps=0.2)).dead_mass, expected)


def test_the_proximal_policy_lies_half_way() -> None:
    pairs = random_pairs(3, 2.0, 0)
    middle = ((pairs.log_mu + pairs.log_pi) / 2).log_softmax(-1)
    assert torch.allclose(pairs.log_prox, middle, atol=1e-12)
    assert torch.equal(lagged_pairs(2, 4, 1).log_prox, lagged_pairs(2, 2, 1).log_pi)
    assert torch.equal(lagged_pairs(2, 1, 1).log_prox, lagged_pairs(2, 1, 1).log_mu)


def test_the_decoupled_weight_damps_from_the_proximal_policy() -> None:
    pairs = random_pairs(2, 1.0, 2)
    step, age = pairs.log_pi - pairs.log_prox, pairs.log_prox - pairs.log_mu
    goes = (pairs.advantage.sign() * step).clamp(min=0)
    expected = step.exp() * age.exp().clamp(max=1) * torch.exp(-0.5 * (goes / 0.3) ** 2)
    assert torch.allclose(coefficients(pairs, GipoDecoupled(sigma_prox=0.3)), expected, rtol=1e-12)
    same = Pairs(**{**vars(pairs), "log_prox": pairs.log_pi})
    assert torch.equal(coefficients(same, GipoDecoupled()), coefficients(pairs, Tis()))


def test_m2po_counts_each_pairs_samples_by_their_probability() -> None:
    pairs, budget = random_pairs(4, 1.5, 3), 0.05
    g = coefficients(pairs, M2po(budget=budget))
    x = pairs.log_pi - pairs.log_mu
    outward = pairs.advantage * x > 0
    for i in range(4):
        cells = sorted(zip(x[i][outward[i]] ** 2, pairs.weight[i][outward[i]], strict=True))
        total = mass = 0.0
        for square, weight in cells:
            total, mass = total + float(weight * square), mass + float(weight)
            dropped = g[i][outward[i] & (x[i] ** 2 == square)].item() == 0
            assert dropped == (total / mass > budget)
    assert torch.allclose(g[~outward], x[~outward].exp())
