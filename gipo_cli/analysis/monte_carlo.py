"""The exact numbers checked by drawing samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gipo_cli.analysis.families import Family
from gipo_cli.analysis.gridworld import ACTIONS, STATES, Pairs, moments
from gipo_cli.core.estimators import chunk_gram, paired
from gipo_cli.core.objectives import ObjectiveParams, evaluate

CHUNKS = 100
CELLS = STATES * ACTIONS


@dataclass(frozen=True)
class Check:
    """An exact number beside its sampled estimate."""

    family: str
    value: float
    quantity: str
    exact: float
    sampled: float
    se: float

    @property
    def z(self) -> float:
        """Deviation in standard errors."""
        return (self.sampled - self.exact) / self.se if self.se > 0 else 0.0


def check(pairs: Pairs, family: Family, value: float, samples: int, seed: int) -> list[Check]:
    """Sampled bias^2 and variance of one estimator on the first pair.

    The samples are drawn as (s, a) from the data distribution; the estimates are the unbiased ones of
    :mod:`gipo_cli.core.estimators`.
    """
    generator = torch.Generator().manual_seed(seed)
    objective, size = family.make(value), samples // CHUNKS
    drawn = torch.multinomial(pairs.weight[0].flatten(), CHUNKS * size, True, generator=generator)
    picks = drawn + CELLS * torch.arange(CHUNKS).repeat_interleave(size)
    shares = torch.bincount(picks, minlength=CHUNKS * CELLS).view(CHUNKS, CELLS) / size
    means = shares.double() @ _one_sample(pairs, objective)
    difference = chunk_gram(means - pairs.reference[0].flatten())
    comparison = paired(chunk_gram(means), difference, difference, size)
    exact = moments(pairs, objective)
    return [
        Check(family.name, value, name, float(truth[0]), float(estimate.value), float(estimate.se))
        for name, truth, estimate in (
            ("bias2", exact.bias2, comparison.bias2.estimate()),
            ("variance", exact.variance, comparison.variance.estimate()),
        )
    ]


def _one_sample(pairs: Pairs, objective: ObjectiveParams) -> Tensor:
    """The estimator X of every (s, a) of the first pair, ``[12, 12]``."""
    log_pi, log_mu = pairs.log_pi[0], pairs.log_mu[0]
    g = evaluate(objective, log_pi.flatten(), log_mu.flatten(), pairs.advantage[0].flatten()).coefficient
    scale = g * pairs.advantage[0].flatten()
    x = torch.zeros(STATES, ACTIONS, STATES, ACTIONS, dtype=torch.float64)
    for s in range(STATES):
        score = torch.eye(ACTIONS, dtype=torch.float64) - log_pi[s].exp()
        x[s, :, s] = scale.view(STATES, ACTIONS)[s, :, None] * score
        x[s, :, s] += objective.kl_coef * (log_mu[s].exp() - log_pi[s].exp())
    return x.view(CELLS, CELLS)
