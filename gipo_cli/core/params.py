"""Parameters of every objective, as frozen validated records.

Kept free of torch so that a configuration can be checked before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ObjectiveParams(BaseModel):
    """Base of every objective's parameters; subclass it for an objective of your own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    formula: ClassVar[str] = ""
    """What is maximised, for listings; sg[.] is a stopped gradient, r = pi / mu."""

    name: str

    @property
    def kl_coef(self) -> float:
        """Weight of a KL(mu || pi) penalty that the objective itself brings to the update."""
        return 0.0


class NoClip(ObjectiveParams):
    """The unclipped importance-weighted surrogate r A (TRPO, arXiv 1502.05477)."""

    formula: ClassVar[str] = "r A"
    name: Literal["no_clip"] = "no_clip"


class PpoClip(ObjectiveParams):
    """PPO's clipped surrogate (arXiv 1707.06347, eq. 7); asymmetric when ``eps_high`` is given."""

    formula: ClassVar[str] = "min(r A, clip(r, 1 - eps, 1 + eps_high) A)"
    name: Literal["ppo_clip"] = "ppo_clip"
    eps: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="clip range below 1 and, unless eps_high is set, above it"
    )
    eps_high: Positive | None = Field(None, description="clip range above 1; null means eps")

    @property
    def upper(self) -> float:
        """Clip range above 1."""
        return self.eps if self.eps_high is None else self.eps_high


class PpoDualClip(ObjectiveParams):
    """PPO-clip with a floor c A for negative advantages (arXiv 1912.09729, eq. 5)."""

    formula: ClassVar[str] = "ppo_clip, and max(that, c A) where A < 0"
    name: Literal["ppo_dual_clip"] = "ppo_dual_clip"
    eps: Annotated[float, Field(gt=0, lt=1)] = Field(0.2, description="clip range around 1")
    c: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        3.0, description="ratio beyond which a negative advantage has no gradient"
    )


class PpoKl(ObjectiveParams):
    """Importance-weighted surrogate with a KL(mu || pi) penalty (arXiv 1707.06347, eq. 8)."""

    formula: ClassVar[str] = "r A - beta KL(mu || pi)"
    name: Literal["ppo_kl"] = "ppo_kl"
    beta: NonNegative = Field(0.5, description="weight of the KL(mu || pi) penalty")

    @property
    def kl_coef(self) -> float:
        """The penalty weight beta."""
        return self.beta


class Sapo(ObjectiveParams):
    """Soft gate (4/tau) sigmoid(tau (r - 1)) A (arXiv 2511.20347)."""

    formula: ClassVar[str] = "(4 / tau) sigmoid(tau (r - 1)) A, tau by the sign of A"
    name: Literal["sapo"] = "sapo"
    tau_pos: Positive = Field(1.0, description="gate temperature where A > 0; larger is narrower")
    tau_neg: Positive = Field(1.05, description="gate temperature where A <= 0")


SAPO_NEG_RATIO = Sapo().tau_neg / Sapo().tau_pos
"""What ``tau_neg`` is of ``tau_pos`` while that is varied, unless a run has its own ratio."""


class Tis(ObjectiveParams):
    """Truncated importance sampling, sg[min(r, c)] A log pi (V-trace actor, arXiv 1802.01561)."""

    formula: ClassVar[str] = "sg[min(r, c)] A log pi"
    name: Literal["tis"] = "tis"
    c: Positive = Field(1.0, description="largest importance weight")


class Cispo(ObjectiveParams):
    """Clipped importance-sampling weight, detached, times A log pi (arXiv 2506.13585)."""

    formula: ClassVar[str] = "sg[clip(r, 1 - eps_low, 1 + eps_high)] A log pi"
    name: Literal["cispo"] = "cispo"
    eps_low: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="1 - eps_low is the smallest weight; 1 means no lower clip"
    )
    eps_high: Positive = Field(0.2, description="1 + eps_high is the largest weight")


class Spo(ObjectiveParams):
    """Quadratic trust region r A - |A| (r - 1)^2 / (2 eps) (arXiv 2401.16025)."""

    formula: ClassVar[str] = "r A - |A| (r - 1)^2 / (2 eps)"
    name: Literal["spo"] = "spo"
    eps: Positive = Field(0.2, description="ratio distance at which the gradient vanishes")


class Gipo(ObjectiveParams):
    """Trust-weighted surrogate sg[w(r)] r A (arXiv 2603.03955)."""

    formula: ClassVar[str] = "sg[w(r)] r A, w = exp(-(log r / sigma)^2 / 2)"
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


PARAMS: dict[str, type[ObjectiveParams]] = {
    "gipo": Gipo,
    "ppo_clip": PpoClip,
    "ppo_dual_clip": PpoDualClip,
    "ppo_kl": PpoKl,
    "sapo": Sapo,
    "no_clip": NoClip,
    "tis": Tis,
    "cispo": Cispo,
    "spo": Spo,
}
"""Parameter record of every objective known so far, by name. Registering adds to it."""

FUNCTIONS: dict[str, Callable[..., object]] = {}
"""Objective functions by name; filled by ``core.objectives`` and by users' own modules."""

KNOBS: dict[str, str] = {
    "gipo": "sigma",
    "ppo_clip": "eps",
    "ppo_dual_clip": "eps",
    "ppo_kl": "beta",
    "sapo": "tau_pos",
    "tis": "c",
    "cispo": "eps_high",
    "spo": "eps",
}
"""The parameter of each objective that trades bias against variance, where it has one."""
