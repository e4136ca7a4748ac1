"""Figures of final values: by group, buffer size and lag, and of the steps it took to get there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gipo_cli.compare.aggregate import estimate, iqm
from gipo_cli.compare.canvas import (
    SHARE,
    Picture,
    count_axis,
    error_bar,
    log_axis,
    metric_axis,
    row_sheet,
    seed_labels,
    series_legend,
    sheet,
)
from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.style import INK, Look, looks
from gipo_cli.compare.words import count_words, number_words

AGAINST = "Marker: interquartile mean over seeds; bar: 95% bootstrap interval; dots: every run."


def final_scores(comparison: Comparison) -> Iterator[Picture]:
    """Final value of every group as a line of its own: IQM, interval and every run."""
    look = looks(comparison.arms)
    for environment in comparison.environments:
        cells = comparison.of(environment)
        labels = seed_labels((cell.arm.label, cell) for cell in cells)
        figure, axes = row_sheet(environment.label, cells, list(labels.values()))
        for line, cell in enumerate(cells):
            own = look[cell.arm.series]
            ticks = np.full(len(cell.finals), line + 0.22)
            axes.plot(cell.finals, ticks, "|", color=own.color, alpha=0.7, label="_run")
            score = estimate([cell.finals])
            error_bar(axes, score.value, line, score, own, along="x")
        axes.set_xlabel(f"final {comparison.metric.title}")
        if comparison.metric.is_rate:
            axes.set_xlim(SHARE)
        yield Picture(
            f"final_scores{environment.ending}",
            f"Final value: {environment.label}",
            "Marker: interquartile mean over seeds; bar: 95% bootstrap interval; ticks: every run.",
            figure,
        )


def final_vs_buffer(comparison: Comparison) -> Iterator[Picture]:
    """Final value against buffer size, one line per series, a little apart so that bars do not overlap."""
    if not any(len(_sizes(comparison.of(environment))) > 1 for environment in comparison.environments):
        return
    sizes = _sizes(comparison.cells.values())
    series = list(dict.fromkeys(arm.series for arm in comparison.arms))
    aside = {name: 1.025 ** (index - (len(series) - 1) / 2) for index, name in enumerate(series)}
    figure, axes = _against(comparison, lambda cell: aside[cell.arm.series] * (cell.buffer or np.nan))
    for axis in axes:
        log_axis(axis, "x", sizes[0], sizes[-1])
        apart = _apart(sizes)
        axis.set_xticks(apart, [count_words(size, digits=2) for size in apart])
        axis.set_xlabel("buffer size (transitions)")
    yield Picture("final_vs_buffer", "Final value against buffer size", AGAINST, figure)


def _sizes(cells: Iterable[Cell]) -> list[int]:
    return sorted({cell.buffer for cell in cells if cell.buffer})


def _apart(sizes: Sequence[int]) -> list[int]:
    """Those of increasing sizes whose labels have room on a logarithmic axis, the last one always."""
    room = np.log(sizes[-1] / sizes[0]) / 5
    kept = [sizes[-1]]
    for size in reversed(sizes[:-1]):
        if np.log(kept[-1] / size) >= room:
            kept.append(size)
    return kept[::-1]


def final_vs_lag(comparison: Comparison) -> Iterator[Picture]:
    """Final value against the lag that was measured, one line per series."""
    lags = {key: float(iqm(cell.averages("health/lag_mean"))) for key, cell in comparison.cells.items()}
    known = [lag for lag in lags.values() if np.isfinite(lag)]
    if not known:
        return
    figure, axes = _against(comparison, lambda cell: lags[cell.environment.label, cell.arm])
    for axis in axes:
        if min(known) > 0:
            log_axis(axis, "x", min(known), max(known))
        axis.set_xlabel("mean policy lag (versions)")
    yield Picture(
        "final_vs_lag",
        "Final value against measured policy lag",
        f"{AGAINST} Lag is the mean over training of learner version minus behaviour version.",
        figure,
    )


def _against(comparison: Comparison, position: Callable[[Cell], float]) -> tuple[Figure, list[Axes]]:
    look, cells = looks(comparison.arms), list(comparison.cells.values())
    figure, axes = sheet(
        f"{comparison.metric.title}, last tenth of training",
        cells,
        [environment.label for environment in comparison.environments],
        series_legend(cells, look, markers=True),
        ylabel=f"final {comparison.metric.title}",
    )
    for axis, environment in zip(axes, comparison.environments, strict=True):
        own = comparison.of(environment)
        for series in dict.fromkeys(cell.arm.series for cell in own):
            points = [(position(cell), cell) for cell in own if cell.arm.series == series]
            _line(axis, [point for point in points if np.isfinite(point[0])], look[series])
        metric_axis(axis, comparison)
    return figure, axes


def _line(axes: Axes, points: Sequence[tuple[float, Cell]], look: Look) -> None:
    points = sorted(points, key=lambda point: point[0])
    scores = [estimate([cell.finals]) for _, cell in points]
    axes.plot([x for x, _ in points], [score.value for score in scores], zorder=2, **look.line)
    for (x, cell), score in zip(points, scores, strict=True):
        places = np.full(len(cell.finals), x)
        axes.plot(places, cell.finals, ".", color=look.color, alpha=0.45, ms=4, label="_run")
        error_bar(axes, x, score.value, score, look, along="y")


def sample_efficiency(comparison: Comparison) -> Iterator[Picture]:
    """Steps to the threshold by run; runs that never reach it stand beyond the end, counted."""
    look = looks(comparison.arms)
    for environment in comparison.environments:
        if environment.threshold is None:
            continue
        cells, goal = comparison.of(environment), number_words(environment.threshold)
        heading = f"{environment.label}: steps to {comparison.metric.title} {goal}"
        figure, axes = row_sheet(heading, cells, [cell.arm.label for cell in cells])
        for line, cell in enumerate(cells):
            _arrivals(axes, line, cell, look[cell.arm.series])
        axes.axvline(environment.horizon, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(0, environment.horizon * 1.16)
        count_axis(axes, "environment steps (x: never reached)")
        counts = axes.secondary_yaxis("right")
        reached = [f"{np.isfinite(cell.reached).sum()} of {len(cell.runs)}" for cell in cells]
        counts.set_yticks(range(len(cells)), reached)
        counts.tick_params(length=0)
        counts.spines["right"].set_visible(False)
        counts.set_ylabel("reached")
        yield Picture(
            f"sample_efficiency{environment.ending}",
            f"Sample efficiency: {environment.label}",
            "One marker per run at the first evaluation that reaches the threshold; a cross beyond the "
            "dotted end of training is a run that never does.",
            figure,
        )


def _arrivals(axes: Axes, line: int, cell: Cell, look: Look) -> None:
    beyond = cell.environment.horizon * 1.1
    steps = np.sort(np.where(np.isfinite(cell.reached), cell.reached, beyond))
    offsets = line + np.linspace(-0.3, 0.3, len(steps)) * (len(steps) > 1)
    there = steps < beyond
    points: dict[str, Any] = {"ls": "", "ms": 5, "color": look.color, "alpha": 0.85}
    own: dict[str, Any] = {"marker": look.marker, "fillstyle": look.fill, "label": "reached"}
    axes.plot(steps[there], offsets[there], **own, **points)
    axes.plot(steps[~there], offsets[~there], marker="x", label="never", **points)
