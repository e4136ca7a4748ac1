"""Figures over training: learning curves, wall time, and the data that was learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from gipo_cli.compare import canvas, curves
from gipo_cli.compare.aggregate import band, iqm
from gipo_cli.compare.canvas import Panel, Sheet, by_buffer, cells_of, draw_panels, series_legend
from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.grouping import Arm
from gipo_cli.compare.load import HEALTH, UTILISATION_BY_LAG
from gipo_cli.compare.selection import Criterion
from gipo_cli.compare.style import Look
from gipo_cli.compare.tables import FloatArray

BUCKET_WORDS = ("0", "1-3", "4-15", "16-63", "64+")
Line = tuple[FloatArray, FloatArray]
MOST_LINES = 20
"""Runs of a group that are drawn as single lines; more cover each other."""


def learning_curves(comparison: Comparison, look: Mapping[str, Look]) -> Iterator[Sheet]:
    """Thick: interquartile mean over seeds; shaded: its 95% bootstrap interval; thin: every run.

    Cut to the range of steps that all runs cover.
    """

    def draw(axes: Axes, cell: Cell, runs: Sequence[Line]) -> None:
        grid, own = cell.environment.grid, look[cell.arm.series]
        value, low, high = band(cell.curves)
        _draw_runs(axes, own, runs, linestyle="-", linewidth=0.6, alpha=0.3)
        axes.fill_between(grid, low, high, color=own.color, alpha=0.12, linewidth=0)
        axes.plot(grid, value, label=cell.arm.series, zorder=3, **canvas.drawn(own, len(grid)))
        canvas.count_axis(axes, "environment steps")

    curves_of = {
        key: [(cell.environment.grid, run) for run in cell.curves] for key, cell in comparison.cells.items()
    }
    yield from _over_training(comparison, look, curves_of, draw)


def wall_time(comparison: Comparison, look: Mapping[str, Look]) -> Iterator[Sheet]:
    """Every run as one line. Times depend on the machine and on what else it did."""

    def draw(axes: Axes, cell: Cell, runs: Sequence[Line]) -> None:
        _draw_runs(axes, look[cell.arm.series], runs, linewidth=1.3, alpha=0.8)
        axes.set_xlabel("wall time (minutes)")
        if len(cell.environment.grid) == 1:
            axes.set_xlim(left=0)

    timed = {key: _timed(cell, comparison.metric.table) for key, cell in comparison.cells.items()}
    yield from _over_training(comparison, look, timed, draw)


def _over_training(
    comparison: Comparison,
    look: Mapping[str, Look],
    runs: Mapping[Any, Sequence[Line]],
    draw_cell: Callable[[Axes, Cell, Sequence[Line]], None],
) -> Iterator[Sheet]:
    """The metric in each environment for which there are runs, one panel per buffer size."""

    def draw(axes: Axes, panel: Panel) -> None:
        for cell in panel.cells:
            draw_cell(axes, cell, runs[cell.environment.label, cell.arm])
        canvas.metric_axis(axes, comparison)

    for environment in comparison.environments:
        cells = comparison.of(environment)
        if any(runs[environment.label, cell.arm] for cell in cells):
            panels, ylabel = by_buffer(comparison, environment), comparison.metric.title
            legend = series_legend(cells, look, markers=len(environment.grid) == 1)
            figure = draw_panels(environment.label, panels, draw, legend, ylabel=ylabel)
            many = any(len(cell.runs) > MOST_LINES for cell in cells)
            remark = (
                f"A group of more than {MOST_LINES} runs shows at most {MOST_LINES} of them as lines."
                if many
                else ""
            )
            yield Sheet(figure, environment.label, environment.ending, remark)


def _draw_runs(axes: Axes, look: Look, runs: Sequence[Line], **style: Any) -> None:
    """Every run as a line, or as a marker if it is a single point; of many those at even distances."""
    runs = runs[:: -(-len(runs) // MOST_LINES) or 1]
    if all(len(values) == 1 for _, values in runs):
        own = {**look.line, **style, "linestyle": ""}
        axes.plot([x[0] for x, _ in runs], [y[0] for _, y in runs], **own)
    else:
        # As one object, which takes a third of the time of as many.
        lines = LineCollection([np.column_stack(run) for run in runs], **{**look.curve, **style})
        axes.add_collection(lines)
        axes.autoscale_view()


def _timed(cell: Cell, table: str) -> list[Line]:
    """Minutes and metric on the grid by run, for the runs that recorded time, the metric's table first."""
    found = []
    for run, values in zip(cell.runs, cell.curves, strict=True):
        clocks = (run.column(source, "time/wall") for source in (table, "eval", "metrics"))
        if clock := next((own for own in clocks if len(own[0])), None):
            found.append((np.interp(cell.environment.grid, *clock) / 60, values))
    return found


@dataclass(frozen=True)
class ColumnPanel(Panel):
    """A column of some cells' tables: on a grid ``[G]``, by cell and run ``[R, G]``."""

    criterion: Criterion
    grid: FloatArray
    rows: Sequence[FloatArray]

    @property
    def scale(self) -> str:
        """Panels of one column have one y axis."""
        return self.criterion.column

    def draw(self, axes: Axes, look: Mapping[Arm, Look]) -> None:
        """Interquartile mean over seeds, and the range from the lowest to the highest."""
        axes.set_ylabel(self.criterion.title)
        for cell, rows in zip(self.cells, self.rows, strict=True):
            own = look[cell.arm]
            low, high = rows.min(axis=0), rows.max(axis=0)
            axes.fill_between(self.grid, low, high, color=own.color, alpha=0.12, linewidth=0)
            axes.plot(self.grid, iqm(rows.T), label=cell.arm.series, **canvas.drawn(own, len(self.grid)))
        if self.criterion.is_rate:
            axes.set_ylim(canvas.SHARE)
        elif not any(rows.any() for rows in self.rows):
            # As the lag of fresh data is: on the ground of its axis, which other panels may share.
            axes.update_datalim([(self.grid[0], 0), (self.grid[0], 1)])
            axes.autoscale_view()
        canvas.count_axis(axes, "environment steps")


def column_panel(panel: Panel, criterion: Criterion, among: Sequence[Cell]) -> ColumnPanel:
    """The runs of a panel that recorded a column, on the steps for which all runs ``among`` have it."""
    steps = [run.column(criterion.table, criterion.column)[0] for cell in among for run in cell.runs]
    recorded = [own for own in steps if len(own)]
    grid = curves.common_grid(recorded) if recorded else np.empty(0)
    found = {}
    for index, cell in enumerate(panel.cells):
        rows = cell.on_grid(criterion, grid)
        if len(rows := rows[np.isfinite(rows).any(axis=1)]):
            found[index] = rows
    cells = [panel.cells[index] for index in found]
    return ColumnPanel(panel.title, cells, criterion, grid, list(found.values()))


def data_health(comparison: Comparison, look: Mapping[str, Look]) -> Iterator[Sheet]:
    """Line: interquartile mean over seeds; shaded: lowest to highest seed.

    Utilisation is the share of samples whose gradient coefficient exceeds 0.01.
    """
    by_arm = {arm: look[arm.series] for arm in comparison.arms}
    for environment in comparison.environments:
        panels, cells = by_buffer(comparison, environment), comparison.of(environment)
        between = [panel for panel in panels if panel.cells[0].buffer is not None][1:-1]
        shown: list[ColumnPanel] = []
        for column in HEALTH:
            criterion = Criterion("metrics", column)
            row = [column_panel(panel, criterion, cells) for panel in panels if panel not in between]
            shown += row if any(panel.cells for panel in row) else []
        if shown:
            single = any(len(panel.grid) == 1 for panel in shown)
            legend = series_legend(cells_of(shown), look, markers=single)
            figure = draw_panels(
                environment.label, shown, lambda axes, panel: panel.draw(axes, by_arm), legend, height=2.5
            )
            kind = "buffer sizes" if panels[0].cells[0].arm.lag is None else "lags"
            remark = f"The {kind} in between are left out of this figure." if between else ""
            yield Sheet(figure, environment.label, environment.ending, remark)


def utilisation_by_lag(comparison: Comparison, look: Mapping[str, Look]) -> Iterator[Sheet]:
    """Interquartile mean over seeds of each run's mean over training, by age of the samples."""

    def draw(axes: Axes, panel: Panel) -> None:
        for cell in panel.cells:
            if (values := by_lag[cell.arm]).size:
                axes.plot(range(len(values)), values, label=cell.arm.series, **look[cell.arm.series].line)
        axes.set_xticks(range(len(BUCKET_WORDS)), BUCKET_WORDS)
        axes.set_xlim(-0.3, len(BUCKET_WORDS) - 0.7)
        axes.set_ylim(-0.03, 1.05)
        axes.set_xlabel("policy lag (versions)")

    for environment in comparison.environments:
        by_lag = {cell.arm: _by_lag(cell) for cell in comparison.of(environment)}
        panels = [
            panel
            for panel in by_buffer(comparison, environment)
            if any(by_lag[cell.arm].size for cell in panel.cells)
        ]
        if panels:
            legend = series_legend(cells_of(panels), look)
            figure = draw_panels(environment.label, panels, draw, legend, ylabel="utilisation (share)")
            yield Sheet(figure, environment.label, environment.ending)


def _by_lag(cell: Cell) -> FloatArray:
    """Utilisation by lag bucket ``[5]``, NaN in one that never had samples; empty if none was recorded."""
    values = []
    for column in UTILISATION_BY_LAG:
        means = cell.averages(column)
        means = means[np.isfinite(means)]
        values.append(float(iqm(means)) if len(means) else float("nan"))
    return np.array(values) if np.isfinite(values).any() else np.empty(0)
