"""Objectives that others made for stale data and for data of another engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from gipo_cli.core.objectives.base import (
    NonNegative,
    ObjectiveParams,
    Positive,
    Samples,
    ValueAndCoefficient,
    by_sign,
    logarithm,
    registered,
)

if TYPE_CHECKING:
    from torch import Tensor


@registered
class Vespo(ObjectiveParams):
    """Gamma-shaped weight r^k e^(lambda (1 - r)), detached, times A log pi (arXiv 2602.10693)."""

    label = "VESPO"
    formula = "sg[r^k e^(lambda (1 - r))] A log pi, k and lambda by the sign of A"
    grid = (0.0,)
    symbols = {"k_pos": "k+", "lambda_pos": "λ+", "k_neg": "k-", "lambda_neg": "λ-"}
    look = ("#b59b00", "H", (0, (3, 1, 1, 1)))
    name: Literal["vespo"] = "vespo"
    k_pos: Positive = Field(2.0, description="power of r where A > 0")
    lambda_pos: NonNegative = Field(3.0, description="decay in r where A > 0")
    k_neg: Positive = Field(3.0, description="power of r where A <= 0")
    lambda_neg: NonNegative = Field(2.0, description="decay in r where A <= 0")

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """sg[g] A log pi, with g = r^k e^(lambda (1 - r)), which peaks at r = k / lambda.

        Source: arXiv 2602.10693 and its authors' code, which has these values; theirs is of whole sequences.
        """
        k = by_sign(samples.advantage, self.k_pos, self.k_neg)
        rate = by_sign(samples.advantage, self.lambda_pos, self.lambda_neg)
        # A rate of 0 switches the decay off, also where r overflows.
        decay = (rate * samples.log_ratio.expm1()).where(rate > 0, rate)
        weight = (k * samples.log_ratio - decay).exp()
        return ValueAndCoefficient(weight * samples.advantage * samples.log_prob, weight)


@registered
class Icepop(ObjectiveParams):
    """The unclipped surrogate of the samples with a ratio inside a band (arXiv 2510.18855)."""

    label = "IcePop"
    formula = "r 1[low <= r <= high] A"
    knob = "high"
    grid = (5.0,)
    span = (1.005, 1000.0)
    clipped = True
    symbols = {"low": "low", "high": "high"}
    look = ("#e0607e", "8", (0, (1, 1, 4, 1)))
    name: Literal["icepop"] = "icepop"
    low: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="smallest ratio that is kept")
    high: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        5.0, description="largest ratio that is kept"
    )

    def swept(self, values: Tensor) -> Self:
        """A band that is symmetric in log r."""
        return self.model_copy(update={"low": 1.0 / values, "high": values})

    def edges(self, log_ratio: Tensor, advantage: Tensor, weight: Tensor) -> Tensor:
        """Ratios, or their reciprocals, of the samples."""
        return log_ratio.abs().exp()

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """R A where low <= r <= high, else 0; g = r there.

        Source: arXiv 2510.18855 (IcePop), here on the ratio of the update itself.
        """
        x = samples.log_ratio
        outside = (x < logarithm(self.low)) | (x > logarithm(self.high))
        weight = x.exp().masked_fill(outside, 0.0)
        return ValueAndCoefficient(weight * samples.advantage, weight)


@registered
class Topr(ObjectiveParams):
    """Tapered off-policy REINFORCE: full weight for A >= 0, min(r, 1) for A < 0 (arXiv 2503.14286)."""

    label = "TOPR"
    formula = "A log pi where A >= 0, sg[min(r, 1)] A log pi where A < 0"
    grid = (0.0,)
    look = ("#5f9e6e", "*", (0, (6, 1, 1, 1, 1, 1)))
    name: Literal["topr"] = "topr"

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """sg[g] A log pi, with g = 1 where A >= 0 and min(r, 1) where A < 0.

        Source: arXiv 2503.14286, the canonical form.
        """
        taper = samples.log_ratio.clamp(max=0.0).exp()
        weight = taper.masked_fill(samples.advantage >= 0, 1.0)
        return ValueAndCoefficient(weight * samples.advantage * samples.log_prob, weight)


@registered
class M2po(ObjectiveParams):
    """The unclipped surrogate without the samples that move the batch's second moment too far.

    Only samples that the advantage drives away from mu are dropped: A > 0 and r > 1, or A < 0 and r < 1.
    Those with the largest (log r)^2 go until the mean over the rest of them is at most the budget
    (arXiv 2510.01161).
    """

    label = "M2PO"
    formula = "r 1[(log r)^2 < cut] A, with cut so that the mean (log r)^2 on PPO's clipped side <= budget"
    knob = "budget"
    grid = (0.04,)
    span = (1e-4, 100.0)
    clipped = True
    symbols = {"budget": "budget"}
    look = ("#c06a2b", "d", (0, (9, 1.5, 3, 1.5)))
    name: Literal["m2po"] = "m2po"
    budget: Positive = Field(0.04, description="largest mean of (log r)^2 over the samples that PPO may clip")

    def statistic(self, log_ratio: Tensor, advantage: Tensor, weight: Tensor) -> Tensor:
        """The smallest (log r)^2 that is dropped; inf where all are kept. See the base class."""
        import torch

        square, mean = self._means(log_ratio, advantage, weight)
        budget = torch.as_tensor(self.budget, dtype=mean.dtype)
        budget = budget.view_as(mean) if budget.ndim else budget
        dropped = square.where(mean > budget, math.inf)
        cut: Tensor = dropped.amin(-1, keepdim=True) if dropped.shape[-1] else dropped.new_tensor([math.inf])
        return cut

    def edges(self, log_ratio: Tensor, advantage: Tensor, weight: Tensor) -> Tensor:
        """Budgets at which one more sample is kept."""
        mean = self._means(log_ratio, advantage, weight)[1]
        return mean.where(mean.isfinite(), 0.0)

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """R A of the samples that are kept, with g = r; 0 for those that are dropped.

        Source: arXiv 2510.01161. Its authors' code drops on the same side, but caps (log r)^2 rather than
        leaving it out of the mean, and drops nothing between r = 0.7 and 1.5; AReaL's leaves it out as here,
        but on both sides.
        """
        square = samples.log_ratio.square()
        dropped = _outward(samples.log_ratio, samples.advantage) & (square >= samples.statistic)
        weight = samples.log_ratio.exp().masked_fill(dropped, 0.0)
        return ValueAndCoefficient(weight * samples.advantage, weight)

    def _means(self, log_ratio: Tensor, advantage: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(log r)^2 of the outward samples, ascending, and the mean up to each; inf for all others."""
        square = log_ratio.square().where(_outward(log_ratio, advantage), math.inf)
        square, order = square.sort(-1)
        share = weight.gather(-1, order)
        return square, (square * share).cumsum(-1) / share.cumsum(-1)


def _outward(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    return advantage.sign() * log_ratio > 0
