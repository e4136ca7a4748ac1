"""The policy pairs of the exact study and the sweep over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gipo_cli.analysis.frontier import SCALES, Best, Duel, best, duel
from gipo_cli.analysis.gridworld import Pairs, lagged_pairs, moments, random_pairs, relative, scale_free
from gipo_cli.analysis.swept import GIPO, RIVALS, Swept
from gipo_cli.streams import counting

DISTANCES = (0.5, 1.0, 2.0, 4.0)
LAGS = (1, 4, 16)
SIZES = (16, 64, 256, 1024)


@dataclass(frozen=True)
class Case:
    """A kind of policy pair at one distance: ``random`` in logits, or ``lagged`` in policy-gradient steps.

    ``make(count, seed=)`` makes pairs.
    """

    kind: str
    distance: float
    make: Callable[..., Pairs]

    @property
    def name(self) -> str:
        """Label in tables and figures."""
        return f"{self.kind} {self.distance:g}"


CASES = [
    *(Case("random", d, partial(random_pairs, distance=d)) for d in DISTANCES),
    *(Case("lagged", k, partial(lagged_pairs, steps=k)) for k in LAGS),
]
"""All cases, nearest pairs first."""


@dataclass(frozen=True)
class Table:
    """A swept objective at V knob values on B pairs: arrays ``[V, B]``.

    ``bias2`` and ``variance`` are over the squared norm of the reference, ``free_*`` after rescaling the mean
    to unit projection on the reference.
    """

    knob: Tensor
    bias2: Tensor
    variance: Tensor
    free_bias2: Tensor
    free_variance: Tensor
    cosine: Tensor
    dead_mass: Tensor


@dataclass(frozen=True)
class Outcome:
    """Results of one case: tables by objective, GIPO's first; ``best[scale]`` and ``duels[scale][rival]``."""

    case: Case
    pairs: Pairs
    swept: list[Swept]
    tables: list[Table]
    best: dict[str, list[Best]]
    duels: dict[str, dict[str, Duel]]


def run_study(count: int, points: int, seed: int) -> list[Outcome]:
    """Sweep every objective on ``count`` pairs per case; case i has the pairs of ``seed + i``.

    ``points`` are the knob values of the tables, from which the search for the frontier starts.
    """
    outcomes = []
    with counting("kinds of policy pairs measured:", len(CASES)) as told:
        for i, case in enumerate(CASES):
            outcomes.append(_outcome(case, case.make(count, seed=seed + i), points))
            told(i + 1)
    return outcomes


def _outcome(case: Case, pairs: Pairs, points: int) -> Outcome:
    swept = [GIPO, *RIVALS]
    found = {scale: [best(pairs, one, scale, points, SIZES) for one in swept] for scale in SCALES}
    duels = {
        scale: {rival.name: duel(ours, theirs) for rival, theirs in zip(RIVALS, rest, strict=True)}
        for scale, (ours, *rest) in found.items()
    }
    return Outcome(case, pairs, swept, [table(pairs, one, points) for one in swept], found, duels)


def table(pairs: Pairs, swept: Swept, points: int) -> Table:
    """Exact moments at every knob value of the grid on every pair."""
    knob, count = swept.grid(points), len(pairs.log_pi)
    every = pairs.take(torch.arange(count).repeat(len(knob)))
    exact = moments(every, swept.at(knob.repeat_interleave(count)))
    arrays = (*relative(every, exact), *scale_free(every, exact), exact.cosine, exact.dead_mass)
    return Table(knob, *(array.view(len(knob), count) for array in arrays))
