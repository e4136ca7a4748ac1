"""Objectives that treat how far the learner has moved and how old the data is as two things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from gipo_cli.core.objectives.base import (
    ObjectiveParams,
    Positive,
    Samples,
    ValueAndCoefficient,
    logarithm,
    registered,
)

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_STEP = 3.0
"""Bound on log pi / pi_prox, where it would leave g unbounded; 20 times as likely."""


@registered
class GipoDecoupled(ObjectiveParams):
    """A trust weight on pi / pi_prox times a truncated correction pi_prox / mu.

    pi_prox is the learner at the start of the iteration's updates. Decoupling is Hilton, Cobbe and Schulman's
    (arXiv 2110.00641); the smooth weight on the side that the advantage favours is this package's.
    """

    label = "Decoupled GIPO"
    formula = "sg[w] (pi / pi_prox) A min(pi_prox / mu, c), w = exp(-(max(0, sign(A) y) / sigma_prox)^2 / 2)"
    knob = "sigma_prox"
    grid = (0.15,)
    span = (0.01, 20.0)
    symbols = {"sigma_prox": "σ prox", "c": "c", "shape": "", "behaviour": "correction"}
    look = ("#4f7fff", "p", (0, (10, 2)))
    proximal = True
    name: Literal["gipo_decoupled"] = "gipo_decoupled"
    sigma_prox: Positive = Field(
        0.15, description="width of the trust weight in log pi / pi_prox; with shape clip, PPO's eps"
    )
    c: Positive = Field(1.0, description="largest correction pi_prox / mu, unless behaviour is full or none")
    shape: Literal["directional", "clip", "both"] = Field(
        "directional",
        description="directional: Gaussian on the side that the advantage favours; clip: PPO's; both: "
        "Gaussian on both sides",
    )
    behaviour: Literal["truncated", "full", "one_sided", "none"] = Field(
        "truncated",
        description="correction of pi_prox / mu; truncated: at most c; full: all of it (with shape clip, "
        "decoupled PPO); one_sided: truncated where A <= 0, none where A > 0; none: always 1",
    )

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """sg[w(y) f(z)] e^y A, with g = w f e^y; with shape clip, f(z) times PPO-clip's of e^y.

        y is bounded by :data:`LARGEST_STEP`, so that g is bounded where A < 0 as well.
        Source: arXiv 2110.00641, eq. 10, for clip and full.
        """
        step = self._step(samples).clamp(max=LARGEST_STEP)
        correction = self._log_correction(samples)
        if self.shape != "clip":
            coefficient = (step + self._log_trust(samples) + correction).exp()
            return ValueAndCoefficient(coefficient * samples.advantage, coefficient)
        ratio, factor, positive = step.exp(), correction.exp(), samples.advantage > 0
        bounded = ratio.clamp(max=1.0 + self.sigma_prox).where(
            positive, ratio.clamp(min=1.0 - self.sigma_prox)
        )
        coefficient = (step + correction).exp().masked_fill(self._clipped(samples), 0.0)
        return ValueAndCoefficient(bounded * factor * samples.advantage, coefficient)

    def parts(self, samples: Samples) -> Mapping[str, Tensor]:
        """What is left of pi / pi_prox (``prox``) and of pi_prox / mu (``data``)."""
        step, correction = self._step(samples), self._log_correction(samples)
        trust = (step.clamp(max=LARGEST_STEP) - step + self._log_trust(samples)).exp()
        if self.shape == "clip":
            trust = trust.masked_fill(self._clipped(samples), 0.0)
        return {"prox": trust, "data": (correction - self._age(samples)).exp()}

    def _step(self, samples: Samples) -> Tensor:
        return samples.log_prob - samples.proximal_log_prob

    def _age(self, samples: Samples) -> Tensor:
        return samples.proximal_log_prob - samples.behaviour_log_prob

    def _log_trust(self, samples: Samples) -> Tensor:
        """Logarithm of the trust weight w(y); 0 with shape clip."""
        step = self._step(samples)
        if self.shape == "clip":
            return step.new_zeros(step.shape)
        if self.shape == "directional":
            step = (samples.advantage.sign() * step).clamp(min=0.0)
        return -0.5 * (step / self.sigma_prox).square()

    def _clipped(self, samples: Samples) -> Tensor:
        ratio, advantage = self._step(samples).exp(), samples.advantage
        above, below = ratio > 1.0 + self.sigma_prox, ratio < 1.0 - self.sigma_prox
        return ((advantage > 0) & above) | ((advantage < 0) & below)

    def _log_correction(self, samples: Samples) -> Tensor:
        """Logarithm of the correction f(z)."""
        age = self._age(samples)
        if self.behaviour == "full":
            return age
        if self.behaviour == "none":
            return age.new_zeros(age.shape)
        truncated = age.clamp(max=logarithm(self.c))
        return (
            truncated.masked_fill(samples.advantage > 0, 0.0) if self.behaviour == "one_sided" else truncated
        )
