"""Figures of final values: by group, buffer size and lag, against each other, and of the way there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gipo_cli.compare import aggregate, canvas
from gipo_cli.compare.canvas import SHARE, Panel, Sheet, draw_panels, draw_rows, series_legend
from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.style import INK, Look
from gipo_cli.compare.summary import ALL, baseline_cells, improvement, normalised_finals, single_run
from gipo_cli.compare.words import count_words, number_words, value_words

PROFILE_POINTS = 101


def final_scores(comparison: Comparison, look: Mapping[str, Look]) -> Iterator[Sheet]:
    """Marker: interquartile mean over seeds; bar: 95% bootstrap interval; ticks: every run."""

    def draw(axes: Axes) -> None:
        for line, cell in enumerate(cells):
            own = look[cell.arm.series]
            ticks = np.full(len(cell.finals), line + 0.22)
            axes.plot(cell.finals, ticks, "|", color=own.color, alpha=0.7, label="_run")
            canvas.error_bar(axes, cell.iqm.value, line, cell.iqm, own, along="x")
        axes.set_xlabel(f"final {comparison.metric.title}")
        if comparison.metric.is_rate:
            axes.set_xlim(SHARE)

    for environment in comparison.environments:
        cells = comparison.of(environment)
        labels = [*canvas.seed_labels((cell.arm.label, cell) for cell in cells).values()]
        figure = draw_rows(environment.label, cells, labels, draw)
        yield Sheet(figure, environment.label, environment.ending)


def final_vs_buffer(comparison: Comparison, look: Mapping[str, Look]) -> Iterator[Sheet]:
    """Marker: interquartile mean over seeds; bar: 95% bootstrap interval; dots: every run."""
    if not any(len(_sizes(comparison.of(environment))) > 1 for environment in comparison.environments):
        return
    sizes = _sizes(comparison.cells.values())
    series = list(dict.fromkeys(arm.series for arm in comparison.arms))
    aside = {name: 1.025 ** (index - (len(series) - 1) / 2) for index, name in enumerate(series)}

    def scale(axes: Axes) -> None:
        canvas.log_axis(axes, "x", sizes[0], sizes[-1])
        apart = _apart(sizes)
        axes.set_xticks(apart, [count_words(size, digits=2) for size in apart])
        axes.set_xlabel("buffer size (transitions)")

    places = {key: aside[cell.arm.series] * (cell.buffer or np.nan) for key, cell in comparison.cells.items()}
    yield Sheet(_against(comparison, look, places, scale))


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


def final_vs_lag(comparison: Comparison, look: Mapping[str, Look]) -> Iterator[Sheet]:
    """Marker: interquartile mean over seeds; bar: 95% bootstrap interval; dots: every run.

    Lag is the mean over training of learner version minus behaviour version, or the setting actors.lag
    where that varies.
    """
    lags = {key: _lag(cell) for key, cell in comparison.cells.items()}
    known = [lag for lag in lags.values() if np.isfinite(lag)]
    if not known:
        return

    def scale(axes: Axes) -> None:
        if min(known) > 0:
            canvas.log_axis(axes, "x", min(known), max(known))
        scheduled = any(arm.lag is not None for arm in comparison.arms)
        axes.set_xlabel("scheduled lag (versions)" if scheduled else "mean policy lag (versions)")

    yield Sheet(_against(comparison, look, lags, scale))


def _lag(cell: Cell) -> float:
    scheduled = cell.arm.lag
    return float(aggregate.iqm(cell.averages("health/lag_mean")) if scheduled is None else scheduled)


def _against(
    comparison: Comparison,
    look: Mapping[str, Look],
    places: Mapping[Any, float],
    scale: Callable[[Axes], None],
) -> Figure:
    """Final values of the cells at places on the x axis, one panel per environment."""

    def draw(axes: Axes, panel: Panel) -> None:
        for series in dict.fromkeys(cell.arm.series for cell in panel.cells):
            found = [
                (places[cell.environment.label, cell.arm], cell)
                for cell in panel.cells
                if cell.arm.series == series
            ]
            points = sorted((point for point in found if np.isfinite(point[0])), key=lambda point: point[0])
            own = look[series]
            axes.plot([x for x, _ in points], [cell.iqm.value for _, cell in points], zorder=2, **own.line)
            for x, cell in points:
                beside = np.full(len(cell.finals), x)
                axes.plot(beside, cell.finals, ".", color=own.color, alpha=0.45, ms=4, label="_run")
                canvas.error_bar(axes, x, cell.iqm.value, cell.iqm, own, along="y")
        canvas.metric_axis(axes, comparison)
        scale(axes)

    title = comparison.metric.title
    panels = [Panel(environment.label, comparison.of(environment)) for environment in comparison.environments]
    legend = series_legend(comparison.cells.values(), look)
    heading = f"{title}, last tenth of training"
    return draw_panels(heading, panels, draw, legend, ylabel=f"final {title}")


def sample_efficiency(comparison: Comparison, look: Mapping[str, Look]) -> Iterator[Sheet]:
    """One marker per run at the first evaluation that reaches the threshold.

    A cross beyond the dotted end of training is a run that never does.
    """

    def draw(axes: Axes) -> None:
        for line, cell in enumerate(cells):
            _arrivals(axes, line, cell, look[cell.arm.series])
        horizon = cells[0].environment.horizon
        axes.axvline(horizon, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(0, horizon * 1.16)
        canvas.count_axis(axes, "environment steps (x: never reached)")
        counts = axes.secondary_yaxis("right")
        reached = [f"{np.isfinite(cell.reached).sum()} of {len(cell.runs)}" for cell in cells]
        counts.set_yticks(range(len(cells)), reached)
        counts.tick_params(length=0)
        counts.spines["right"].set_visible(False)
        counts.set_ylabel("reached")

    for environment in comparison.environments:
        if environment.threshold is not None:
            cells, goal = comparison.of(environment), number_words(environment.threshold)
            heading = f"{environment.label}: steps to {comparison.metric.title} {goal}"
            figure = draw_rows(heading, cells, [cell.arm.label for cell in cells], draw)
            yield Sheet(figure, environment.label, environment.ending)


def _arrivals(axes: Axes, line: int, cell: Cell, look: Look) -> None:
    beyond = cell.environment.horizon * 1.1
    steps = np.sort(np.where(np.isfinite(cell.reached), cell.reached, beyond))
    offsets = line + np.linspace(-0.3, 0.3, len(steps)) * (len(steps) > 1)
    there = steps < beyond
    points: dict[str, Any] = {"ls": "", "ms": 5, "color": look.color, "alpha": 0.85}
    own: dict[str, Any] = {"marker": look.marker, "fillstyle": look.fill, "label": "reached"}
    axes.plot(steps[there], offsets[there], **own, **points)
    axes.plot(steps[~there], offsets[~there], marker="x", label="never", **points)


def probability_of_improvement(comparison: Comparison, look: Mapping[str, Look]) -> Iterator[Sheet]:
    """Probability that a run of the first group ends higher than one of the second, ties counted half.

    The bar is its 95% bootstrap interval. An interval that holds 0.5 (dotted) includes no difference.
    """

    def draw(axes: Axes) -> None:
        for line, (cells, _, chance) in enumerate(rows):
            canvas.error_bar(axes, chance.value, line, chance, look[cells[0].arm.series], along="x")
        axes.axvline(0.5, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(SHARE)
        axes.set_xlabel(f"P(better than {'baseline' if len(rivals) > 1 else rows[0][1].series})")

    places = [
        (env.label, env.ending, [[cell] for cell in comparison.of(env)]) for env in comparison.environments
    ]
    if len(comparison.scaled) > 1:
        places.append((ALL, "_all", [*comparison.complete_arms.values()]))
    for label, ending, groups in places:
        rows = []
        for cells in groups:
            theirs = baseline_cells(comparison, cells)
            if (chance := improvement(cells, theirs)) is not None:
                rows.append((cells, theirs[0].arm, chance))
        if rows:
            rivals = {rival.series for _, rival, _ in rows}
            several = len(rivals) > 1
            names = [cells[0].arm.label + f" over {rival.label}" * several for cells, rival, _ in rows]
            figure = draw_rows(label, [cell for cells, _, _ in rows for cell in cells], names, draw)
            yield Sheet(figure, label, ending)


def performance_profiles(comparison: Comparison, look: Mapping[str, Look]) -> Iterator[Sheet]:
    """Share of runs whose normalised final value exceeds τ, with pointwise 95% bootstrap bands."""

    def draw(axes: Axes, panel: Panel) -> None:
        for arm in dict.fromkeys(cell.arm for cell in panel.cells):
            own, finals = look[arm.series], normalised_finals(arms[arm])
            value, low, high = aggregate.performance_profile(finals, thresholds)
            axes.fill_between(thresholds, low, high, color=own.color, alpha=0.15, linewidth=0, step="post")
            axes.plot(thresholds, value, drawstyle="steps-post", label=arm.series, **own.curve)
        axes.set_ylim(SHARE)
        axes.set_xlabel("normalised score τ")

    scaled, thresholds = comparison.scaled, np.linspace(0, 1, PROFILE_POINTS)
    arms = {arm: own for arm, own in comparison.complete_arms.items() if not single_run(own)}
    if not arms:
        return
    several = len(canvas.by_buffer(comparison, scaled[0])) > 1
    by_size = "buffer.size" in comparison.grouping.keys
    places = {arm: (arm.buffer or 0 if by_size else 0, arm.lag) for arm in arms}
    panels = [
        Panel(
            f"lag {lag}" if lag is not None else f"buffer {value_words(size)}" if size and several else "",
            [cell for arm, own in arms.items() if places[arm] == (size, lag) for cell in own],
        )
        for size, lag in sorted(set(places.values()), key=lambda place: (place[0], place[1] or 0))
    ]
    legend = series_legend((cell for own in arms.values() for cell in own), look, markers=False)
    heading = scaled[0].label if len(scaled) == 1 else f"over {len(scaled)} environments"
    yield Sheet(draw_panels(heading, panels, draw, legend, ylabel="share of runs above τ"))
