"""Every objective against textbook surrogates, closed forms and hand-worked numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from gipo_cli.core.objectives import (
    OBJECTIVES,
    Cispo,
    Gipo,
    GipoDecoupled,
    Icepop,
    M2po,
    NoClip,
    ObjectiveParams,
    PpoClip,
    PpoDualClip,
    PpoKl,
    Sapo,
    Spo,
    Tis,
    Topr,
    ValueAndCoefficient,
    Vespo,
    evaluate,
    register,
    registered,
)

settings.register_profile("untimed", deadline=None, derandomize=True)
settings.load_profile("untimed")

EVERY = [
    Gipo(),
    Gipo(kernel="laplacian"),
    Gipo(kernel="cauchy", neg_ratio=0.5),
    Gipo(side="upper"),
    PpoClip(),
    PpoClip(eps=0.1, eps_high=0.4),
    PpoDualClip(),
    PpoKl(),
    Sapo(),
    Sapo(tau_pos=2.0, tau_neg=4.0),
    NoClip(),
    Tis(),
    Tis(c=3.0),
    Cispo(),
    Cispo(eps_low=0.3, eps_high=0.5),
    Spo(),
    GipoDecoupled(c=1.5),
    Vespo(),
    Icepop(),
    Topr(),
    M2po(budget=100.0),
]
LOG_RATIOS = st.floats(-6.0, 6.0)
ADVANTAGES = st.floats(-3.0, 3.0)
SIGMAS = st.floats(0.05, 4.0)


def label(params: ObjectiveParams) -> str:
    return " ".join(f"{k}={v}" for k, v in params.model_dump().items())


def pair(
    log_ratio: float, advantage: float, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """A log-probability that carries a gradient, mu's, and the advantage; log r is exact."""
    log_prob = torch.tensor([log_ratio], dtype=dtype, requires_grad=True)
    return log_prob, torch.zeros(1, dtype=dtype), torch.tensor([advantage], dtype=dtype)


def slope(params: ObjectiveParams, log_ratio: float, advantage: float) -> tuple[float, float]:
    """Value of the surrogate and its derivative with respect to log pi, by autograd."""
    log_prob, behaviour, adv = pair(log_ratio, advantage)
    surrogate = evaluate(params, log_prob, behaviour, adv).surrogate.sum()
    surrogate.backward()
    assert log_prob.grad is not None
    return surrogate.item(), log_prob.grad.item()


def coefficient(params: ObjectiveParams, log_ratio: Tensor, advantage: float = 1.0) -> Tensor:
    adv = torch.full_like(log_ratio, advantage)
    return evaluate(params, log_ratio, torch.zeros_like(log_ratio), adv).coefficient


def of_others(params: ObjectiveParams, log_prob: Tensor, old: Tensor, adv: Tensor) -> Tensor:
    """The same of objectives made for stale data."""
    r = (log_prob - old).exp()
    match params:
        case GipoDecoupled():  # the learner is the proximal policy
            return r.clamp(max=params.c).detach() * (log_prob - log_prob.detach()).exp() * adv
        case Vespo():
            k, rate = (params.k_pos, params.lambda_pos) if adv > 0 else (params.k_neg, params.lambda_neg)
            return (r**k * (rate * (1 - r)).exp()).detach() * adv * log_prob
        case Icepop():
            return r * adv if params.low <= r.item() <= params.high else 0 * log_prob
        case Topr():
            return (torch.ones(1) if adv >= 0 else r.clamp(max=1).detach()) * adv * log_prob
        case M2po():  # a budget that nothing here reaches
            return r * adv
    raise AssertionError(params)


def textbook(params: ObjectiveParams, log_prob: Tensor, old: Tensor, adv: Tensor) -> Tensor:
    """The differentiable surrogates as their papers print them, to be maximised."""
    r = (log_prob - old).exp()
    match params:
        case NoClip() | PpoKl():
            return r * adv
        case PpoClip():  # Stable-Baselines3's ppo.py, sign turned
            return torch.min(adv * r, adv * torch.clamp(r, 1 - params.eps, 1 + params.upper))
        case PpoDualClip():
            clipped = torch.min(adv * r, adv * torch.clamp(r, 1 - params.eps, 1 + params.eps))
            return torch.where(adv < 0, torch.max(clipped, params.c * adv), clipped)
        case Sapo():
            tau = params.tau_pos if adv.item() > 0 else params.tau_neg
            return torch.sigmoid(tau * (r - 1)) * 4 / tau * adv
        case Tis():
            return r.clamp(max=params.c).detach() * adv * log_prob
        case Cispo():
            return r.clamp(1 - params.eps_low, 1 + params.eps_high).detach() * adv * log_prob
        case Spo():
            return r * adv - adv.abs() * (r - 1) ** 2 / (2 * params.eps)
        case Gipo():
            sigma = params.sigma * (1.0 if adv.item() > 0 else params.neg_ratio)
            x = (log_prob - old).detach() / sigma
            if params.side == "upper":
                x = x.clamp(min=0)
            w = {"gaussian": (-(x**2) / 2).exp(), "laplacian": (-x.abs()).exp(), "cauchy": 1 / (1 + x**2)}
            return w[params.kernel] * r * adv
    return of_others(params, log_prob, old, adv)


def kinks(params: ObjectiveParams) -> list[float]:
    """Ratios at which a clipped surrogate has two slopes."""
    match params:
        case PpoClip():
            return [1 - params.eps, 1 + params.upper]
        case PpoDualClip():
            return [1 - params.eps, 1 + params.eps, params.c]
        case Icepop():
            return [params.low, params.high]
    return []


@pytest.mark.parametrize("params", EVERY, ids=label)
@given(log_ratio=LOG_RATIOS, advantage=ADVANTAGES)
def test_value_and_gradient_are_those_of_the_textbook_surrogate(
    params: ObjectiveParams, log_ratio: float, advantage: float
) -> None:
    if any(abs(math.exp(log_ratio) - k) < 1e-9 for k in kinks(params)):
        return
    log_prob, old, adv = pair(log_ratio, advantage)
    expected = textbook(params, log_prob, old, adv).sum()
    expected.backward()
    assert log_prob.grad is not None
    value, gradient = slope(params, log_ratio, advantage)
    assert value == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
    assert gradient == pytest.approx(log_prob.grad.item(), rel=1e-12, abs=1e-12)


# Worked by hand: r = 2 or 1/2; exp(-0.5 (ln 2)^2) = 0.786450, exp(-0.5 (ln 2 / 0.5)^2) = 0.382546,
# s(1) (1 - s(1)) = 0.196612, s(-0.5) (1 - s(-0.5)) = 0.235004, 1 / (1 + (ln 2)^2) = 0.675469.
HAND = [
    (NoClip(), 2.0, 1.0, 2.0),
    (PpoKl(beta=3.0), 0.5, -1.0, 0.5),
    (PpoClip(eps=0.2), 2.0, 1.0, 0.0),
    (PpoClip(eps=0.2), 2.0, -1.0, 2.0),
    (PpoClip(eps=0.2), 0.5, 1.0, 0.5),
    (PpoClip(eps=0.2), 0.5, -1.0, 0.0),
    (PpoClip(eps=0.2, eps_high=1.5), 2.0, 1.0, 2.0),
    (PpoDualClip(eps=0.2, c=1.5), 2.0, -1.0, 0.0),
    (PpoDualClip(eps=0.2, c=3.0), 2.0, -1.0, 2.0),
    (Sapo(tau_pos=1.0, tau_neg=1.0), 2.0, 1.0, 1.572895),
    (Sapo(tau_pos=1.0, tau_neg=1.0), 0.5, -1.0, 0.470007),
    (Tis(c=1.5), 2.0, -1.0, 1.5),
    (Tis(c=1.5), 0.5, 1.0, 0.5),
    (Cispo(eps_low=0.3, eps_high=0.4), 2.0, 1.0, 1.4),
    (Cispo(eps_low=0.3, eps_high=0.4), 0.5, 1.0, 0.7),
    (Cispo(eps_low=1.0, eps_high=0.4), 0.001, -1.0, 0.001),
    (Spo(eps=0.2), 2.0, 1.0, -8.0),
    (Spo(eps=0.2), 2.0, -1.0, 12.0),
    (Spo(eps=0.2), 1.1, 1.0, 0.55),
    # 4 e^-3, 8 e^-2 and e / 8.
    (Vespo(), 2.0, 1.0, 0.199148),
    (Vespo(), 2.0, -1.0, 1.082682),
    (Vespo(), 0.5, -1.0, 0.339785),
    (Icepop(), 2.0, 1.0, 2.0),
    (Icepop(), 0.45, -1.0, 0.0),
    (Icepop(), 5.5, 1.0, 0.0),
    (Topr(), 0.5, 1.0, 1.0),
    (Topr(), 2.0, 1.0, 1.0),
    (Topr(), 0.5, -1.0, 0.5),
    (Topr(), 2.0, -1.0, 1.0),
    # (ln 2)^2 = 0.48 and (ln 1.1)^2 = 0.009 against 0.04.
    (M2po(), 2.0, 1.0, 0.0),
    (M2po(), 2.0, -1.0, 2.0),
    (M2po(), 0.5, -1.0, 0.0),
    (M2po(), 1.1, 1.0, 1.1),
    (Gipo(sigma=1.0), 2.0, 1.0, 1.572899),
    (Gipo(sigma=1.0), 0.5, 1.0, 0.393225),
    (Gipo(sigma=1.0, neg_ratio=0.5), 2.0, -1.0, 0.765092),
    (Gipo(sigma=1.0, kernel="laplacian"), 2.0, 1.0, 1.0),
    (Gipo(sigma=1.0, kernel="laplacian"), 0.5, 1.0, 0.25),
    (Gipo(sigma=1.0, kernel="cauchy"), 2.0, 1.0, 1.350938),
    (Gipo(sigma=1.0, side="upper"), 0.5, 1.0, 0.5),
    (Gipo(sigma=1.0, side="upper"), 2.0, 1.0, 1.572899),
    (Gipo(sigma=1.0, rho_max=1.0), 2.0, 1.0, 2.0),
    (Gipo(sigma=1.0, rho_max=4.0), 2.0, 1.0, 1.572899),
    (Gipo(sigma=1.0, rho_min=0.25), 0.5, 1.0, 0.393225),
    (Gipo(sigma=1.0, rho_min=1.0), 0.5, 1.0, 0.5),
]


@pytest.mark.parametrize(("params", "ratio", "advantage", "expected"), HAND)
def test_coefficients_worked_by_hand(
    params: ObjectiveParams, ratio: float, advantage: float, expected: float
) -> None:
    got = coefficient(params, torch.tensor([math.log(ratio)], dtype=torch.float64), advantage)
    assert got.item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("params", EVERY, ids=label)
@pytest.mark.parametrize("advantage", [-2.0, 0.0, 0.5])
def test_on_policy_every_coefficient_is_one(params: ObjectiveParams, advantage: float) -> None:
    got = coefficient(params, torch.zeros(3, dtype=torch.float64), advantage)
    assert torch.allclose(got, torch.ones_like(got), rtol=0, atol=1e-15)


@given(x=st.floats(0.0, 20.0), sigma=SIGMAS)
def test_gaussian_weight_is_symmetric_in_log_r(x: float, sigma: float) -> None:
    at = torch.tensor([x, -x], dtype=torch.float64)
    above, below = Gipo(sigma=sigma).log_weight(at, torch.ones_like(at)).tolist()
    assert above == below <= 0.0


@given(sigma=SIGMAS)
def test_gaussian_coefficient_peaks_at_sigma_squared(sigma: float) -> None:
    top = math.exp(sigma**2 / 2)
    x = torch.linspace(-10, 40, 4001, dtype=torch.float64)
    g = coefficient(Gipo(sigma=sigma), x)
    at_peak = coefficient(Gipo(sigma=sigma), torch.tensor([sigma**2], dtype=torch.float64)).item()
    assert at_peak == pytest.approx(top, rel=1e-12)
    assert g.max().item() <= top * (1 + 1e-12)


@given(log_ratio=LOG_RATIOS, advantage=ADVANTAGES, sigma=st.floats(0.3, 4.0))
def test_gaussian_coefficient_is_positive_everywhere(
    log_ratio: float, advantage: float, sigma: float
) -> None:
    x = torch.tensor([log_ratio], dtype=torch.float64)
    assert coefficient(Gipo(sigma=sigma), x, advantage).item() > 0.0


def test_support_of_the_gaussian_coefficient() -> None:
    for sigma, low, high in [(1.0, -5.2, 7.2), (0.2, -1.18, 1.26)]:
        x = torch.tensor([low, high], dtype=torch.float64)
        inside, outside = x * 0.98, x * 1.02
        assert (coefficient(Gipo(sigma=sigma), inside) > 1e-8).all()
        assert (coefficient(Gipo(sigma=sigma), outside) < 1e-8).all()


@given(log_ratio=LOG_RATIOS, advantage=ADVANTAGES)
def test_wide_trust_weight_is_no_clip(log_ratio: float, advantage: float) -> None:
    x = torch.tensor([log_ratio], dtype=torch.float64)
    expected = coefficient(NoClip(), x, advantage).item()
    for kernel in ("gaussian", "laplacian", "cauchy"):
        got = coefficient(Gipo(sigma=1e9, kernel=kernel), x, advantage).item()
        assert got == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0, 4.0])
def test_sapo_is_gipo_near_one_to_third_order(tau: float) -> None:
    soft, gauss = Sapo(tau_pos=tau, tau_neg=tau), Gipo(sigma=math.sqrt(2) / tau)
    x = torch.tensor([2e-2, 1e-2, -2e-2, -1e-2], dtype=torch.float64)
    gap = (coefficient(soft, x) - coefficient(gauss, x)).abs()
    # Halving log r divides a third-order gap by 8.
    assert gap[0] / gap[1] == pytest.approx(8.0, rel=0.15)
    assert gap[2] / gap[3] == pytest.approx(8.0, rel=0.15)


def test_laplacian_is_bounded_only_up_to_sigma_one_and_cauchy_never() -> None:
    x = torch.tensor([0.0, 50.0, 100.0, 200.0], dtype=torch.float64)
    assert coefficient(Gipo(sigma=1.0, kernel="laplacian"), x).max() <= 1.0 + 1e-12
    for unbounded in (Gipo(sigma=1.25, kernel="laplacian"), Gipo(sigma=0.1, kernel="cauchy")):
        assert coefficient(unbounded, x)[1:].diff().min() > 1e6


def test_a_finite_rho_max_unbounds_the_coefficient_beyond_it() -> None:
    x = torch.tensor([math.log(2.0), 10.0, 20.0], dtype=torch.float64)
    g = coefficient(Gipo(sigma=1.0, rho_max=2.0), x)
    assert torch.allclose(g, math.exp(-0.5 * math.log(2.0) ** 2) * x.exp())


@given(log_ratio=st.floats(-6.0, 0.0), sigma=SIGMAS)
def test_upper_side_leaves_small_ratios_alone(log_ratio: float, sigma: float) -> None:
    x = torch.tensor([log_ratio], dtype=torch.float64)
    assert coefficient(Gipo(sigma=sigma, side="upper"), x).item() == pytest.approx(
        math.exp(log_ratio), rel=1e-12
    )


@pytest.mark.parametrize("advantage", [0.0, -1.0])
def test_an_advantage_of_zero_takes_the_negative_parameters(advantage: float) -> None:
    x = torch.tensor([-0.7, 0.4], dtype=torch.float64)
    narrow = coefficient(Gipo(sigma=1.0, neg_ratio=0.25), x, advantage)
    assert torch.equal(narrow, coefficient(Gipo(sigma=0.25), x, 1.0))
    soft = coefficient(Sapo(tau_pos=1.0, tau_neg=3.0), x, advantage)
    assert torch.equal(soft, coefficient(Sapo(tau_pos=3.0, tau_neg=1.0), x, 1.0))


@pytest.mark.parametrize("params", [Sapo(tau_neg=1.05), Gipo(sigma=0.3, neg_ratio=0.7)], ids=label)
def test_parameters_keep_double_precision(params: ObjectiveParams) -> None:
    log_prob, old, adv = pair(0.3, -1.0)
    expected = torch.autograd.grad(textbook(params, log_prob, old, adv).sum(), log_prob)[0].item()
    assert slope(params, 0.3, -1.0)[1] == pytest.approx(expected, rel=1e-14)


# Where g is bounded, and for which sign of A.
BOUNDED = [
    (Gipo(sigma=0.1), (-1.0, 0.0, 1.0)),
    (Gipo(sigma=1.0, neg_ratio=0.5), (-1.0, 0.0, 1.0)),
    (Gipo(sigma=2.0, side="upper"), (-1.0, 0.0, 1.0)),
    (Gipo(sigma=12.0), (-1.0, 0.0, 1.0)),
    (Gipo(sigma=1.0, kernel="laplacian"), (-1.0, 0.0, 1.0)),
    (Sapo(), (-1.0, 0.0, 1.0)),
    (Sapo(tau_pos=0.1, tau_neg=8.0), (-1.0, 0.0, 1.0)),
    (Tis(), (-1.0, 0.0, 1.0)),
    (Cispo(), (-1.0, 0.0, 1.0)),
    (Cispo(eps_low=0.2), (-1.0, 0.0, 1.0)),
    (Vespo(), (-1.0, 0.0, 1.0)),
    (Icepop(), (-1.0, 0.0, 1.0)),
    (Topr(), (-1.0, 0.0, 1.0)),
    (GipoDecoupled(), (-1.0, 0.0, 1.0)),
    (PpoClip(), (1.0,)),
    (PpoDualClip(), (-1.0, 1.0)),
]


@pytest.mark.parametrize(
    ("params", "advantages"), BOUNDED, ids=lambda v: label(v) if hasattr(v, "name") else ""
)
def test_bounded_objectives_stay_finite_in_float32(
    params: ObjectiveParams, advantages: tuple[float, ...]
) -> None:
    x = torch.cat(
        [torch.linspace(-700, 700, 2801), torch.linspace(85, 95, 101), -torch.linspace(85, 110, 101)]
    )
    for advantage in advantages:
        log_prob = (x / 2).requires_grad_()
        terms = evaluate(params, log_prob, -x / 2, torch.full_like(x, advantage))
        terms.surrogate.sum().backward()
        assert terms.surrogate.dtype == torch.float32
        assert torch.isfinite(terms.surrogate).all()
        assert log_prob.grad is not None
        assert torch.isfinite(log_prob.grad).all()


@pytest.mark.parametrize("params", EVERY, ids=label)
def test_the_gradient_flows_through_the_policy_only(params: ObjectiveParams) -> None:
    generator = torch.Generator().manual_seed(0)
    log_prob, old = torch.randn(2, 6, 3, generator=generator).unbind(0)
    adv = torch.randn(6, generator=generator)
    inputs = [t.clone().requires_grad_() for t in (log_prob, old, adv)]
    terms = evaluate(params, *inputs)
    assert not terms.coefficient.requires_grad
    assert not terms.log_ratio.requires_grad
    grads = torch.autograd.grad(terms.surrogate.sum(), inputs, allow_unused=True)
    assert grads[1] is None
    assert grads[2] is None
    # The coefficient is a constant: the derivative is exactly g A, not d(g A log r).
    assert torch.allclose(grads[0], terms.coefficient * adv.unsqueeze(-1), rtol=1e-6)


@pytest.mark.parametrize("params", EVERY, ids=label)
def test_dimensions_are_weighted_one_by_one_by_the_same_advantage(params: ObjectiveParams) -> None:
    generator = torch.Generator().manual_seed(1)
    log_prob, old = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64).unbind(0)
    adv = torch.randn(5, generator=generator, dtype=torch.float64)
    both = evaluate(params, log_prob, old, adv)
    for d in range(4):
        one = evaluate(params, log_prob[:, d], old[:, d], adv)
        assert torch.allclose(both.surrogate[:, d], one.surrogate, rtol=1e-14, atol=0)
        assert torch.allclose(both.coefficient[:, d], one.coefficient, rtol=1e-14, atol=0)
        assert torch.equal(both.log_ratio[:, d], log_prob[:, d] - old[:, d])


@pytest.mark.parametrize(
    ("log_prob", "behaviour", "advantage"),
    [((4,), (4, 1), (4,)), ((4, 1), (4,), (4,)), ((4,), (4,), (4, 1)), ((4, 2), (4, 2), (4, 2)),
     ((4, 2), (4, 2), (2,)), ((4,), (4,), (1,)), ((4,), (4,), ()), ((4, 2, 1), (4, 2, 1), (4,)),
     ((), (), ())],
)  # fmt: skip
def test_shapes_that_would_broadcast_are_refused(
    log_prob: tuple[int, ...], behaviour: tuple[int, ...], advantage: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="log_prob"):
        evaluate(Gipo(), torch.zeros(log_prob), torch.zeros(behaviour), torch.zeros(advantage))


def test_names_are_taken_once() -> None:
    assert all(OBJECTIVES[params.name] is type(params) for params in EVERY)
    with pytest.raises(ValueError, match="already registered"):
        register("gipo", Gipo)(lambda *_: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match="already registered"):
        registered(Gipo)
    for name in ("tis,sapo", "my objective", ""):
        with pytest.raises(ValueError, match="letters, digits and _"):
            register(name, Gipo)(lambda *_: None)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("kind", list(dict.fromkeys(map(type, EVERY))), ids=lambda kind: kind.__name__)
def test_every_objective_says_what_listings_and_figures_need(kind: type[ObjectiveParams]) -> None:
    assert kind.label
    assert kind.formula
    assert kind.look
    assert "Source: arXiv" in (kind.surrogate.__doc__ or "")
    knob = {kind.knob} if kind.knob else set()
    assert knob <= set(kind.symbols) & set(kind.model_fields)
    assert (kind.span is None) == (not kind.knob)
    for end in kind.span or ():
        swept = kind().swept(torch.tensor(end, dtype=torch.float64))
        kind.model_validate({k: float(v) if isinstance(v, Tensor) else v for k, v in swept})


def test_a_function_of_ones_own_is_evaluated_like_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gipo_cli.core.objectives.base.OBJECTIVES", dict(OBJECTIVES))

    class Twice(ObjectiveParams):
        name: str = "twice_of_test_objectives"
        factor: float = 2.0

    @register("twice_of_test_objectives", Twice)
    def twice(log_prob: Tensor, behaviour: Tensor, advantage: Tensor, params: Twice) -> ValueAndCoefficient:
        ratio = params.factor * torch.exp(log_prob - behaviour)
        return ValueAndCoefficient(ratio * advantage, ratio)

    assert slope(Twice(), math.log(3.0), -0.5) == pytest.approx((-3.0, -3.0))


@pytest.mark.parametrize("params", [p for p in EVERY if p.knob], ids=label)
def test_a_knob_may_differ_from_sample_to_sample(params: ObjectiveParams) -> None:
    log_ratio = torch.tensor([-1.0, 0.2, 0.7], dtype=torch.float64)
    values = torch.tensor([0.3, 0.5, 0.8], dtype=torch.float64)
    mixed = coefficient(params.with_knob(values), log_ratio, -0.5)
    single = [
        coefficient(params.with_knob(float(v)), x[None], -0.5) for v, x in zip(values, log_ratio, strict=True)
    ]
    assert torch.equal(mixed, torch.cat(single))


def test_varying_the_temperature_of_sapo_keeps_the_ratio_of_the_two() -> None:
    assert Sapo(tau_pos=2.0, tau_neg=3.0).with_knob(4.0) == Sapo(tau_pos=4.0, tau_neg=6.0)
    assert NoClip().with_knob(4.0) == NoClip()


def test_only_ppo_kl_brings_its_own_penalty() -> None:
    assert PpoKl(beta=0.25).kl_coef == 0.25
    assert all(p.kl_coef == 0.0 for p in EVERY if p.name != "ppo_kl")


@pytest.mark.parametrize(
    ("record", "values"),
    [(Gipo, {"sigma": 0.0}), (Gipo, {"sigma": math.inf}), (Gipo, {"kernel": "box"}), (PpoClip, {"eps": 1.0}),
     (PpoDualClip, {"c": 1.0}), (Sapo, {"tau_pos": -1.0}), (Tis, {"c": 0.0}), (Cispo, {"eps_low": 1.5}),
     (Spo, {"eps": 0.0}), (PpoKl, {"beta": -0.1}), (NoClip, {"sigma": 1.0})],
)  # fmt: skip
def test_parameters_outside_their_range_are_refused(
    record: type[ObjectiveParams], values: dict[str, object]
) -> None:
    with pytest.raises(ValidationError):
        record(**values)


def test_no_advantage_means_no_gradient_however_large_the_ratio() -> None:
    log_prob = torch.tensor([800.0], requires_grad=True)
    terms = evaluate(NoClip(), log_prob, torch.zeros(1), torch.zeros(1))
    terms.surrogate.sum().backward()
    assert terms.surrogate.item() == 0.0
    assert log_prob.grad is not None
    assert log_prob.grad.item() == 0.0
