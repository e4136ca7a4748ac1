"""Detached importance weights, truncated, times A log pi."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from gipo_cli.core.objectives.base import (
    ObjectiveParams,
    Positive,
    Samples,
    ValueAndCoefficient,
    logarithm,
    registered,
)


@registered
class Tis(ObjectiveParams):
    """Truncated importance sampling, sg[min(r, c)] A log pi (V-trace actor, arXiv 1802.01561)."""

    label = "TIS"
    formula = "sg[min(r, c)] A log pi"
    knob = "c"
    grid = (0.5, 1.0, 2.0, 5.0)
    grid_key = "tis_c"
    span = (0.005, 100.0)
    symbols = {"c": "c"}
    look = ("#56b4e9", "D", (0, (3, 1.5)))
    name: Literal["tis"] = "tis"
    c: Positive = Field(1.0, description="largest importance weight")

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """sg[min(r, c)] A log pi, with g = min(r, c). Source: arXiv 1802.01561, eq. 4."""
        weight = samples.log_ratio.clamp(max=logarithm(self.c)).exp()
        return ValueAndCoefficient(weight * samples.advantage * samples.log_prob, weight)


@registered
class Cispo(ObjectiveParams):
    """Clipped importance-sampling weight, detached, times A log pi (arXiv 2506.13585)."""

    label = "CISPO"
    formula = "sg[clip(r, 1 - eps_low, 1 + eps_high)] A log pi"
    knob = "eps_high"
    grid = (0.2,)
    span = (0.005, 100.0)
    symbols = {"eps_low": "ε low", "eps_high": "ε high"}
    look = ("#8e6bd8", "v", (0, (8, 2, 1, 2)))
    name: Literal["cispo"] = "cispo"
    eps_low: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="1 - eps_low is the smallest weight; 1 means no lower clip"
    )
    eps_high: Positive = Field(0.2, description="1 + eps_high is the largest weight")

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """sg[clip(r, 1 - eps_low, 1 + eps_high)] A log pi. Source: arXiv 2506.13585, eq. 4."""
        low = -math.inf if self.eps_low >= 1 else math.log1p(-self.eps_low)
        weight = samples.log_ratio.clamp(min=low).clamp(max=_log1p(self.eps_high)).exp()
        return ValueAndCoefficient(weight * samples.advantage * samples.log_prob, weight)


def _log1p(x: float) -> Any:
    return math.log1p(x) if isinstance(x, int | float) else x.log1p()
