"""The surrogate r A: plain, penalised or clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from gipo_cli.core.objectives.base import (
    NonNegative,
    ObjectiveParams,
    Positive,
    Samples,
    ValueAndCoefficient,
    registered,
)

if TYPE_CHECKING:
    from torch import Tensor

Range = Annotated[float, Field(gt=0, lt=1)]
LARGEST_EPS = 0.99
"""PPO's lower clip cannot pass 0; beyond this only the upper one widens."""


@registered
class NoClip(ObjectiveParams):
    """The unclipped importance-weighted surrogate r A (TRPO, arXiv 1502.05477)."""

    label = "No clip"
    formula = "r A"
    grid = (0.0,)
    look = ("#a3a3a3", "X", (0, (1, 1.3)))
    name: Literal["no_clip"] = "no_clip"

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """R A, with g = r. Source: arXiv 1502.05477, eq. 14."""
        ratio = samples.log_ratio.exp()
        return ValueAndCoefficient(ratio * samples.advantage, ratio)


@registered
class PpoClip(ObjectiveParams):
    """PPO's clipped surrogate (arXiv 1707.06347, eq. 7); asymmetric when ``eps_high`` is given."""

    label = "PPO-clip"
    formula = "min(r A, clip(r, 1 - eps, 1 + eps_high) A)"
    knob = "eps"
    grid = (0.05, 0.1, 0.2, 0.4)
    grid_key = "ppo_eps"
    span = (0.005, 100.0)
    clipped = True
    symbols = {"eps": "ε", "eps_high": "ε high"}
    look = ("#d55e00", "s", (0, (7, 2)))
    name: Literal["ppo_clip"] = "ppo_clip"
    eps: Range = Field(0.2, description="clip range below 1 and, unless eps_high is set, above it")
    eps_high: Positive | None = Field(None, description="clip range above 1; null means eps")

    @property
    def upper(self) -> float:
        """Clip range above 1."""
        return self.eps if self.eps_high is None else self.eps_high

    def swept(self, values: Tensor) -> Self:
        """Clip ranges above 1, and below it as far as there is room."""
        return self.model_copy(update={"eps": values.clamp(max=LARGEST_EPS), "eps_high": values})

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """min(r A, clip(r, 1 - eps, 1 + eps) A).

        g is r, and 0 where A > 0 and r > 1 + eps or where A < 0 and r < 1 - eps.
        Source: arXiv 1707.06347, eq. 7.
        """
        ratio, advantage = samples.log_ratio.exp(), samples.advantage
        low, high = 1.0 - self.eps, 1.0 + self.upper
        positive = advantage > 0
        value = ratio.clamp(max=high).where(positive, ratio.clamp(min=low)) * advantage
        dead = (positive & (ratio > high)) | ((advantage < 0) & (ratio < low))
        return ValueAndCoefficient(value, ratio.masked_fill(dead, 0.0))


@registered
class PpoDualClip(ObjectiveParams):
    """PPO-clip with a floor c A for negative advantages (arXiv 1912.09729, eq. 5)."""

    label = "PPO dual-clip"
    formula = "ppo_clip, and max(that, c A) where A < 0"
    knob = "eps"
    grid = (0.2,)
    span = (0.005, LARGEST_EPS)
    clipped = True
    symbols = {"eps": "ε", "c": "c"}
    look = ("#e69f00", "<", (0, (6, 1.5, 2, 1.5)))
    name: Literal["ppo_dual_clip"] = "ppo_dual_clip"
    eps: Range = Field(0.2, description="clip range around 1")
    c: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        3.0, description="ratio beyond which a negative advantage has no gradient"
    )

    def swept(self, values: Tensor) -> Self:
        """Clip ranges as far as there is room below 1."""
        return self.with_knob(values.clamp(max=LARGEST_EPS))

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """PPO-clip, and max(that, c A) where A < 0, whose g is 0 for r > c as well.

        Source: arXiv 1912.09729, eq. 5.
        """
        ratio, advantage = samples.log_ratio.exp(), samples.advantage
        low, high = 1.0 - self.eps, 1.0 + self.eps
        positive = advantage > 0
        value = ratio.clamp(max=high).where(positive, ratio.clamp(min=low).clamp(max=self.c)) * advantage
        dead = (positive & (ratio > high)) | ((advantage < 0) & ((ratio < low) | (ratio > self.c)))
        return ValueAndCoefficient(value, ratio.masked_fill(dead, 0.0))


@registered
class PpoKl(ObjectiveParams):
    """Importance-weighted surrogate with a KL(mu || pi) penalty (arXiv 1707.06347, eq. 8)."""

    label = "PPO-KL"
    formula = "r A - beta KL(mu || pi)"
    knob = "beta"
    span = (0.005, 50.0)
    symbols = {"beta": "β"}
    look = ("#cc79a7", "P", (0, (4, 1, 1, 1, 1, 1)))
    name: Literal["ppo_kl"] = "ppo_kl"
    beta: NonNegative = Field(0.5, description="weight of the KL(mu || pi) penalty")

    @property
    def kl_coef(self) -> float:
        """The penalty weight beta."""
        return self.beta

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """R A, with g = r; the update adds the KL(mu || pi) term. Source: arXiv 1707.06347, eq. 8."""
        ratio = samples.log_ratio.exp()
        return ValueAndCoefficient(ratio * samples.advantage, ratio)
