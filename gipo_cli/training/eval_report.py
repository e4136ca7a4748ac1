"""What an evaluation found, by episode and in summary."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from gipo_cli.runs.checkpoint import Checkpoint
    from gipo_cli.settings.schema import RunConfig

Protocol = Literal["standard", "metaworld"]
PROTOCOLS: dict[Protocol, str] = {
    "standard": "whole episodes, success as env.success defines it",
    "metaworld": "Meta-World's: an episode for {goals}, ended by its first success",
}
METAWORLD_GOALS = 50


@dataclass(frozen=True)
class EvalResult:
    """One evaluation, by episode.

    Attributes:
        returns: Sum of raw rewards, ``[episodes]``.
        lengths: Steps, ``[episodes]``.
        success: By the environment's definition, 0 or 1 ``[episodes]``; NaN where the task reports none.
        success_any: At any step, likewise.
        success_last: At the last step, likewise.
    """

    returns: np.ndarray
    lengths: np.ndarray
    success: np.ndarray
    success_any: np.ndarray
    success_last: np.ndarray

    def row(self) -> dict[str, float | int | None]:
        """Columns of ``eval.csv`` that describe the episodes; a success that no task reports is None."""
        return {
            "episodes": len(self.returns),
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "return_min": float(self.returns.min()),
            "return_max": float(self.returns.max()),
            "success": _rate(self.success),
            "success_any": _rate(self.success_any),
            "success_last": _rate(self.success_last),
            "length_mean": float(self.lengths.mean()),
        }


@dataclass(frozen=True)
class EvalReport:
    """What ``gipo eval`` prints and writes."""

    run: str
    step: int
    notes: list[str]
    env: str
    protocol: Protocol
    protocol_text: str
    success_definition: str
    deterministic: bool
    seed: int
    task_seed: int
    episodes: int
    successes: int | None
    success: float | None
    success_low: float | None
    success_high: float | None
    success_any: float | None
    success_last: float | None
    return_mean: float
    return_std: float
    return_median: float
    return_min: float
    return_max: float
    length_mean: float
    versions: dict[str, str | None]
    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    success_by_episode: list[bool] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The whole report as a JSON object."""
        return asdict(self)

    def _success_lines(self) -> list[str]:
        if self.success is None:
            return ["success    this task reports none"]
        return [
            f"success    {self.success:.1%} ({self.successes} of {self.episodes}), 95% Wilson interval "
            f"{self.success_low:.1%} to {self.success_high:.1%}",
            f"           at any step {self.success_any:.1%}, at the last step {self.success_last:.1%}",
        ]

    def lines(self) -> list[str]:
        """The report for a reader, one fact a line."""
        until = " until the first success" if self.protocol == "metaworld" else ""
        return [
            *(f"note       {note}" for note in self.notes),
            f"run        {self.run}, checkpoint of step {self.step}",
            f"protocol   {self.protocol}: {self.protocol_text}",
            f"episodes   {self.episodes} of {self.env}, "
            f"{'deterministic' if self.deterministic else 'sampled'} actions, "
            f"seed {self.seed}, task seed {self.task_seed}",
            *self._success_lines(),
            f"return     mean {self.return_mean:.4g}, std {self.return_std:.4g}, "
            f"median {self.return_median:.4g}, from {self.return_min:.4g} to {self.return_max:.4g}{until}",
            f"length     mean {self.length_mean:.1f} steps",
        ]


def _rate(success: np.ndarray) -> float | None:
    mean = float(success.mean())
    return None if math.isnan(mean) else mean


def build_report(
    result: EvalResult,
    config: RunConfig,
    *,
    run: Path,
    saved: Checkpoint,
    protocol: Protocol,
    deterministic: bool,
    seed: int,
) -> EvalReport:
    """Summarise an evaluation, with Wilson's 95% interval for the success rate.

    Args:
        result: The episodes.
        config: The run's configuration.
        run: The run folder.
        saved: The checkpoint whose policy it was.
        protocol: How it was evaluated.
        deterministic: Whether actions were the mode.
        seed: Seed of the episodes' starts.

    Returns:
        The report.
    """
    from gipo_cli.envs.registry import ENVIRONMENTS
    from gipo_cli.runs.machine import versions

    # Meta-World's score is success at any step, whatever the run trained with.
    success = result.success_any if protocol == "metaworld" else result.success
    definition = "any" if protocol == "metaworld" else config.env.success
    rate, low, high = _interval(success)
    numbers: dict[str, Any] = {**result.row(), "success": rate, "success_low": low, "success_high": high}
    env = config.env
    steps, whole = env.max_episode_steps, ENVIRONMENTS[env.name].step_limit
    notes = list(saved.notes)
    if protocol == "metaworld" and steps not in (None, whole):
        notes.append(f"env.max_episode_steps={steps} and the benchmark's is {whole}: scores do not compare")
    return EvalReport(
        run=os.fspath(run),
        step=saved.step,
        notes=notes,
        env="/".join(env.names),
        protocol=protocol,
        protocol_text=PROTOCOLS[protocol].format(goals=_goals(len(result.returns))),
        success_definition=f"at {'any' if definition == 'any' else 'the last'} step",
        deterministic=deterministic,
        seed=seed,
        task_seed=config.seed,
        successes=None if rate is None else int(success.sum()),
        return_median=float(np.median(result.returns)),
        versions=versions(),
        returns=[float(value) for value in result.returns],
        lengths=[int(value) for value in result.lengths],
        success_by_episode=[] if rate is None else [bool(value) for value in success],
        **numbers,
    )


def _goals(episodes: int) -> str:
    if episodes < METAWORLD_GOALS:
        return f"the first {episodes} of the {METAWORLD_GOALS} training goals"
    again = "" if episodes == METAWORLD_GOALS else ", again and again"
    return f"each of the {METAWORLD_GOALS} training goals{again}"


def _interval(success: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """The rate with Wilson's 95% interval."""
    from scipy.stats import binomtest

    rate = _rate(success)
    if rate is None:
        return None, None, None
    interval = binomtest(int(success.sum()), len(success)).proportion_ci(method="wilson")
    return rate, float(interval.low), float(interval.high)
