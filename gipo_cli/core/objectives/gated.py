"""Objectives that damp a sample smoothly as its ratio leaves 1, instead of clipping it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from gipo_cli.core.objectives.base import (
    ObjectiveParams,
    Positive,
    Samples,
    ValueAndCoefficient,
    by_sign,
    registered,
)

if TYPE_CHECKING:
    from torch import Tensor


@registered
class Gipo(ObjectiveParams):
    """Trust-weighted surrogate sg[w(r)] r A (arXiv 2603.03955)."""

    label = "GIPO"
    formula = "sg[w(r)] r A, w = exp(-(log r / sigma)^2 / 2)"
    knob = "sigma"
    grid = (0.1, 0.2, 0.5, 1.0, 2.0)
    grid_key = "gipo_sigma"
    span = (0.02, 50.0)
    symbols = {"sigma": "σ", "neg_ratio": "σ ratio", "kernel": "", "side": "side"}
    look = ("#0072b2", "o", "-")
    name: Literal["gipo"] = "gipo"
    sigma: Positive = Field(0.5, description="width of the trust weight in log r, where A > 0")
    neg_ratio: Positive = Field(1.0, description="width where A <= 0, as a multiple of sigma")
    kernel: Literal["gaussian", "laplacian", "cauchy"] = Field(
        "gaussian", description="shape of the trust weight"
    )
    side: Literal["both", "upper"] = Field(
        "both", description="both: w damps r < 1 too (the paper); upper: w = 1 for r <= 1"
    )
    # Both sides of 1, or fresh data would count less than fully.
    rho_min: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="clamp of r inside w only; null is none"
    )
    rho_max: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = Field(
        None, description="clamp of r inside w only; a finite one unbounds the gradient beyond it"
    )

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """sg[w(r)] r A, with g = w(r) r.

        w r is formed as exp(log r + log w): exp-then-log is NaN in float32 once log r > 88.7.
        Source: arXiv 2603.03955.
        """
        log_weight = self.log_weight(samples.log_ratio, samples.advantage)
        coefficient = (samples.log_ratio + log_weight).exp()
        return ValueAndCoefficient(coefficient * samples.advantage, coefficient)

    def log_weight(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """Logarithm of the trust weight w(r), in (-inf, 0].

        Shapes: ``log_ratio`` and ``advantage`` alike, any shape; the result has that shape.
        Gradient: callers stop it; w is a weight, not a part of the surrogate.
        Source: arXiv 2603.03955 (gaussian); the authors' public script (laplacian, cauchy, neg_ratio).
        """
        clamped = log_ratio
        if self.rho_min is not None or self.rho_max is not None:
            clamped = log_ratio.clamp(
                None if self.rho_min is None else math.log(self.rho_min),
                None if self.rho_max is None else math.log(self.rho_max),
            )
        if self.side == "upper":
            clamped = clamped.clamp(min=0.0)
        if self.neg_ratio == 1.0:
            z = clamped / self.sigma
        else:
            z = clamped / by_sign(advantage, self.sigma, self.sigma * self.neg_ratio)
        if self.kernel == "gaussian":
            return -0.5 * z.square()
        if self.kernel == "laplacian":
            return -z.abs()
        return -z.square().log1p()


@registered
class Sapo(ObjectiveParams):
    """Soft gate (4/tau) sigmoid(tau (r - 1)) A (arXiv 2511.20347)."""

    label = "SAPO"
    formula = "(4 / tau) sigmoid(tau (r - 1)) A, tau by the sign of A"
    knob = "tau_pos"
    grid = (0.5, 1.0, 2.0, 4.0, 8.0)
    grid_key = "sapo_tau"
    span = (0.005, 200.0)
    symbols = {"tau_pos": "τ+", "tau_neg": "τ-", "tau_neg/tau_pos": "τ-/τ+"}
    look = ("#009e73", "^", (0, (5, 1.5, 1, 1.5)))
    name: Literal["sapo"] = "sapo"
    tau_pos: Positive = Field(1.0, description="gate temperature where A > 0; larger is narrower")
    tau_neg: Positive = Field(1.05, description="gate temperature where A <= 0")

    def with_knob(self, value: float | Tensor) -> Self:
        """The ratio of the two temperatures is kept."""
        return self.model_copy(update={"tau_pos": value, "tau_neg": value * self.tau_neg / self.tau_pos})

    def swept(self, values: Tensor) -> Self:
        """One temperature for both signs."""
        return self.model_copy(update={"tau_pos": values, "tau_neg": values})

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """(4 / tau) s(tau (r - 1)) A with s the sigmoid and tau chosen by the sign of A.

        g = 4 r s (1 - s), formed in logarithms so that r = inf gives 0 rather than NaN.
        Source: arXiv 2511.20347.
        """
        from torch.nn.functional import logsigmoid

        tau = by_sign(samples.advantage, self.tau_pos, self.tau_neg)
        x = tau * samples.log_ratio.expm1()
        log_gate = samples.log_ratio + logsigmoid(x) + logsigmoid(-x)
        return ValueAndCoefficient(x.sigmoid() * (4.0 / tau) * samples.advantage, 4.0 * log_gate.exp())


@registered
class Spo(ObjectiveParams):
    """Quadratic trust region r A - |A| (r - 1)^2 / (2 eps) (arXiv 2401.16025)."""

    label = "SPO"
    formula = "r A - |A| (r - 1)^2 / (2 eps)"
    knob = "eps"
    grid = (0.2,)
    span = (0.02, 1000.0)
    symbols = {"eps": "ε"}
    look = ("#9a6a3a", ">", (0, (2, 1)))
    name: Literal["spo"] = "spo"
    eps: Positive = Field(0.2, description="ratio distance at which the gradient vanishes")

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """R A - |A| (r - 1)^2 / (2 eps), with g = r (1 - sign(A) (r - 1) / eps). Source: arXiv 2401.16025."""
        advantage = samples.advantage
        ratio, step = samples.log_ratio.exp(), samples.log_ratio.expm1()
        value = ratio * advantage - advantage.abs() * step.square() / (2.0 * self.eps)
        return ValueAndCoefficient(value, ratio * (1.0 - advantage.sign() * step / self.eps))
