"""From loaded runs to the one object that tables and figures are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gipo_cli.compare import curves
from gipo_cli.compare.baseline import match_baseline
from gipo_cli.compare.csv_text import FloatArray
from gipo_cli.compare.grouping import Arm, Grouping, environment_labels, group_runs
from gipo_cli.compare.load import LeftOut, RunTable
from gipo_cli.compare.metric import Metric
from gipo_cli.compare.words import counts_apart
from gipo_cli.errors import UserError

REASONS_SHOWN = 5
"""Kinds of reasons for leaving runs out that one sentence can hold."""


@dataclass(frozen=True)
class Environment:
    """What the runs of one environment share.

    Attributes:
        label: the task in words.
        grid: environment steps ``[G]`` on which curves are compared.
        low: value that normalises to 0.
        high: value that normalises to 1; the same as ``low`` where all values compared are equal.
        threshold: value that counts as having learned the task; None where none is given and there is no
            scale to take one from.
    """

    label: str
    grid: FloatArray = field(repr=False)
    low: float
    high: float
    threshold: float | None

    @property
    def horizon(self) -> float:
        """Last environment step of the comparison."""
        return float(self.grid[-1])

    @property
    def scaled(self) -> bool:
        """Whether values can be normalised, which takes two that differ."""
        return self.high > self.low

    @property
    def middle(self) -> float:
        """The threshold where none is given."""
        return (self.low + self.high) / 2

    def normalise(self, values: FloatArray) -> FloatArray:
        """Values on the scale from `low` to `high`; only where there is one, see `scaled`."""
        return (values - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Cell:
    """The runs of one arm in one environment, sorted by seed; the arrays' first axis is the run.

    Attributes:
        finals: final value ``[R]``.
        curves: metric on the environment's grid ``[R, G]``.
        reached: first step at or above the threshold ``[R]``, infinite for never; NaN without a threshold.
        areas: mean height of the learning curve ``[R]``.
    """

    environment: Environment
    arm: Arm
    runs: tuple[RunTable, ...]
    finals: FloatArray
    curves: FloatArray = field(repr=False)
    reached: FloatArray
    areas: FloatArray

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def buffer(self) -> int | None:
        """Transitions the replay buffer holds in these runs; None where they differ or do not say."""
        sizes = {run.buffer for run in self.runs}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def wall(self) -> float:
        """Median seconds of training up to the horizon."""
        return float(np.median([run.wall(self.environment.horizon) for run in self.runs]))

    def on_grid(self, column: str, grid: FloatArray) -> FloatArray:
        """A column of ``metrics.csv`` on a grid ``[R, G]``, NaN where there is none."""
        return np.array([curves.on_grid(grid, *run.column("metrics", column)) for run in self.runs])

    def averages(self, column: str) -> FloatArray:
        """Mean of a column of ``metrics.csv`` up to the horizon ``[R]``, NaN where there is none."""
        means = []
        for run in self.runs:
            steps, values = run.column("metrics", column)
            inside = values[steps <= self.environment.horizon]
            means.append(float(inside.mean()) if len(inside) else float("nan"))
        return np.array(means)


@dataclass(frozen=True)
class Comparison:
    """All there is to show.

    Attributes:
        metric: what runs are compared by.
        environments: in alphabetical order.
        grouping: arms and what they are made of.
        cells: by environment label and arm; missing where there is no run.
        baselines: the arm that each arm is compared with; empty without a baseline.
        used: the runs in the numbers.
        left_out: the runs that are not.
    """

    metric: Metric
    environments: tuple[Environment, ...]
    grouping: Grouping
    cells: Mapping[tuple[str, Arm], Cell]
    baselines: Mapping[Arm, Arm]
    used: tuple[RunTable, ...]
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

    def runs_of(self, environment: Environment) -> list[RunTable]:
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
    runs: Sequence[RunTable],
    metric: Metric,
    *,
    group_by: Sequence[str] | None = None,
    baseline: str | None = None,
    threshold: float | None = None,
    include_unfinished: bool = False,
    unread: Sequence[LeftOut] = (),
) -> Comparison:
    """Leave out what cannot be compared, group the rest, and put it on common axes.

    Args:
        runs: those that could be read and pass the filters.
        metric: what to compare by.
        group_by: keys to group by; by default whatever differs.
        baseline: an objective or a label; by default ``ppo_clip`` where there is one.
        threshold: in units of the metric; by default the middle of each environment's scale.
        include_unfinished: keep unfinished and failed runs and those of another budget.
        unread: runs that could not be read or are not there, to be listed.

    Raises:
        UserError: no run is left, or there is nothing to compare.
    """
    used, left_out = select_runs(runs, metric, include_unfinished=include_unfinished)
    left_out = [*unread, *left_out]
    if len(used) < 2:
        raise UserError(_too_few(used, left_out, include_unfinished))
    grouping = group_runs(used, group_by)
    members: dict[tuple[str, Arm], list[RunTable]] = {}
    for run, arm, label in zip(used, grouping.arm_of, grouping.environment_of, strict=True):
        members.setdefault((label, arm), []).append(run)
    environments = tuple(
        _environment(
            label,
            [run for (own, _), group in members.items() if own == label for run in group],
            metric,
            threshold,
        )
        for label in sorted(set(grouping.environment_of))
    )
    by_label = {environment.label: environment for environment in environments}
    return Comparison(
        metric=metric,
        environments=environments,
        grouping=grouping,
        cells={key: _cell(by_label[key[0]], key[1], group, metric) for key, group in members.items()},
        baselines=match_baseline(grouping.arms, baseline),
        used=tuple(used),
        left_out=tuple(left_out),
    )


def select_runs(
    runs: Sequence[RunTable], metric: Metric, *, include_unfinished: bool
) -> tuple[list[RunTable], list[LeftOut]]:
    """Split runs into those that enter the numbers and those that do not, each with its reason.

    Of several runs of the same training and seed a finished one enters, else the one that went furthest.
    """
    labels = environment_labels(runs)
    budgets = {
        label: _budgets([r for r, own in zip(runs, labels, strict=True) if own == label])
        for label in set(labels)
    }
    reasons = [
        _reason(run, metric, budgets[label], include_unfinished)
        for run, label in zip(runs, labels, strict=True)
    ]
    best: dict[object, RunTable] = {}
    for run, reason in zip(runs, reasons, strict=True):
        if not reason and _progress(run, metric) > _progress(best.setdefault(_identity(run), run), metric):
            best[_identity(run)] = run
    used: list[RunTable] = []
    left_out: list[LeftOut] = []
    for run, reason in zip(runs, reasons, strict=True):
        if reason:
            left_out.append(LeftOut(run.path, reason))
        elif (twin := best[_identity(run)]) is not run:
            left_out.append(LeftOut(run.path, f"repeats {twin.path.name}: the same training and seed"))
        else:
            used.append(run)
    return used, left_out


def _progress(run: RunTable, metric: Metric) -> tuple[bool, float]:
    """Whether a run is finished, and its last step with a value."""
    return run.state == "done", float(run.column(metric.table, metric.column)[0][-1])


def _reason(run: RunTable, metric: Metric, budgets: Counter[int], include_unfinished: bool) -> str | None:
    if run.state != "done" and not include_unfinished:
        return f"{run.state} at step {run.status.get('step', 'unknown')} of {run.budget}"
    usual = max(budgets, key=lambda budget: (budgets[budget], budget))
    if run.budget != usual and not include_unfinished:
        rest = "most" if 2 * budgets[usual] > budgets.total() else "others"
        own, theirs = counts_apart(run.budget, usual)
        return f"budget of {own} steps, where {rest} have {theirs}"
    if count := run.not_finite.get(metric.column, 0):
        return f"{metric.column} is NaN or infinite in {count} row{'s' * (count > 1)}"
    if not run.has(metric.table):
        return f"no {metric.table}.csv"
    if not len(run.column(metric.table, metric.column)[0]):
        return f"no value of {metric.column}"
    return None


def _identity(run: RunTable) -> object:
    # What changes nothing about what is learned.
    aside = ("preset", "logging.", "runtime.", "checkpoint.", "eval.", "diagnostics.")
    return frozenset((key, value) for key, value in run.config.items() if not key.startswith(aside))


def _budgets(runs: Sequence[RunTable]) -> Counter[int]:
    """How many runs have which budget, of the finished ones where there are any."""
    return Counter(run.budget for run in runs if run.state == "done") or Counter(run.budget for run in runs)


def _too_few(used: Sequence[RunTable], left_out: Sequence[LeftOut], include_unfinished: bool) -> str:
    """Why fewer than two runs are left, with every reason and how many runs it holds for."""
    only = f"{used[0].path.name} is the only run" if used else "no run is left"
    if not left_out:
        return f"Nothing to compare: {only}; name at least two."
    counts = Counter(out.reason for out in left_out).most_common()
    reasons = "; ".join(f"{reason} ({count})" for reason, count in counts[:REASONS_SHOWN])
    if len(counts) > REASONS_SHOWN:
        reasons += f"; and {len(counts) - REASONS_SHOWN} other reasons"
    hint = "" if include_unfinished else " --include-unfinished keeps unfinished runs and other budgets."
    return f"Nothing to compare: {only}. Left out: {reasons}.{hint}"


def _environment(
    label: str, runs: Sequence[RunTable], metric: Metric, threshold: float | None
) -> Environment:
    columns = [run.column(metric.table, metric.column) for run in runs]
    grid = curves.common_grid([steps for steps, _ in columns])
    if not len(grid):
        first = min(runs, key=lambda run: run.column(metric.table, metric.column)[0][-1])
        raise UserError(
            f"The runs of {label} have no common range of steps: {first.path} ended before others had a "
            "value; leave it out."
        )
    low, high = 0.0, 1.0
    if not metric.is_rate:
        seen = np.concatenate([values[steps <= grid[-1]] for steps, values in columns])
        low, high = float(seen.min()), float(seen.max())
    environment = Environment(label, grid, low, high, threshold)
    if threshold is None and environment.scaled:
        return replace(environment, threshold=environment.middle)
    return environment


def _cell(environment: Environment, arm: Arm, runs: Sequence[RunTable], metric: Metric) -> Cell:
    ordered = tuple(sorted(runs, key=lambda run: (run.seed, str(run.path))))
    columns = [run.column(metric.table, metric.column) for run in ordered]
    on_grid = np.array([curves.on_grid(environment.grid, *column) for column in columns])
    return Cell(
        environment=environment,
        arm=arm,
        runs=ordered,
        finals=np.array([curves.final_value(*column, environment.horizon) for column in columns]),
        curves=on_grid,
        reached=_reached(environment, columns),
        areas=curves.area_under(environment.grid, on_grid),
    )


def _reached(environment: Environment, columns: Sequence[tuple[FloatArray, FloatArray]]) -> FloatArray:
    threshold, horizon = environment.threshold, environment.horizon
    if threshold is None:
        return np.full(len(columns), np.nan)
    return np.array([curves.steps_to_threshold(*column, threshold, horizon) for column in columns])
