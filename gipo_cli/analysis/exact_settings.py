"""The policy pairs of the exact study and the sweep over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gipo_cli.analysis.families import families
from gipo_cli.analysis.frontier import Duel, Sweep, duels, sweep
from gipo_cli.analysis.gridworld import Pairs, lagged_pairs, random_pairs

DISTANCES = (0.5, 1.0, 2.0, 4.0)
LAGS = (1, 4, 16)
SIZES = (16, 64, 256, 1024)
SCALES = ("raw", "scale_free")


class Maker(Protocol):
    """Makes policy pairs."""

    def __call__(self, count: int, *, seed: int) -> Pairs:
        """``count`` pairs."""


@dataclass(frozen=True)
class Setting:
    """A kind of policy pair at one distance: ``random`` in logits, or ``lagged`` in policy-gradient steps."""

    kind: str
    distance: float
    make: Maker

    @property
    def name(self) -> str:
        """Label in tables and figures."""
        return f"{self.kind} {self.distance:g}"


@dataclass(frozen=True)
class Study:
    """Results of one setting: every family's sweep, GIPO's first, and its duels ``[scale][rival]``."""

    setting: Setting
    pairs: Pairs
    sweeps: list[Sweep]
    duels: dict[str, dict[str, Duel]]


def settings() -> list[Setting]:
    """All settings, nearest pairs first."""
    return [
        *(Setting("random", d, partial(random_pairs, distance=d)) for d in DISTANCES),
        *(Setting("lagged", k, partial(lagged_pairs, steps=k)) for k in LAGS),
    ]


def run_study(count: int, points: int, seed: int, sizes: Sequence[int] = SIZES) -> list[Study]:
    """Sweep every family on ``count`` pairs per setting.

    Args:
        count: policy pairs per setting.
        points: knob values per family.
        seed: of the pairs; setting i uses ``seed + i``.
        sizes: sample sizes n of MSE(n).
    """
    studies = []
    for i, setting in enumerate(settings()):
        pairs = setting.make(count, seed=seed + i)
        sweeps = [sweep(pairs, family) for family in families(points)]
        gipo, *rivals = sweeps
        by_scale = {scale: duels(gipo, rivals, scale, sizes) for scale in SCALES}
        studies.append(Study(setting, pairs, sweeps, by_scale))
    return studies
