"""Success before reinforcement learning beside success after it, of runs that began as another policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gipo_cli.compare import aggregate
from gipo_cli.compare.aggregate import Interval
from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.summary import NOTHING, interval_words
from gipo_cli.compare.words import number_words

LIMITS = {"limit": "training's time limit", "task": "task's time limit"}
POLICIES = {"deterministic": "mode", "stochastic": "samples"}
HEADINGS = (
    "group",
    "n",
    *(f"{policy}, {limit}" for limit in LIMITS.values() for policy in POLICIES.values()),
)


class Gain(NamedTuple):
    """The success of some runs before and after, under one time limit, by the mode or by samples."""

    environment: str
    group: str
    limit: str
    policy: str
    runs: int
    before: float
    after: float
    gain: Interval

    def flat(self) -> dict[str, object]:
        """Plain values by name, for JSON; None for no number."""
        bounds = {"gain": self.gain.value, "gain_low": self.gain.low, "gain_high": self.gain.high}
        found = {**self._asdict(), **bounds}
        return {name: None if value != value else value for name, value in found.items()}

    @property
    def words(self) -> str:
        """``0.3 -> 0.8: 0.5 [0.4, 0.6]``."""
        way = f"{number_words(self.before)} -> {number_words(self.after)}"
        return f"{way}: {interval_words(self.gain)}"


def gains(comparison: Comparison) -> list[Gain]:
    """The gain of every group under every limit, where its runs say it; a mean over runs."""
    return [
        gain
        for environment in comparison.environments
        for cell in comparison.of(environment)
        for limit in LIMITS
        for policy in POLICIES
        if (gain := _gain(cell, limit, policy)) is not None
    ]


def _gain(cell: Cell, limit: str, policy: str) -> Gain | None:
    told = [pair for run in cell.runs if (pair := _pair(run.success, limit, policy)) is not None]
    if not told:
        return None
    before, after = np.array(told).T
    gain = aggregate.estimate([after - before], aggregate.mean)
    place = (cell.environment.label, cell.arm.label, LIMITS[limit], POLICIES[policy])
    return Gain(*place, len(told), float(before.mean()), float(after.mean()), gain)


def _pair(success: Mapping[str, Any], limit: str, policy: str) -> tuple[float, float] | None:
    before, after = (success.get(f"{when}.{limit}.{policy}") for when in ("before", "after"))
    return None if before is None or after is None else (float(before), float(after))


def gain_texts(comparison: Comparison) -> dict[str, list[list[str]]]:
    """The rows of the table by environment, in the order of `HEADINGS`."""
    found: dict[str, dict[str, list[Gain]]] = {}
    for gain in gains(comparison):
        found.setdefault(gain.environment, {}).setdefault(gain.group, []).append(gain)
    return {label: [_texts(group, own) for group, own in rows.items()] for label, rows in found.items()}


def _texts(group: str, own: list[Gain]) -> list[str]:
    words = {f"{gain.policy}, {gain.limit}": gain.words for gain in own}
    return [group, str(own[0].runs), *(words.get(heading, NOTHING) for heading in HEADINGS[2:])]
