"""Health of the data that an update used: is there still a gradient in it, and how old is it?

Source of the definitions: effective sample size as in arXiv 1905.01756; the k3 estimator of KL(mu || pi),
whose mean under mu is exact, is r - 1 - log r. Nothing here carries a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from gipo_cli.core.lags import LAG_BUCKETS

DEAD = 0.01
"""A sample with |g| at or below this is dead: it does not move the policy."""

DAMPED = 0.99
"""A sample of which an objective leaves less than this share, g / r, is damped."""

PPO_BAND = 0.2
"""Half-width of the ratio band that PPO's usual clip keeps."""


def effective_sample_size(coefficient: Tensor) -> float:
    """(sum g)^2 / (n sum g^2), in [0, 1]; NaN if every coefficient is 0 or there are none.

    Shapes: any; flattened. Source: arXiv 1905.01756, section 4.
    """
    g = coefficient.double().flatten()
    if g.numel() == 0:
        return float("nan")
    g = g / g.abs().max()
    return float(g.sum().square() / (g.numel() * g.square().sum()))


def utilisation(coefficient: Tensor) -> float:
    """Share of samples with |g| above :data:`DEAD`; NaN if there are none.

    Shapes: any; flattened. Source: arXiv 2603.03955 (dead samples).
    """
    return float((coefficient.abs() > DEAD).double().mean())


def trust_weight(coefficient: Tensor, log_ratio: Tensor) -> Tensor:
    """What an objective multiplies r by: g / r, formed in logarithms.

    Shapes: both alike, any. Source: the definition of w in arXiv 2603.03955, for any objective.
    """
    log_weight = coefficient.abs().double().log() - log_ratio.double()
    return torch.sign(coefficient) * torch.exp(log_weight)


def damped(weight: Tensor, advantage: Tensor, name: str = "damped") -> dict[str, float]:
    """Shares of the samples with A > 0, and of the others, whose weight is below :data:`DAMPED`.

    Shapes: both alike, any; NaN where there are none. Source: the definition of w in arXiv 2603.03955.
    """
    below, positive = (weight < DAMPED).double(), advantage > 0
    return {
        f"health/{name}_pos": float(below[positive].mean()),
        f"health/{name}_neg": float(below[~positive].mean()),
    }


def proximal_health(
    log_ratio: Tensor, step: Tensor, parts: Mapping[str, Tensor], advantage: Tensor
) -> dict[str, float]:
    """Numbers of an objective that knows the proximal policy.

    Shapes: all alike, any. ``step`` is log pi / pi_prox; ``parts`` are an objective's factors of g / r.
    Source: the two ratios of arXiv 2110.00641; each number's formula is in the metrics glossary.
    """
    y = step.double()
    z = log_ratio.double() - y
    numbers = {
        "health/kl_prox": float(kl_k3(y)),
        "health/log_ratio_prox_rms": float(y.square().mean().sqrt()),
        "health/log_ratio_data_rms": float(z.square().mean().sqrt()),
    }
    for name, weight in parts.items():
        numbers |= damped(weight, advantage, f"damped_{name}")
    return numbers


def health(log_ratio: Tensor, coefficient: Tensor, lag: Tensor, advantage: Tensor) -> dict[str, float]:
    """Every health number of one update, by the column names of ``metrics.csv``.

    Shapes: ``log_ratio``, ``coefficient`` and ``advantage`` ``[n]`` or ``[n, D]``; ``lag`` ``[n]`` in
    iterations.
    Units: log-ratios in nats, shares in [0, 1], lag in iterations.
    Source: each number's formula is in the metrics glossary.
    """
    if log_ratio.ndim == 2:
        lag = lag.unsqueeze(-1).expand_as(log_ratio)
    log_ratio, coefficient, lag = log_ratio.flatten(), coefficient.flatten(), lag.flatten()
    x = log_ratio.double()
    # NumPy's quantile: torch's refuses more than 2^24 numbers, which an update of long passes has.
    spread = np.quantile(x.abs().numpy(), [0.5, 0.95, 0.99])
    weight = trust_weight(coefficient, log_ratio)
    numbers = {
        "health/chi2": float(torch.expm1(2 * x).mean()),
        "health/kl_k1": -float(x.mean()),
        "health/kl_k3": float(kl_k3(x)),
        "health/ratio_max": float(x.max().exp()),
        **damped(weight, advantage.flatten()),
        "health/ess": effective_sample_size(coefficient),
        "health/utilisation": utilisation(coefficient),
        "health/log_ratio_mean": float(x.mean()),
        "health/log_ratio_std": float(x.std(unbiased=False)),
        "health/log_ratio_abs_p50": float(spread[0]),
        "health/log_ratio_abs_p95": float(spread[1]),
        "health/log_ratio_abs_p99": float(spread[2]),
        "health/weight_mean": float(weight.mean()),
        "health/weight_p05": float(np.quantile(weight.numpy(), 0.05)),
        "health/outside_band": float((torch.expm1(x).abs() > PPO_BAND).double().mean()),
        "health/lag_mean": float(lag.double().mean()),
        "health/lag_max": float(lag.max()),
    }
    for name, (low, high) in LAG_BUCKETS.items():
        inside = coefficient[(lag >= low) & (lag <= high)]
        numbers[f"health/utilisation_lag_{name}"] = utilisation(inside)
        numbers[f"health/ess_lag_{name}"] = effective_sample_size(inside)
    return numbers


def kl_k3(log_ratio: Tensor) -> Tensor:
    """Mean of r - 1 - log r: KL(mu || pi) estimated on actions drawn from mu.

    Shapes: any in, scalar out. Gradient: flows, where ``log_ratio`` carries one.
    Source: the k3 estimator, r - 1 - log r >= 0.
    """
    return (torch.expm1(log_ratio) - log_ratio).mean()


def explained_variance(value: Tensor, target: Tensor) -> float:
    """1 - Var(target - value) / Var(target); NaN where the targets do not vary.

    Shapes: both ``[n]``. Source: the usual coefficient of determination.
    """
    spread = target.double().var(unbiased=False)
    if spread == 0:
        return float("nan")
    return float(1.0 - (target.double() - value.double()).var(unbiased=False) / spread)
