"""Every policy objective, written once, as a pure function.

Each objective is maximised and has a gradient of the form ``g(r, A) A grad log pi``. A function here
returns the value of the surrogate and the gradient coefficient g, both as plain numbers;
:func:`evaluate` ties them to the graph by the identity

    surrogate = sg[value] + sg[g A] (log pi - sg[log pi]),

whose value is the surrogate's and whose gradient is g A grad log pi exactly. The same call therefore
serves the update, the bias-variance probe and the exact study, and no intermediate product such as
inf * 0 can enter the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gipo_cli.core.params import (
    FUNCTIONS,
    PARAMS,
    Cispo,
    Gipo,
    NoClip,
    ObjectiveParams,
    PpoClip,
    PpoDualClip,
    PpoKl,
    Sapo,
    Spo,
    Tis,
)

P = TypeVar("P", bound=ObjectiveParams)


class ValueAndCoefficient(NamedTuple):
    """What an objective function returns: both tensors have the shape of ``log_prob``."""

    value: Tensor
    coefficient: Tensor


@dataclass(frozen=True)
class ObjectiveTerms:
    """An objective evaluated on a batch.

    Shapes: all ``[B]`` (joint ratio) or ``[B, D]`` (one ratio per action dimension).
    Gradient: only ``surrogate`` carries one; its mean is to be maximised.
    """

    surrogate: Tensor
    coefficient: Tensor
    log_ratio: Tensor


ObjectiveFn = Callable[[Tensor, Tensor, Tensor, Any], ValueAndCoefficient]


def register(name: str, params: type[P]) -> Callable[[ObjectiveFn], ObjectiveFn]:
    """Make an objective available by name to training and to the diagnostics of a run that trains with it.

    Args:
        name: what ``objective.name`` in a configuration selects.
        params: record of its parameters, a subclass of ``ObjectiveParams``.

    Raises:
        ValueError: another function already has that name, or it cannot be typed in a list of names.
    """

    def add(fn: ObjectiveFn) -> ObjectiveFn:
        if not name.isidentifier():
            raise ValueError(f"an objective's name is letters, digits and _, and {name!r} is not")
        if name in FUNCTIONS:
            raise ValueError(f"an objective named {name!r} is already registered")
        FUNCTIONS[name] = fn
        PARAMS[name] = params
        return fn

    return add


def evaluate(
    params: ObjectiveParams, log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor
) -> ObjectiveTerms:
    """Evaluate the objective that ``params`` names.

    Shapes: ``log_prob`` and ``behaviour_log_prob`` are ``[B]`` or ``[B, D]``; ``advantage`` is ``[B]`` and
    is shared by the D factors of an action.
    A knob in ``params`` may be a tensor of the shape of ``log_prob`` (see ``model_construct``).
    Gradient: flows through ``log_prob`` only; the coefficient, the behaviour policy and the advantage are
    stop-gradiented.
    Raises: ValueError if the shapes do not match; KeyError if no such objective is registered.
    Source: arXiv 2603.03955 for ``gipo``; each parameter record names its own.
    """
    if log_prob.shape != behaviour_log_prob.shape:
        raise ValueError(
            f"log_prob {tuple(log_prob.shape)} and behaviour_log_prob {tuple(behaviour_log_prob.shape)} "
            "differ in shape; sum or keep the action dimensions in both"
        )
    if log_prob.ndim not in (1, 2) or advantage.shape != log_prob.shape[:1]:
        raise ValueError(
            f"log_prob {tuple(log_prob.shape)} needs an advantage of shape {tuple(log_prob.shape[:1])}, "
            f"got {tuple(advantage.shape)}; log_prob may be [B] or [B, D]"
        )
    fn: Any = FUNCTIONS[params.name]
    with torch.no_grad():
        adv = (advantage if log_prob.ndim == 1 else advantage.unsqueeze(-1)).expand_as(log_prob)
        value, coefficient = fn(log_prob.detach(), behaviour_log_prob, adv, params)
        log_ratio = log_prob.detach() - behaviour_log_prob
        # Where A is 0 there is nothing to learn, whatever r: inf * 0 must not say otherwise.
        nothing = adv == 0
        value, slope = value.masked_fill(nothing, 0.0), (coefficient * adv).masked_fill(nothing, 0.0)
    surrogate = value + slope * (log_prob - log_prob.detach())
    return ObjectiveTerms(surrogate, coefficient, log_ratio)


@register("no_clip", NoClip)
def no_clip(
    log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor, params: NoClip
) -> ValueAndCoefficient:
    """The surrogate r A, with g = r.

    Shapes: as :func:`evaluate`. Source: arXiv 1502.05477, eq. 14.
    """
    ratio = torch.exp(log_prob - behaviour_log_prob)
    return ValueAndCoefficient(ratio * advantage, ratio)


@register("ppo_kl", PpoKl)
def ppo_kl(
    log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor, params: PpoKl
) -> ValueAndCoefficient:
    """The surrogate r A, with g = r; its KL(mu || pi) term is added by the update (``params.kl_coef``).

    Shapes: as :func:`evaluate`. Source: arXiv 1707.06347, eq. 8.
    """
    ratio = torch.exp(log_prob - behaviour_log_prob)
    return ValueAndCoefficient(ratio * advantage, ratio)


@register("ppo_clip", PpoClip)
def ppo_clip(
    log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor, params: PpoClip
) -> ValueAndCoefficient:
    """min(r A, clip(r, 1 - eps, 1 + eps) A).

    g is r, and 0 where A > 0 and r > 1 + eps or where A < 0 and r < 1 - eps.
    Shapes: as :func:`evaluate`. Source: arXiv 1707.06347, eq. 7.
    """
    ratio = torch.exp(log_prob - behaviour_log_prob)
    low, high = 1.0 - params.eps, 1.0 + params.upper
    positive = advantage > 0
    value = torch.where(positive, ratio.clamp(max=high), ratio.clamp(min=low)) * advantage
    dead = (positive & (ratio > high)) | ((advantage < 0) & (ratio < low))
    return ValueAndCoefficient(value, ratio.masked_fill(dead, 0.0))


@register("ppo_dual_clip", PpoDualClip)
def ppo_dual_clip(
    log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor, params: PpoDualClip
) -> ValueAndCoefficient:
    """PPO-clip, and max(that, c A) where A < 0, whose g is 0 for r > c as well.

    Shapes: as :func:`evaluate`. Source: arXiv 1912.09729, eq. 5.
    """
    ratio = torch.exp(log_prob - behaviour_log_prob)
    low, high = 1.0 - params.eps, 1.0 + params.eps
    positive = advantage > 0
    value = torch.where(positive, ratio.clamp(max=high), ratio.clamp(min=low).clamp(max=params.c)) * advantage
    dead = (positive & (ratio > high)) | ((advantage < 0) & ((ratio < low) | (ratio > params.c)))
    return ValueAndCoefficient(value, ratio.masked_fill(dead, 0.0))


def _by_sign(advantage: Tensor, positive: float, otherwise: float) -> Tensor:
    # In the dtype of the advantage: torch.where of two Python floats is float32 whatever the rest is.
    dtype = advantage.dtype
    return torch.where(
        advantage > 0, torch.as_tensor(positive, dtype=dtype), torch.as_tensor(otherwise, dtype=dtype)
    )


def _log(x: float) -> Any:
    return x.log() if isinstance(x, Tensor) else math.log(x)


def _log1p(x: float) -> Any:
    return x.log1p() if isinstance(x, Tensor) else math.log1p(x)


@register("sapo", Sapo)
def sapo(
    log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor, params: Sapo
) -> ValueAndCoefficient:
    """(4 / tau) s(tau (r - 1)) A with s the sigmoid and tau chosen by the sign of A.

    g = 4 r s (1 - s), formed in logarithms so that r = inf gives 0 rather than NaN.
    Shapes: as :func:`evaluate`. Source: arXiv 2511.20347.
    """
    log_ratio = log_prob - behaviour_log_prob
    tau = _by_sign(advantage, params.tau_pos, params.tau_neg)
    x = tau * torch.expm1(log_ratio)
    log_gate = log_ratio + logsigmoid(x) + logsigmoid(-x)
    return ValueAndCoefficient(torch.sigmoid(x) * (4.0 / tau) * advantage, 4.0 * torch.exp(log_gate))


@register("tis", Tis)
def tis(log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor, params: Tis) -> ValueAndCoefficient:
    """sg[min(r, c)] A log pi, with g = min(r, c).

    Shapes: as :func:`evaluate`. Source: arXiv 1802.01561, eq. 4 (policy-gradient term).
    """
    weight = torch.exp((log_prob - behaviour_log_prob).clamp(max=_log(params.c)))
    return ValueAndCoefficient(weight * advantage * log_prob, weight)


@register("cispo", Cispo)
def cispo(
    log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor, params: Cispo
) -> ValueAndCoefficient:
    """sg[clip(r, 1 - eps_low, 1 + eps_high)] A log pi.

    Shapes: as :func:`evaluate`. Source: arXiv 2506.13585, eq. 4.
    """
    low = -math.inf if params.eps_low >= 1 else math.log1p(-params.eps_low)
    high = _log1p(params.eps_high)
    weight = torch.exp((log_prob - behaviour_log_prob).clamp(min=low).clamp(max=high))
    return ValueAndCoefficient(weight * advantage * log_prob, weight)


@register("spo", Spo)
def spo(log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor, params: Spo) -> ValueAndCoefficient:
    """The surrogate r A - |A| (r - 1)^2 / (2 eps), with g = r (1 - sign(A) (r - 1) / eps).

    Shapes: as :func:`evaluate`. Source: arXiv 2401.16025.
    """
    log_ratio = log_prob - behaviour_log_prob
    ratio, step = torch.exp(log_ratio), torch.expm1(log_ratio)
    value = ratio * advantage - advantage.abs() * step.square() / (2.0 * params.eps)
    return ValueAndCoefficient(value, ratio * (1.0 - torch.sign(advantage) * step / params.eps))


@register("gipo", Gipo)
def gipo(
    log_prob: Tensor, behaviour_log_prob: Tensor, advantage: Tensor, params: Gipo
) -> ValueAndCoefficient:
    """sg[w(r)] r A, with g = w(r) r.

    w r is formed as exp(log r + log w): exp-then-log is NaN in float32 once log r > 88.7.
    Shapes: as :func:`evaluate`. Source: arXiv 2603.03955.
    """
    log_ratio = log_prob - behaviour_log_prob
    coefficient = torch.exp(log_ratio + log_trust_weight(log_ratio, advantage, params))
    return ValueAndCoefficient(coefficient * advantage, coefficient)


def log_trust_weight(log_ratio: Tensor, advantage: Tensor, params: Gipo) -> Tensor:
    """Logarithm of GIPO's trust weight w(r), in (-inf, 0].

    Shapes: ``log_ratio`` and ``advantage`` alike, any shape; the result has that shape.
    Gradient: callers stop it; w is a weight, not a part of the surrogate.
    Source: arXiv 2603.03955 (gaussian); the authors' public script (laplacian, cauchy, neg_ratio).
    """
    clamped = log_ratio
    if params.rho_min is not None or params.rho_max is not None:
        clamped = log_ratio.clamp(
            None if params.rho_min is None else math.log(params.rho_min),
            None if params.rho_max is None else math.log(params.rho_max),
        )
    if params.side == "upper":
        clamped = clamped.clamp(min=0.0)
    if params.neg_ratio == 1.0:
        z = clamped / params.sigma
    else:
        z = clamped / _by_sign(advantage, params.sigma, params.sigma * params.neg_ratio)
    if params.kernel == "gaussian":
        return -0.5 * z.square()
    if params.kernel == "laplacian":
        return -z.abs()
    return -torch.log1p(z.square())
