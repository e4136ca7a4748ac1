"""Trials of a search, and their order from best to worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from gipo_cli.sweep.estimate import subject
from gipo_cli.sweep.plan import PlannedRun
from gipo_cli.tune.space import Value


@dataclass(frozen=True)
class Outcome:
    """A run's evaluation at the end of a share of its steps; without a return it failed."""

    success: float | None = None
    returned: float | None = None


@dataclass(frozen=True)
class Trial:
    """Settings that are tried, the runs that try them, and what these came to at their planned steps.

    Attributes:
        number: From 0, in the order of the search.
        settings: Values by key.
        runs: One for each seed and task.
        outcomes: In the order of the runs, once they are done.
    """

    number: int
    settings: Mapping[str, Value]
    runs: tuple[PlannedRun, ...]
    outcomes: tuple[Outcome, ...] = ()

    @property
    def steps(self) -> int:
        """Environment steps of each run."""
        return self.runs[0].total_steps

    @property
    def failed(self) -> bool:
        """Whether one of its runs failed."""
        return any(outcome.returned is None for outcome in self.outcomes)

    @property
    def success(self) -> float | None:
        """Mean success of those runs that report one."""
        known = [outcome.success for outcome in self.outcomes if outcome.success is not None]
        return fmean(known) if known and not self.failed else None

    @property
    def returned(self) -> float | None:
        """Mean return."""
        known = [outcome.returned for outcome in self.outcomes if outcome.returned is not None]
        return fmean(known) if known and not self.failed else None

    def cut(self, parts: int) -> Trial:
        """The same over a share of the steps."""
        return replace(self, runs=tuple(_cut(run, -(-run.total_steps // parts)) for run in self.runs))


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Trials from best to worst.

    Those that got further come first; of those that got as far, the score decides: the mean over runs of the
    success, or of the return where none is reported. Equal scores are told apart by the return. Returns are
    scaled from the task's smallest to its largest among these trials.
    """
    by_steps: dict[int, list[Trial]] = {}
    for trial in trials:
        by_steps.setdefault(trial.steps, []).append(trial)
    found = []
    for steps in sorted(by_steps, reverse=True):
        alike = by_steps[steps]
        scales = _scales(alike)
        found += sorted(alike, key=lambda trial: (_score(trial, scales), -trial.number), reverse=True)
    return found


def _scales(trials: Sequence[Trial]) -> dict[str, tuple[float, float]]:
    """Smallest and largest return of each task."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        for run, outcome in zip(trial.runs, trial.outcomes, strict=True):
            if outcome.returned is not None:
                found.setdefault(subject(run), []).append(outcome.returned)
    return {task: (min(values), max(values)) for task, values in found.items()}


def _score(trial: Trial, scales: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    if trial.failed:
        return -1.0, -1.0
    scores, returns = [], []
    for run, outcome in zip(trial.runs, trial.outcomes, strict=True):
        low, high = scales[subject(run)]
        returns.append((float(outcome.returned or 0.0) - low) / (high - low) if high > low else 0.0)
        scores.append(returns[-1] if outcome.success is None else outcome.success)
    return fmean(scores), fmean(returns)


def _cut(run: PlannedRun, steps: int) -> PlannedRun:
    lines = [line for line in run.overrides if not line.startswith("total_steps=")]
    config = run.config.model_copy(update={"total_steps": steps})
    return PlannedRun(run.name, (*lines, f"total_steps={steps}"), config)
