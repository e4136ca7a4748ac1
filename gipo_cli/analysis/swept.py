"""Objectives with their knob swept: what the exact study compares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gipo_cli.analysis.gridworld import CELLS, Pairs
from gipo_cli.core.objectives import OBJECTIVES, Gipo, NoClip, ObjectiveParams, Topr, Vespo


@dataclass(frozen=True)
class Swept:
    """An objective whose knob goes through its whole span; without a knob it is a single point."""

    name: str
    objective: ObjectiveParams

    def grid(self, points: int) -> Tensor:
        """Knob values, evenly spaced in logarithm."""
        if self.objective.span is None:
            return torch.ones(1, dtype=torch.float64)
        low, high = self.objective.span
        return low * torch.logspace(0.0, 1.0, points, high / low, dtype=torch.float64)

    def attained(self, pairs: Pairs, points: int) -> Tensor:
        """Knob values ``[V, B]`` for every pair: the grid, or one for each gradient that clipping allows."""
        if not self.objective.clipped:
            return self.grid(points)[:, None].expand(-1, len(pairs.log_pi))
        # Nothing changes between two neighbours of these.
        cells = [one.flatten(1) for one in (pairs.log_pi - pairs.log_mu, pairs.advantage, pairs.weight)]
        edges = self.objective.edges(*cells).sort().values
        edges = torch.nn.functional.pad(edges, (1, 0))
        return torch.cat([(edges[:, 1:] + edges[:, :-1]) / 2, 2 * edges[:, -1:]], 1).T

    def at(self, knob: Tensor) -> ObjectiveParams:
        """The objective with one knob value for each of M pairs."""
        return self.objective.swept(knob.repeat_interleave(CELLS))


GIPO = Swept("gipo", Gipo())
RIVALS = [
    *(Swept(name, kind()) for name, kind in OBJECTIVES.items() if kind.span and kind is not Gipo),  # type: ignore[call-arg]
    *(Swept(one.name, one) for one in (NoClip(), Vespo(), Topr())),
    Swept("gipo_upper", Gipo(side="upper")),
    Swept("gipo_laplacian", Gipo(kernel="laplacian")),
    Swept("gipo_cauchy", Gipo(kernel="cauchy")),
]
"""Every objective of the package but GIPO as published, and GIPO's variants."""
