"""Figures with training on the x axis: learning curves and wall time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from gipo_cli.compare.aggregate import band
from gipo_cli.compare.canvas import Picture, count_axis, drawn, facets, metric_axis, series_legend, sheet
from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.style import Look, looks
from gipo_cli.compare.tables import FloatArray


def learning_curves(comparison: Comparison) -> Iterator[Picture]:
    """Metric over environment steps: IQM, its interval, and every run as a thin line."""
    look = looks(comparison.arms)
    for environment in comparison.environments:
        parts, cells = facets(comparison, environment), comparison.of(environment)
        legend = series_legend(cells, look, markers=len(environment.grid) == 1)
        titles = [facet.title for facet in parts]
        figure, axes = sheet(environment.label, cells, titles, legend, ylabel=comparison.metric.title)
        for panel, facet in zip(axes, parts, strict=True):
            for cell in facet.cells:
                _curve(panel, cell, look[cell.arm.series])
            metric_axis(panel, comparison)
            count_axis(panel, "environment steps")
        yield Picture(
            f"learning_curves{environment.ending}",
            f"Learning curves: {environment.label}",
            "Thick: interquartile mean over seeds; shaded: its 95% bootstrap interval; thin: every run. "
            "Cut to the range of steps that all runs cover.",
            figure,
        )


def _curve(axes: Axes, cell: Cell, look: Look) -> None:
    grid = cell.environment.grid
    value, low, high = band(cell.curves)
    style = drawn(look, len(grid))
    for run in cell.curves:
        axes.plot(grid, run, **{**style, "linestyle": "-", "linewidth": 0.6, "alpha": 0.3, "label": "_run"})
    axes.fill_between(grid, low, high, color=look.color, alpha=0.12, linewidth=0)
    axes.plot(grid, value, label=cell.arm.series, zorder=3, **style)


def wall_time(comparison: Comparison) -> Iterator[Picture]:
    """Metric over time spent, one line per run: wall time has no common grid worth an interval."""
    look = looks(comparison.arms)
    for environment in comparison.environments:
        parts, cells = facets(comparison, environment), comparison.of(environment)
        timed = {cell.arm: _timed(cell, comparison.metric.table) for cell in cells}
        if not any(timed.values()):
            continue
        single = len(environment.grid) == 1
        titles, legend = [facet.title for facet in parts], series_legend(cells, look, markers=single)
        figure, axes = sheet(environment.label, cells, titles, legend, ylabel=comparison.metric.title)
        for panel, facet in zip(axes, parts, strict=True):
            for cell in facet.cells:
                for seconds, values in timed[cell.arm]:
                    style = drawn(look[cell.arm.series], len(values))
                    panel.plot(seconds / 60, values, **{**style, "alpha": 0.8, "linewidth": 1.3})
            metric_axis(panel, comparison)
            panel.set_xlabel("wall time (minutes)")
            if single:
                panel.set_xlim(left=0)
        yield Picture(
            f"wall_time{environment.ending}",
            f"Wall time: {environment.label}",
            "Every run as one line. Times depend on the machine and on what else it did.",
            figure,
        )


def _timed(cell: Cell, table: str) -> list[tuple[FloatArray, FloatArray]]:
    """Seconds and metric on the grid by run, for the runs that recorded time, the metric's table first."""
    found = []
    for run, values in zip(cell.runs, cell.curves, strict=True):
        for source in (table, "eval", "metrics"):
            steps, seconds = run.column(source, "time/wall")
            if len(steps):
                found.append((np.interp(cell.environment.grid, steps, seconds), values))
                break
    return found
