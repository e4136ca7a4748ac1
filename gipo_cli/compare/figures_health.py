"""Figures of the data that was learned from: how much of it counts, how old it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gipo_cli.compare import curves
from gipo_cli.compare.aggregate import iqm
from gipo_cli.compare.canvas import SHARE, Facet, Picture, count_axis, drawn, facets, series_legend, sheet
from gipo_cli.compare.comparison import Cell, Comparison, Environment
from gipo_cli.compare.load import HEALTH, UTILISATION_BY_LAG
from gipo_cli.compare.style import looks
from gipo_cli.compare.tables import FloatArray

HEALTH_WORDS = {
    "health/utilisation": "utilisation",
    "health/ess": "effective sample size",
    "health/kl": "KL(behaviour || policy)",
    "health/lag_mean": "mean lag (versions)",
}
BUCKET_WORDS = ("0", "1-3", "4-15", "16-63", "64+")
Recorded = list[tuple[Cell, FloatArray, FloatArray]]
"""Cells with a grid ``[G]`` and a column of their runs on it ``[R, G]``."""


def data_health(comparison: Comparison) -> Iterator[Picture]:
    """Utilisation, effective sample size, KL and lag over steps, for the smallest and largest buffer."""
    for environment in comparison.environments:
        parts = facets(comparison, environment)
        between = [facet for facet in parts if facet.cells[0].buffer is not None][1:-1]
        ends = [facet for facet in parts if facet not in between]
        shown = []
        for column in HEALTH:
            grid = _own_grid(comparison.of(environment), column)
            row = [(column, facet, _recorded(facet, column, grid)) for facet in ends]
            shown += row if any(found for _, _, found in row) else []
        if shown:
            omitted = " The buffer sizes in between are left out of this figure." if between else ""
            yield _health_picture(comparison, environment, shown, omitted)


def _own_grid(cells: Sequence[Cell], column: str) -> FloatArray:
    """Steps ``[G]`` between which every run that recorded a column of ``metrics.csv`` has values of it."""
    steps = [run.column("metrics", column)[0] for cell in cells for run in cell.runs]
    recorded = [own for own in steps if len(own)]
    return curves.common_grid(recorded) if recorded else np.empty(0)


def _recorded(facet: Facet, column: str, grid: FloatArray) -> Recorded:
    """Cells that recorded a column, with its runs on a grid."""
    found = []
    for cell in facet.cells:
        rows = cell.on_grid(column, grid)
        rows = rows[np.isfinite(rows).any(axis=1)]
        if len(rows):
            found.append((cell, grid, rows))
    return found


def _health_picture(
    comparison: Comparison, environment: Environment, shown: list[tuple[str, Facet, Recorded]], omitted: str
) -> Picture:
    look = looks(comparison.arms)
    cells = [cell for _, _, found in shown for cell, _, _ in found]
    single = any(len(grid) == 1 for _, _, found in shown for _, grid, _ in found)
    titles, legend = [facet.title for _, facet, _ in shown], series_legend(cells, look, markers=single)
    figure, axes = sheet(environment.label, cells, titles, legend, height=2.5)
    for panel, (column, _, found) in zip(axes, shown, strict=True):
        panel.set_ylabel(HEALTH_WORDS[column])
        for cell, grid, rows in found:
            own = look[cell.arm.series]
            low, high = rows.min(axis=0), rows.max(axis=0)
            panel.fill_between(grid, low, high, color=own.color, alpha=0.12, linewidth=0)
            panel.plot(grid, iqm(rows, axis=0), label=cell.arm.series, **drawn(own, len(grid)))
        # Shares, and what is 0 throughout, as the lag of fresh data is.
        if column in ("health/utilisation", "health/ess") or not any(rows.any() for _, _, rows in found):
            panel.set_ylim(SHARE)
        count_axis(panel, "environment steps")
    return Picture(
        f"data_health{environment.ending}",
        f"Health of the data: {environment.label}",
        "Line: interquartile mean over seeds; shaded: lowest to highest seed. Utilisation is the share of "
        f"samples whose gradient coefficient exceeds 0.01.{omitted}",
        figure,
    )


def utilisation_by_lag(comparison: Comparison) -> Iterator[Picture]:
    """Share of samples that still carry a gradient, by how old they are."""
    look = looks(comparison.arms)
    for environment in comparison.environments:
        by_lag = {cell.arm: _by_lag(cell) for cell in comparison.of(environment)}
        parts = [
            facet
            for facet in facets(comparison, environment)
            if any(by_lag[cell.arm].size for cell in facet.cells)
        ]
        cells = [cell for facet in parts for cell in facet.cells]
        if not cells:
            continue
        titles, legend = [facet.title for facet in parts], series_legend(cells, look, markers=True)
        figure, axes = sheet(environment.label, cells, titles, legend, ylabel="utilisation (share)")
        for axis, facet in zip(axes, parts, strict=True):
            for cell in facet.cells:
                if (values := by_lag[cell.arm]).size:
                    axis.plot(range(len(values)), values, label=cell.arm.series, **look[cell.arm.series].line)
            axis.set_xticks(range(len(BUCKET_WORDS)), BUCKET_WORDS)
            axis.set_xlim(-0.3, len(BUCKET_WORDS) - 0.7)
            axis.set_ylim(-0.03, 1.05)
            axis.set_xlabel("policy lag (versions)")
        yield Picture(
            f"utilisation_by_lag{environment.ending}",
            f"Utilisation against lag: {environment.label}",
            "Interquartile mean over seeds of each run's mean over training, by age of the samples.",
            figure,
        )


def _by_lag(cell: Cell) -> FloatArray:
    """Utilisation by lag bucket ``[5]``, NaN in one that never had samples; empty if none was recorded."""
    values = []
    for column in UTILISATION_BY_LAG:
        means = cell.averages(column)
        means = means[np.isfinite(means)]
        values.append(float(iqm(means)) if len(means) else float("nan"))
    return np.array(values) if np.isfinite(values).any() else np.empty(0)
