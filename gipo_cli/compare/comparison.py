"""From loaded runs to the one object that tables and figures are made of."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from gipo_cli.compare import curves
from gipo_cli.compare.aggregate import Interval, estimate, iqm
from gipo_cli.compare.grouping import Arm, Grouping, group_runs, match_baseline
from gipo_cli.compare.load import LeftOut, Run
from gipo_cli.compare.selection import Criterion, none_left, select_runs
from gipo_cli.compare.tables import FloatArray
from gipo_cli.errors import UserError

LEARNED = 0.75
"""Share of the way from the runs' first values to the best group's final value that counts as learned."""


@dataclass(frozen=True)
class Environment:
    """What the runs of one environment share."""

    label: str  # the task in words
    ending: str  # of its figures' file names, empty if there is one environment
    grid: FloatArray = field(repr=False)  # environment steps [G] on which curves are compared
    low: float  # value that normalises to 0
    high: float  # value that normalises to 1; the same as low if all values are equal
    threshold: float | None  # value that counts as learned; None without one
    way: tuple[float, float] | None = None  # where runs begin and the best group ends, if that made it

    @property
    def horizon(self) -> float:
        """Last environment step of the comparison."""
        return float(self.grid[-1])

    @property
    def scaled(self) -> bool:
        """Whether values can be normalised, which takes two that differ."""
        return self.high > self.low

    def normalise(self, values: FloatArray) -> FloatArray:
        """Values on the scale from `low` to `high`; only if there is one, see `scaled`."""
        return (values - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Cell:
    """The runs of one arm in one environment, sorted by seed; the arrays' first axis is the run."""

    environment: Environment
    arm: Arm
    runs: tuple[Run, ...]
    finals: FloatArray  # final value [R]
    curves: FloatArray = field(repr=False)  # metric on the environment's grid [R, G]
    reached: FloatArray  # first step at the threshold [R], infinite for never; NaN without one
    areas: FloatArray  # mean height of the learning curve [R]

    @cached_property
    def iqm(self) -> Interval:
        """Interquartile mean of the final values."""
        return estimate([self.finals])

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def buffer(self) -> int | None:
        """Transitions the replay buffer holds in these runs; None if they differ or do not say."""
        sizes = {run.buffer for run in self.runs}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def wall(self) -> float:
        """Median seconds of training up to the horizon."""
        return float(np.median([run.wall(self.environment.horizon) for run in self.runs]))

    def on_grid(self, criterion: Criterion, grid: FloatArray) -> FloatArray:
        """A column on a grid ``[R, G]``, NaN if there is none."""
        columns = (run.column(criterion.table, criterion.column) for run in self.runs)
        return np.array([curves.on_grid(grid, *column) for column in columns])

    def averages(self, column: str) -> FloatArray:
        """Mean of a column of ``metrics.csv`` up to the horizon ``[R]``, NaN if there is none."""
        means = []
        for run in self.runs:
            steps, values = run.column("metrics", column)
            inside = values[steps <= self.environment.horizon]
            means.append(float(inside.mean()) if len(inside) else float("nan"))
        return np.array(means)


@dataclass(frozen=True)
class Comparison:
    """All there is to show."""

    metric: Criterion
    environments: tuple[Environment, ...]  # in alphabetical order
    grouping: Grouping
    cells: Mapping[tuple[str, Arm], Cell]  # by environment label and arm; missing if there is no run
    baselines: Mapping[Arm, Arm]  # what each arm is compared with; empty without a baseline
    used: tuple[Run, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms in the order of display."""
        return self.grouping.arms

    def of(self, environment: Environment) -> list[Cell]:
        """Cells of one environment in the arms' order."""
        return [
            self.cells[environment.label, arm] for arm in self.arms if (environment.label, arm) in self.cells
        ]

    def runs_of(self, environment: Environment) -> list[Run]:
        """Runs of one environment."""
        return [run for cell in self.of(environment) for run in cell.runs]

    def by_arm(self, arm: Arm) -> list[Cell]:
        """Cells of one arm in the environments' order."""
        return [self.cells[env.label, arm] for env in self.environments if (env.label, arm) in self.cells]

    @property
    def scaled(self) -> tuple[Environment, ...]:
        """The environments whose values can be normalised, which aggregates are over."""
        return tuple(environment for environment in self.environments if environment.scaled)

    @property
    def complete_arms(self) -> dict[Arm, list[Cell]]:
        """Arms that have runs in every environment of `scaled`, which alone can be aggregated, with these."""
        by_arm = {arm: [cell for cell in self.by_arm(arm) if cell.environment.scaled] for arm in self.arms}
        return {arm: cells for arm, cells in by_arm.items() if cells and len(cells) == len(self.scaled)}

    @property
    def fewest_seeds(self) -> int:
        """Runs in the smallest cell."""
        return min(len(cell.runs) for cell in self.cells.values())


def build_comparison(
    runs: Sequence[Run],
    metric: Criterion,
    *,
    group_by: Sequence[str] | None = None,
    baseline: str | None = None,
    threshold: float | None = None,
    include_unfinished: bool = False,
    unread: Sequence[LeftOut] = (),
) -> Comparison:
    """Leave out what cannot be compared, group the rest, and put it on common axes.

    ``group_by`` are keys of settings, by default whatever differs; ``baseline`` an objective or a label, by
    default ``ppo_clip`` if it is there; ``threshold`` is in units of the metric, by default half of a rate,
    else `LEARNED` of the way to the best group's end. ``include_unfinished`` keeps unfinished and failed runs
    and other budgets.
    ``unread`` are runs that could not be read or are not there, to be listed.

    Raises:
        UserError: no run is left.
    """
    used, left_out = select_runs(runs, metric, include_unfinished=include_unfinished)
    left_out = [*unread, *left_out]
    if not used:
        raise UserError(none_left(left_out, include_unfinished))
    grouping = group_runs(used, group_by)
    members: dict[tuple[str, Arm], list[Run]] = defaultdict(list)
    places = set(grouping.environment_of)
    for run, arm, label in zip(used, grouping.arm_of, grouping.environment_of, strict=True):
        members[label, arm].append(run)
    environments = {
        label: _environment(
            label, ending, [own for (place, _), own in members.items() if place == label], metric, threshold
        )
        for label, ending in _endings(sorted(places)).items()
    }
    return Comparison(
        metric=metric,
        environments=tuple(environments.values()),
        grouping=grouping,
        cells={key: _cell(environments[key[0]], key[1], own, metric) for key, own in members.items()},
        baselines=match_baseline(grouping.arms, baseline),
        used=tuple(used),
        left_out=tuple(left_out),
    )


def _endings(labels: Sequence[str]) -> dict[str, str]:
    """A distinct ending for the file names of each environment's figures, empty if there is only one."""
    found: dict[str, str] = {}
    for label in labels:
        ending = "_" + (re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") or "unnamed")
        while ending in found.values():
            ending += "_"
        found[label] = ending if len(labels) > 1 else ""
    return found


def _environment(
    label: str, ending: str, groups: Sequence[Sequence[Run]], metric: Criterion, threshold: float | None
) -> Environment:
    runs = [run for group in groups for run in group]
    columns = [run.column(metric.table, metric.column) for run in runs]
    grid = curves.common_grid([steps for steps, _ in columns])
    if not len(grid):
        first = min(runs, key=lambda run: run.column(metric.table, metric.column)[0][-1])
        raise UserError(
            f"The runs of {label} have no common range of steps: {first.path} ended before others had a "
            "value; leave it out."
        )
    if metric.is_rate:
        return Environment(label, ending, grid, 0.0, 1.0, 0.5 if threshold is None else threshold)
    seen = np.concatenate([values[steps <= grid[-1]] for steps, values in columns])
    environment = Environment(label, ending, grid, float(seen.min()), float(seen.max()), threshold)
    start = float(np.median([values[0] for _, values in columns]))
    best = max(float(iqm(_finals(group, metric, environment.horizon))) for group in groups)
    if threshold is not None or best <= start:
        return environment
    return replace(environment, threshold=start + LEARNED * (best - start), way=(start, best))


def _finals(runs: Sequence[Run], metric: Criterion, horizon: float) -> FloatArray:
    columns = (run.column(metric.table, metric.column) for run in runs)
    return np.array([curves.final_value(*column, horizon) for column in columns])


def _cell(environment: Environment, arm: Arm, runs: Sequence[Run], metric: Criterion) -> Cell:
    ordered = tuple(sorted(runs, key=lambda run: (run.seed, str(run.path))))
    columns = [run.column(metric.table, metric.column) for run in ordered]
    grid, horizon, threshold = environment.grid, environment.horizon, environment.threshold
    heights = np.array([curves.on_grid(grid, *column) for column in columns])
    reached = [
        np.nan if threshold is None else curves.steps_to_threshold(*column, threshold, horizon)
        for column in columns
    ]
    return Cell(
        environment=environment,
        arm=arm,
        runs=ordered,
        finals=_finals(ordered, metric, horizon),
        curves=heights,
        reached=np.array(reached),
        areas=curves.area_under(grid, heights),
    )
