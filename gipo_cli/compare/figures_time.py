"""Figures with training on the x axis: learning curves, wall time, health of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes

from gipo_cli.compare import curves
from gipo_cli.compare.aggregate import band, iqm
from gipo_cli.compare.canvas import (
    Facet,
    Picture,
    add_legend,
    count_axis,
    drawn,
    environments,
    facets,
    header,
    key,
    left_labels,
    panels,
    rate_axis,
    series_labels,
)
from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.csv_text import FloatArray
from gipo_cli.compare.load import HEALTH
from gipo_cli.compare.style import Look, looks

HEALTH_WORDS = {
    "health/utilisation": "utilisation",
    "health/ess": "effective sample size",
    "health/kl": "KL(behaviour || policy)",
    "health/lag_mean": "mean lag (updates)",
}
Recorded = list[tuple[Cell, FloatArray, FloatArray]]
"""Cells with a grid ``[G]`` and a column of their runs on it ``[R, G]``."""


def learning_curves(comparison: Comparison) -> Iterator[Picture]:
    """Metric over environment steps: IQM, its interval, and every run as a thin line."""
    look = looks(comparison.arms)
    for environment, ending in environments(comparison):
        parts = facets(comparison, environment)
        cells = comparison.of(environment)
        labels = series_labels(cells)
        figure, axes = panels(
            len(parts), header=header(environment.label, cells), legend=list(labels.values())
        )
        for panel, facet in zip(axes, parts, strict=True):
            panel.set_title(facet.title)
            for cell in facet.cells:
                _curve(panel, cell, look[cell.arm.series])
            rate_axis(panel, comparison)
            count_axis(panel, "environment steps")
        left_labels(axes, comparison.metric.title)
        add_legend(
            figure, {labels[name]: key(look[name], markers=len(environment.grid) == 1) for name in labels}
        )
        yield Picture(
            f"learning_curves{ending}",
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
    for environment, ending in environments(comparison):
        parts = facets(comparison, environment)
        cells = comparison.of(environment)
        timed = {cell.arm: _timed(cell, comparison.metric.table) for cell in cells}
        if not any(timed.values()):
            continue
        labels = series_labels(cells)
        figure, axes = panels(
            len(parts), header=header(environment.label, cells), legend=list(labels.values())
        )
        for panel, facet in zip(axes, parts, strict=True):
            panel.set_title(facet.title)
            for cell in facet.cells:
                for seconds, values in timed[cell.arm]:
                    style = drawn(look[cell.arm.series], len(values))
                    panel.plot(seconds / 60, values, **{**style, "alpha": 0.8, "linewidth": 1.3})
            rate_axis(panel, comparison)
            panel.set_xlabel("wall time (minutes)")
            if len(environment.grid) == 1:
                panel.set_xlim(left=0)
        left_labels(axes, comparison.metric.title)
        add_legend(
            figure, {labels[name]: key(look[name], markers=len(environment.grid) == 1) for name in labels}
        )
        yield Picture(
            f"wall_time{ending}",
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


def data_health(comparison: Comparison) -> Iterator[Picture]:
    """Utilisation, effective sample size, KL and lag over steps, for the smallest and largest buffer."""
    for environment, ending in environments(comparison):
        parts = facets(comparison, environment)
        sized = [facet for facet in parts if facet.cells[0].buffer is not None]
        between = sized[1:-1]
        ends = [facet for facet in parts if facet not in between]
        grids = {column: _own_grid(comparison.of(environment), column) for column in HEALTH}
        rows = [
            (column, [(facet, _healthy(facet, column, grid)) for facet in ends])
            for column, grid in grids.items()
        ]
        shown = [
            (column, facet, found)
            for column, row in rows
            for facet, found in row
            if any(found for _, found in row)
        ]
        if shown:
            omitted = " The buffer sizes in between are left out of this figure." if between else ""
            yield _health_picture(comparison, f"data_health{ending}", environment.label, shown, omitted)


def _own_grid(cells: Sequence[Cell], column: str) -> FloatArray:
    """Steps ``[G]`` between which every run that recorded a column of ``metrics.csv`` has values of it."""
    steps = [run.column("metrics", column)[0] for cell in cells for run in cell.runs]
    recorded = [own for own in steps if len(own)]
    return curves.common_grid(recorded) if recorded else np.empty(0)


def _healthy(facet: Facet, column: str, grid: FloatArray) -> Recorded:
    """Cells that recorded a column, with its runs on a grid."""
    found = []
    for cell in facet.cells:
        rows = cell.on_grid(column, grid)
        rows = rows[np.isfinite(rows).any(axis=1)]
        if len(rows):
            found.append((cell, grid, rows))
    return found


def _health_picture(
    comparison: Comparison, name: str, title: str, shown: list[tuple[str, Facet, Recorded]], omitted: str
) -> Picture:
    look = looks(comparison.arms)
    cells = [cell for _, _, found in shown for cell, _, _ in found]
    single = any(len(grid) == 1 for _, _, found in shown for _, grid, _ in found)
    labels = series_labels(cells)
    figure, axes = panels(len(shown), header=header(title, cells), legend=list(labels.values()), height=2.5)
    for panel, (column, facet, found) in zip(axes, shown, strict=True):
        panel.set_title(facet.title)
        panel.set_ylabel(HEALTH_WORDS[column])
        for cell, grid, rows in found:
            own = look[cell.arm.series]
            low, high = rows.min(axis=0), rows.max(axis=0)
            panel.fill_between(grid, low, high, color=own.color, alpha=0.12, linewidth=0)
            panel.plot(grid, iqm(rows, axis=0), label=cell.arm.series, **drawn(own, len(grid)))
        # Shares, and what is 0 throughout, as the lag of fresh data is.
        if column in ("health/utilisation", "health/ess") or not any(rows.any() for _, _, rows in found):
            panel.set_ylim(-0.03, 1.03)
        count_axis(panel, "environment steps")
    add_legend(figure, {labels[series]: key(look[series], markers=single) for series in labels})
    return Picture(
        name,
        f"Health of the data: {title}",
        "Line: interquartile mean over seeds; shaded: lowest to highest seed. Utilisation is the share of "
        "samples whose "
        f"gradient coefficient exceeds 0.01.{omitted}",
        figure,
    )
