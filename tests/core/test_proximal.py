"""The decoupled objective against hand-worked numbers, its limits and the objectives it contains."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gipo_cli.core.health import trust_weight
from gipo_cli.core.objectives import GipoDecoupled, ObjectiveTerms, PpoClip, Tis, evaluate


def terms(params: GipoDecoupled, step: Tensor, age: Tensor, advantage: Tensor) -> ObjectiveTerms:
    """With log pi / pi_prox = step and log pi_prox / mu = age."""
    return evaluate(params, step + age, torch.zeros_like(age), advantage, age)


# With sigma_prox = .15, y = .15 costs e^-.5; c = 1 unless it says otherwise.
HAND = [
    (GipoDecoupled(), 0.15, -0.5, 1.0, math.exp(0.15 - 0.5 - 0.5)),
    (GipoDecoupled(), 0.15, -0.5, -1.0, math.exp(0.15 - 0.5)),
    (GipoDecoupled(), -0.15, 0.7, -1.0, math.exp(-0.15 - 0.5)),
    (GipoDecoupled(), -0.15, 0.7, 1.0, math.exp(-0.15)),
    (GipoDecoupled(shape="both"), -0.15, 0.0, 1.0, math.exp(-0.15 - 0.5)),
    (GipoDecoupled(c=2.0), 0.0, 1.0, 1.0, 2.0),
    (GipoDecoupled(behaviour="full"), 0.0, 1.0, 1.0, math.e),
    (GipoDecoupled(behaviour="none"), 0.0, -3.0, 1.0, 1.0),
    (GipoDecoupled(behaviour="one_sided"), 0.0, -0.5, 1.0, 1.0),
    (GipoDecoupled(behaviour="one_sided"), 0.0, -0.5, -1.0, math.exp(-0.5)),
    (GipoDecoupled(), 5.0, 0.0, -1.0, math.exp(3.0)),
    (GipoDecoupled(shape="clip", sigma_prox=0.2), math.log(1.3), -0.5, 1.0, 0.0),
    (GipoDecoupled(shape="clip", sigma_prox=0.2), math.log(1.3), -0.5, -1.0, 1.3 * math.exp(-0.5)),
    (GipoDecoupled(shape="clip", sigma_prox=0.2), math.log(0.7), 2.0, -1.0, 0.0),
    (GipoDecoupled(shape="clip", sigma_prox=0.2), math.log(0.7), 2.0, 1.0, 0.7),
]


@pytest.mark.parametrize(("params", "step", "age", "advantage", "expected"), HAND)
def test_coefficients_worked_by_hand(
    params: GipoDecoupled, step: float, age: float, advantage: float, expected: float
) -> None:
    at = (torch.tensor([value], dtype=torch.float64) for value in (step, age, advantage))
    assert terms(params, *at).coefficient.item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def samples(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    step, age, advantage = torch.randn(3, 400, generator=generator, dtype=dtype).unbind(0)
    return 0.4 * step, age, advantage


@pytest.mark.parametrize("eps", [0.1, 0.3])
def test_clipped_on_fresh_data_it_is_ppo_clip_to_the_bit(eps: float) -> None:
    step, behaviour, advantage = samples(dtype=torch.float32)
    one, other = ((behaviour + step).requires_grad_() for _ in range(2))
    ours = evaluate(GipoDecoupled(shape="clip", sigma_prox=eps), one, behaviour, advantage, behaviour)
    theirs = evaluate(PpoClip(eps=eps), other, behaviour, advantage)
    assert torch.equal(ours.coefficient, theirs.coefficient)
    assert torch.equal(ours.surrogate, theirs.surrogate)
    gradients = [torch.autograd.grad(t.surrogate.mean(), x)[0] for t, x in ((ours, one), (theirs, other))]
    assert torch.equal(*gradients)
    assert 0.1 < float((ours.coefficient == 0).double().mean()) < 0.9


@pytest.mark.parametrize("shape", ["directional", "clip", "both"])
def test_where_the_learner_is_the_proximal_policy_it_is_tis(shape: str) -> None:
    _, log_ratio, advantage = samples(1, torch.float32)
    params = GipoDecoupled(shape=shape, c=1.5)
    ours = evaluate(params, log_ratio, torch.zeros_like(log_ratio), advantage)
    assert torch.equal(
        ours.coefficient, evaluate(Tis(c=1.5), log_ratio, 0 * log_ratio, advantage).coefficient
    )


def test_clipped_with_the_full_correction_it_is_decoupled_ppo() -> None:
    """Hilton, Cobbe and Schulman, arXiv 2110.00641: pi_prox / mu times PPO-clip of pi / pi_prox."""
    step, age, advantage = samples(2)
    log_prob = (step + age).requires_grad_()
    params = GipoDecoupled(shape="clip", sigma_prox=0.2, behaviour="full")
    ours = evaluate(params, log_prob, torch.zeros_like(age), advantage, age).surrogate
    ratio = (log_prob - age).exp()
    theirs = age.exp() * torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    gradients = [torch.autograd.grad(one.sum(), log_prob)[0] for one in (ours, theirs)]
    assert torch.allclose(*gradients, rtol=1e-12)
    wide = evaluate(
        params.model_copy(update={"behaviour": "truncated", "c": 1e30}), step + age, 0 * age, advantage, age
    )
    assert torch.allclose(wide.coefficient, gradients[0] / advantage, rtol=1e-12)


def test_on_fresh_data_it_is_a_smooth_ppo_clip() -> None:
    step = torch.linspace(-1, 1, 201, dtype=torch.float64)
    params, fresh = GipoDecoupled(), torch.zeros_like(step)
    good, bad = (terms(params, step, fresh, torch.full_like(step, a)).coefficient for a in (1.0, -1.0))
    # Untouched where the step goes against the advantage; never 0, and falling, where it goes with it.
    assert torch.equal(good[step <= 0], step[step <= 0].exp())
    assert torch.equal(bad[step >= 0], step[step >= 0].exp())
    assert good.min() > 0
    assert good.max().item() == pytest.approx(math.exp(0.15**2 / 2), rel=1e-3)
    assert (good[step > 0.15**2].diff() < 0).all()
    assert (bad[step < 0].diff() > 0).all()


@pytest.mark.parametrize("shape", ["directional", "clip", "both"])
def test_it_is_bounded_for_either_sign_in_float32(shape: str) -> None:
    far = torch.tensor([-700.0, -90.0, -1.0, 0.0, 1.0, 90.0, 700.0])
    step, age = (grid.flatten() for grid in torch.meshgrid(far, far, indexing="ij"))
    for sign in (-1.0, 1.0):
        log_prob = (step + age).requires_grad_()
        got = evaluate(GipoDecoupled(shape=shape), log_prob, 0 * age, torch.full_like(age, sign), age)
        got.surrogate.sum().backward()
        assert log_prob.grad is not None
        for numbers in (got.surrogate, got.coefficient, log_prob.grad):
            assert torch.isfinite(numbers).all()
        assert got.coefficient.max() <= math.exp(3.0) * (1 + 1e-6)


@pytest.mark.parametrize("shape", ["directional", "clip", "both"])
@pytest.mark.parametrize("behaviour", ["truncated", "full", "one_sided", "none"])
def test_its_parts_are_the_factors_of_its_weight(shape: str, behaviour: str) -> None:
    params = GipoDecoupled(shape=shape, behaviour=behaviour, c=0.8)
    got = terms(params, *samples(3))
    parts = params.parts(got.samples)
    assert parts.keys() == {"prox", "data"}
    assert torch.allclose(
        parts["prox"] * parts["data"], trust_weight(got.coefficient, got.log_ratio), rtol=1e-9
    )


def test_the_proximal_policy_must_have_the_shape_of_the_others() -> None:
    with pytest.raises(ValueError, match="proximal_log_prob"):
        evaluate(GipoDecoupled(), torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4), torch.zeros(4))
