"""One-parameter families of objectives: what the exact study sweeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gipo_cli.core.objectives import (
    Cispo,
    Gipo,
    NoClip,
    ObjectiveParams,
    PpoClip,
    PpoDualClip,
    PpoKl,
    Sapo,
    Spo,
    Tis,
)

LARGEST_EPS = 0.99
"""PPO's lower clip cannot pass 0; beyond this only the upper one widens."""


@dataclass(frozen=True)
class Family:
    """An objective with its knob swept.

    Attributes:
        name: label in tables and figures.
        knob: name of the swept parameter, empty if there is none.
        values: knob values, ascending.
        make: knob value to parameters.
    """

    name: str
    knob: str
    values: tuple[float, ...]
    make: Callable[[float], ObjectiveParams]


def families(points: int) -> list[Family]:
    """Every objective of the package with its knob swept; GIPO as published comes first.

    Args:
        points: knob values per family, evenly spaced in logarithm.
    """

    def sweep(low: float, high: float) -> tuple[float, ...]:
        return tuple(float(v) for v in np.geomspace(low, high, points))

    sigmas = sweep(0.02, 50.0)
    return [
        Family("gipo", "sigma", sigmas, lambda v: Gipo(sigma=v)),
        Family("ppo_clip", "eps", sweep(0.005, 100.0), _ppo_clip),
        Family("ppo_dual_clip", "eps", sweep(0.005, LARGEST_EPS), lambda v: PpoDualClip(eps=v)),
        Family("sapo", "tau", sweep(0.005, 200.0), lambda v: Sapo(tau_pos=v, tau_neg=v)),
        Family("tis", "c", sweep(0.005, 100.0), lambda v: Tis(c=v)),
        Family("cispo", "eps_high", sweep(0.005, 100.0), lambda v: Cispo(eps_high=v)),
        Family("spo", "eps", sweep(0.02, 1000.0), lambda v: Spo(eps=v)),
        Family("ppo_kl", "beta", sweep(0.005, 50.0), lambda v: PpoKl(beta=v)),
        Family("no_clip", "", (0.0,), lambda v: NoClip()),
        Family("gipo_upper", "sigma", sigmas, lambda v: Gipo(sigma=v, side="upper")),
        Family("gipo_laplacian", "sigma", sigmas, lambda v: Gipo(sigma=v, kernel="laplacian")),
        Family("gipo_cauchy", "sigma", sigmas, lambda v: Gipo(sigma=v, kernel="cauchy")),
    ]


def _ppo_clip(value: float) -> PpoClip:
    return PpoClip(eps=min(value, LARGEST_EPS), eps_high=value)
