"""Which trials a search consists of and which of them go on, worked out from what runs came to alone.

A search is rounds of a fixed number of trials. Within a round all trials begin with a share of the steps,
and the better half goes on to the next share (successive halving, arXiv 1502.07943). The trials of a round
depend on the rounds before and on their own numbers, and on nothing else: the same folders give the same
search, whenever it was stopped and however many runs went at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, product
from pathlib import Path
from typing import Any

from gipo_cli.errors import UserError
from gipo_cli.sweep.plan import PlannedRun, planned_runs
from gipo_cli.tune.space import Dimension, Value
from gipo_cli.tune.trials import Outcome, Trial, ranked

RUNGS = (4, 2, 1)
"""Parts of the steps after which the better half of a round goes on."""
LEAST_BEST = 5
"""Trials that count as good when importance is measured, as Optuna advises; a tenth of many."""


Look = Callable[[PlannedRun], Outcome | None]
"""What a run came to at its planned steps; None while it has yet to do them."""


@dataclass
class Walk:
    """How far a search is: the trials that are over, the stage that has to be worked on, and all plans."""

    over: list[Trial] = field(default_factory=list)
    stage: list[Trial] = field(default_factory=list)
    planned: dict[str, PlannedRun] = field(default_factory=dict)

    def _plan(self, trials: Sequence[Trial]) -> None:
        self.planned |= {run.name: run for trial in trials for run in trial.runs}


@dataclass(frozen=True)
class Search:
    """What is searched and how much is spent.

    Attributes:
        cells: Overrides of the runs of every trial, one for each seed and task; its score is their mean.
        space: What is searched over.
        trials: How many there are.
        batch: Of these, in a round.
        prune: Whether the worse half of a round ends early.
    """

    cells: tuple[tuple[str, ...], ...]
    space: tuple[Dimension, ...]
    trials: int
    batch: int
    prune: bool = True
    config_dirs: tuple[Path, ...] = ()

    @property
    def size(self) -> float:
        """Trials that differ."""
        return math.prod(dimension.size for dimension in self.space)

    @property
    def parts(self) -> tuple[int, ...]:
        """By what the steps are divided at each stage of a round."""
        return RUNGS if self.prune else (1,)

    def check(self) -> None:
        """Compose the ends of every range, so that a mistake is told before anything runs.

        Raises:
            UserError: A value is refused, or runs cannot be cut short and go on.
        """
        first = {dimension.key: dimension.ends[0] for dimension in self.space}
        for dimension in self.space:
            tried = [self._trial(0, first | {dimension.key: value}).runs for value in dimension.ends]
            if len({runs[0].key for runs in tried}) < len(tried):
                raise UserError(f"{dimension.key} does not change what is learned; leave it out")
            for run in chain(*tried):
                self._check_run(run)

    def _check_run(self, run: PlannedRun) -> None:
        config = run.config
        if config.eval.episodes == 0:
            raise UserError("trials are told apart by evaluations; leave eval.episodes above 0")
        if self.prune and config.agent.decays:
            raise UserError(
                "a rate that decays over total_steps cannot be cut short; add --no-pruning, or leave out "
                "agent.update.lr_schedule and agent.anchor.decay"
            )

    def round(self, trials: int) -> list[tuple[int, int]]:
        """How many trials of a round get to how many steps."""
        steps = self._trial(0, {one.key: one.ends[0] for one in self.space}).steps
        found = []
        for parts in self.parts:
            found.append((trials, -(-steps // parts)))
            trials = -(-trials // 2)
        return found

    @property
    def steps(self) -> int:
        """Environment steps of the whole search, if no run fails."""
        total = 0
        for first in range(0, self.trials, self.batch):
            before = 0
            for trials, steps in self.round(min(self.batch, self.trials - first)):
                total += trials * (steps - before) * len(self.cells)
                before = steps
        return total

    def walk(self, look: Look) -> Walk:
        """Go through the search as far as its runs are done."""
        walk = Walk()
        for first in range(0, self.trials, self.batch):
            left = self._ask(walk.over, range(first, min(first + self.batch, self.trials)))
            for parts in self.parts:
                stage = [trial.cut(parts) for trial in left]
                walk._plan(stage)
                seen = [_seen(trial, look) for trial in stage]
                known = [trial for trial in seen if trial is not None]
                # A whole round that fails as it begins is no matter of settings.
                broken = parts == self.parts[0] and len(known) > 1 and all(one.failed for one in known)
                if broken or len(known) < len(stage):
                    walk.stage = stage
                    return walk
                best = [trial.number for trial in ranked(known) if not trial.failed]
                on = best[: -(-len(known) // 2)] if parts > 1 else []
                walk.over += [trial for trial in known if trial.number not in on]
                left = [trial for trial in left if trial.number in on]
        return walk

    def _ask(self, over: Sequence[Trial], numbers: range) -> list[Trial]:
        """The trials of a round, drawn after those that are over."""
        if self.size <= self.trials:
            every = list(product(*(dimension.values for dimension in self.space)))
            keys = [dimension.key for dimension in self.space]
            return [self._trial(n, dict(zip(keys, every[n], strict=True))) for n in numbers]
        from optuna.samplers import RandomSampler, TPESampler

        study = _study(over, self.space)
        distributions = {dimension.key: dimension.distribution for dimension in self.space}

        def draw() -> dict[str, Value]:
            drawn = study.ask(distributions).params
            return {one.key: one.rounded(drawn[one.key]) for one in self.space}

        seen = [trial.settings for trial in over]
        found = []
        for number in numbers:
            study.sampler = TPESampler(seed=number, n_startup_trials=self.batch)
            settings = draw()
            if settings in seen:
                study.sampler = RandomSampler(seed=number)
            while settings in seen:
                settings = draw()
            seen.append(settings)
            found.append(self._trial(number, settings))
        return found

    def _trial(self, number: int, settings: Mapping[str, Value]) -> Trial:
        lines = tuple(f"{key}={value}" for key, value in settings.items())
        return Trial(number, settings, _planned(self.cells, lines, self.config_dirs))


def importance(over: Sequence[Trial], space: Sequence[Dimension]) -> dict[str, float]:
    """How much each setting tells good trials from others, by PED-ANOVA (arXiv 2304.10255), as shares.

    Good are the best tenth in the order of `ranked`, and at least five. Empty with fewer than ten trials.
    """
    from optuna.importance import PedAnovaImportanceEvaluator

    if len(over) < 2 * LEAST_BEST:
        return {}
    quantile = max(0.1, LEAST_BEST / len(over))
    found = PedAnovaImportanceEvaluator(target_quantile=quantile).evaluate(_study(over, space))
    total = sum(found.values()) or 1.0
    return {key: found[key] / total for key in sorted(found, key=lambda key: -found[key])}


def _study(over: Sequence[Trial], space: Sequence[Dimension]) -> Any:
    """Optuna's study of trials that are over; the value to be minimised is their place in the order."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    places = {trial.number: place for place, trial in enumerate(ranked(over))}
    distributions = {dimension.key: dimension.distribution for dimension in space}
    for trial in sorted(over, key=lambda trial: trial.number):
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(trial.settings), distributions=distributions, value=float(places[trial.number])
            )
        )
    return study


@cache
def _planned(
    cells: tuple[tuple[str, ...], ...], lines: tuple[str, ...], config_dirs: tuple[Path, ...]
) -> tuple[PlannedRun, ...]:
    return tuple(planned_runs([(*cell, *lines) for cell in cells], config_dirs))


def _seen(trial: Trial, look: Look) -> Trial | None:
    outcomes = [look(run) for run in trial.runs]
    known = [outcome for outcome in outcomes if outcome is not None]
    return replace(trial, outcomes=tuple(known)) if len(known) == len(outcomes) else None
