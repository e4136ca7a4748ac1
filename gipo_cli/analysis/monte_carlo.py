"""The exact numbers checked by drawing samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gipo_cli.analysis.exact_study import Outcome
from gipo_cli.analysis.gridworld import ACTIONS, CELLS, STATES, Pairs, coefficients, moments
from gipo_cli.analysis.swept import Swept
from gipo_cli.core.estimators import chunk_gram, paired
from gipo_cli.core.objectives import ObjectiveParams

SAMPLES = 200_000
CHUNKS = 100


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


def check_all(outcomes: Sequence[Outcome], seed: int) -> list[Check]:
    """Check every objective in every setting, on its first policy pair and at the middle of the grid."""
    return [
        found
        for one in outcomes
        for swept, table in zip(one.swept, one.tables, strict=True)
        for found in check(one.pairs, swept, table.knob[len(table.knob) // 2 :][:1], seed)
    ]


def check(pairs: Pairs, swept: Swept, knob: Tensor, seed: int) -> list[Check]:
    """Sampled bias^2 and variance of one estimator on the first pair, at a knob value of shape ``[1]``.

    The samples are drawn as (s, a) from the data distribution; the estimates are the unbiased ones of
    :mod:`gipo_cli.core.estimators`.
    """
    pairs, objective = pairs.take(torch.tensor([0])), swept.at(knob)
    generator = torch.Generator().manual_seed(seed)
    size = SAMPLES // CHUNKS
    drawn = torch.multinomial(pairs.weight.flatten(), CHUNKS * size, True, generator=generator)
    picks = drawn + CELLS * torch.arange(CHUNKS).repeat_interleave(size)
    shares = torch.bincount(picks, minlength=CHUNKS * CELLS).view(CHUNKS, CELLS) / size
    means = shares.double() @ _one_sample(pairs, objective)
    difference = chunk_gram(means - pairs.reference.flatten())
    comparison = paired(chunk_gram(means), difference, difference, size)
    exact = moments(pairs, objective)
    return [
        Check(swept.name, float(knob), name, float(truth), float(estimate.value), float(estimate.se))
        for name, truth, estimate in (
            ("bias2", exact.bias2, comparison.bias2.estimate()),
            ("variance", exact.variance, comparison.variance.estimate()),
        )
    ]


def _one_sample(pairs: Pairs, objective: ObjectiveParams) -> Tensor:
    """The estimator X of every (s, a), ``[12, 12]``."""
    log_pi, log_mu, advantage = pairs.log_pi[0], pairs.log_mu[0], pairs.advantage[0].flatten()
    g = coefficients(pairs, objective).flatten()
    scale = (g * advantage).view(STATES, ACTIONS, 1)
    score = torch.eye(ACTIONS, dtype=g.dtype) - log_pi.exp()[:, None]
    penalty = torch.as_tensor(objective.kl_coef, dtype=g.dtype).expand(CELLS).view(STATES, ACTIONS, 1)
    own = scale * score + penalty * (log_mu.exp() - log_pi.exp())[:, None]
    return torch.einsum("sak,st->satk", own, torch.eye(STATES, dtype=g.dtype)).reshape(CELLS, CELLS)
