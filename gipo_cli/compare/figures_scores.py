"""Figures of final values: by group, buffer size and lag, against the baseline, and as profiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gipo_cli.compare.aggregate import Estimate, estimate, iqm, performance_profile
from gipo_cli.compare.canvas import (
    Picture,
    add_legend,
    count_axis,
    environments,
    error_bars,
    facets,
    header,
    key,
    left_labels,
    log_axis,
    panels,
    rate_axis,
    series_labels,
    span,
)
from gipo_cli.compare.comparison import Cell, Comparison, Environment
from gipo_cli.compare.style import INK, Look, looks
from gipo_cli.compare.summary import ALL, improvement, normalised_finals
from gipo_cli.compare.words import count_words

ROW_HEIGHT = 0.36
X_MARGIN = 0.9
PROFILE_POINTS = 101


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    """One labelled line per group, the first on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _interval(axes: Axes, x: float, y: float, estimate: Estimate, look: Look, *, along: str) -> None:
    bars = error_bars(estimate.value, estimate.low, estimate.high)
    axes.errorbar(
        x, y, **{f"{along}err": bars}, color=look.color, marker=look.marker, fillstyle=look.fill, capsize=3, zorder=3
    )


def final_scores(comparison: Comparison) -> Iterator[Picture]:
    """Final value of every group as a line of its own: IQM, interval and every run."""
    look = looks(comparison.arms)
    for environment, ending in environments(comparison):
        cells = comparison.of(environment)
        figure, (axes,) = panels(1, header=header(environment.label, cells), height=X_MARGIN + ROW_HEIGHT * len(cells))
        for line, cell in enumerate(cells):
            own = look[cell.arm.series]
            axes.plot(cell.finals, np.full(len(cell.finals), line + 0.22), "|", color=own.color, alpha=0.7, label="_run")
            score = estimate([cell.finals])
            _interval(axes, score.value, line, score, own, along="x")
        _rows(axes, list(series_labels(cells, whole=True).values()))
        axes.set_xlabel(f"final {comparison.metric.title}")
        if comparison.metric.is_rate:
            axes.set_xlim(-0.03, 1.03)
        yield Picture(
            f"final_scores{ending}",
            f"Final value: {environment.label}",
            "Marker: interquartile mean over seeds; bar: 95% bootstrap interval; ticks: every run.",
            figure,
        )


def final_vs_buffer(comparison: Comparison) -> Iterator[Picture]:
    """Final value against buffer size, one line per series; series stand side by side so that bars stay apart."""
    sizes = sorted({arm.buffer for arm in comparison.arms if arm.buffer})
    if len(sizes) < 2:
        return
    series = list(dict.fromkeys(arm.series for arm in comparison.arms))
    aside = {name: 1.025 ** (index - (len(series) - 1) / 2) for index, name in enumerate(series)}
    picture, axes = _against(
        comparison,
        Picture("final_vs_buffer", "Final value against buffer size", "", Figure()),
        lambda cell: aside[cell.arm.series] * (cell.arm.buffer or np.nan),
    )
    for axis in axes:
        log_axis(axis.xaxis, sizes[0], sizes[-1])
        axis.set_xticks(sizes[:: -(-len(sizes) // 5)], [count_words(size) for size in sizes[:: -(-len(sizes) // 5)]])
        axis.set_xlabel("buffer size (transitions)")
    yield picture


def final_vs_lag(comparison: Comparison) -> Iterator[Picture]:
    """Final value against the lag that was measured, one line per series."""
    lags = {key: float(iqm(cell.averages("health/lag_mean"))) for key, cell in comparison.cells.items()}
    known = [lag for lag in lags.values() if np.isfinite(lag)]
    if not known:
        return
    picture, axes = _against(
        comparison,
        Picture(
            "final_vs_lag",
            "Final value against measured policy lag",
            " Lag is the mean over training of learner version minus behaviour version.",
            Figure(),
        ),
        lambda cell: lags[cell.environment.label, cell.arm],
    )
    for axis in axes:
        if min(known) > 0:
            log_axis(axis.xaxis, min(known), max(known))
        axis.set_xlabel("mean policy lag (updates)")
    yield picture


def _against(
    comparison: Comparison, picture: Picture, position: Callable[[Cell], float]
) -> tuple[Picture, list[Axes]]:
    look = looks(comparison.arms)
    cells = list(comparison.cells.values())
    labels = series_labels(cells)
    figure, axes = panels(
        len(comparison.environments),
        header=header(f"{comparison.metric.title}, last tenth of training", cells),
        legend=list(labels.values()),
    )
    for axis, environment in zip(axes, comparison.environments, strict=True):
        axis.set_title(environment.label)
        own = comparison.of(environment)
        for series in dict.fromkeys(cell.arm.series for cell in own):
            points = [(position(cell), cell) for cell in own if cell.arm.series == series]
            _line(axis, [point for point in points if np.isfinite(point[0])], look[series])
        rate_axis(axis, comparison)
    left_labels(axes, f"final {comparison.metric.title}")
    add_legend(figure, {labels[series]: key(look[series], markers=True) for series in labels})
    caption = f"Marker: interquartile mean over seeds; bar: 95% bootstrap interval; dots: every run.{picture.caption}"
    return replace(picture, caption=caption, figure=figure), axes


def _line(axes: Axes, points: Sequence[tuple[float, Cell]], look: Look) -> None:
    points = sorted(points, key=lambda point: point[0])
    scores = [estimate([cell.finals]) for _, cell in points]
    axes.plot([x for x, _ in points], [score.value for score in scores], zorder=2, **look.line)
    for (x, cell), score in zip(points, scores, strict=True):
        axes.plot(np.full(len(cell.finals), x), cell.finals, ".", color=look.color, alpha=0.45, ms=4, label="_run")
        _interval(axes, x, score.value, score, look, along="y")


def sample_efficiency(comparison: Comparison) -> Iterator[Picture]:
    """Steps to the threshold by run; runs that never reach it stand beyond the end, counted."""
    look = looks(comparison.arms)
    for environment, ending in environments(comparison):
        cells = comparison.of(environment)
        text = f"{environment.label}: steps to {comparison.metric.title} {environment.threshold:.3g}"
        figure, (axes,) = panels(1, header=header(text, cells), height=X_MARGIN + ROW_HEIGHT * len(cells))
        beyond = environment.horizon * 1.1
        for line, cell in enumerate(cells):
            own, there = look[cell.arm.series], np.isfinite(cell.reached)
            steps = np.sort(np.where(there, cell.reached, beyond))
            offsets = line + np.linspace(-0.3, 0.3, len(steps)) * (len(steps) > 1)
            reached = steps < beyond
            points = {"ls": "", "ms": 5, "color": own.color, "alpha": 0.85}
            axes.plot(steps[reached], offsets[reached], marker=own.marker, fillstyle=own.fill, label="reached", **points)
            axes.plot(steps[~reached], offsets[~reached], marker="x", label="never", **points)
        axes.axvline(environment.horizon, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(0, environment.horizon * 1.16)
        _rows(axes, [cell.arm.label for cell in cells])
        count_axis(axes, "environment steps (x: never reached)")
        counts = axes.secondary_yaxis("right")
        counts.set_yticks(range(len(cells)), [f"{np.isfinite(c.reached).sum()} of {len(c.runs)}" for c in cells])
        counts.tick_params(length=0)
        counts.spines["right"].set_visible(False)
        counts.set_ylabel("reached")
        yield Picture(
            f"sample_efficiency{ending}",
            f"Sample efficiency: {environment.label}",
            "One marker per run at the first evaluation that reaches the threshold; a cross beyond the dotted end of training "
            "is a run that never does.",
            figure,
        )


def probability_of_improvement(comparison: Comparison) -> Iterator[Picture]:
    """P(a run beats one of the baseline), by environment and over all."""
    groups = [(environment.label, [environment]) for environment in comparison.environments]
    if len(comparison.environments) > 1:
        groups.append((ALL, list(comparison.environments)))
    for (label, members), ending in zip(groups, [*(end for _, end in environments(comparison)), "_all"], strict=False):
        rows = list(_improvements(comparison, members))
        if not rows:
            continue
        cells = [cell for cells, _, _ in rows for cell in cells]
        figure, (axes,) = panels(1, header=header(label, cells), height=X_MARGIN + ROW_HEIGHT * len(rows))
        look = looks(comparison.arms)
        for line, (own, _, chance) in enumerate(rows):
            _interval(axes, chance.value, line, chance, look[own[0].arm.series], along="x")
        rivals = {other[0].arm.series for _, other, _ in rows}
        named = [own[0].arm.label + (f" over {other[0].arm.label}" if len(rivals) > 1 else "") for own, other, _ in rows]
        _rows(axes, named)
        axes.axvline(0.5, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("P(better than baseline)" if len(rivals) > 1 else f"P(better than {rivals.pop()})")
        yield Picture(
            f"probability_of_improvement{ending}",
            f"Probability of improvement: {label}",
            "Probability that a run of the first group ends higher than one of the second, ties counted half, with its 95% "
            "bootstrap interval. An interval that holds 0.5 (dotted) includes no difference.",
            figure,
        )


def _improvements(
    comparison: Comparison, members: Sequence[Environment]
) -> Iterator[tuple[list[Cell], list[Cell], Estimate]]:
    for arm, baseline in comparison.baselines.items():
        own = [comparison.cells.get((environment.label, arm)) for environment in members]
        other = [comparison.cells.get((environment.label, baseline)) for environment in members]
        ours, theirs = [cell for cell in own if cell], [cell for cell in other if cell]
        if arm != baseline and len(ours) == len(theirs) == len(members):
            yield ours, theirs, improvement(ours, theirs)


def performance_profiles(comparison: Comparison) -> Iterator[Picture]:
    """Share of runs above each normalised score, over all environments."""
    look = looks(comparison.arms)
    arms = comparison.complete_arms
    cells = [cell for arm in arms for cell in comparison.by_arm(arm)]
    if not cells:
        return
    titles = [facet.title for facet in facets(comparison, comparison.environments[0])]
    sizes = dict.fromkeys(arm.buffer for arm in sorted(arms, key=lambda arm: arm.buffer or 0))
    labels = series_labels(cells)
    figure, axes = panels(len(sizes), header=header(_over(comparison), cells), legend=list(labels.values()))
    thresholds = np.linspace(0, 1, PROFILE_POINTS)
    for axis, size in zip(axes, sizes, strict=True):
        axis.set_title(f"buffer {count_words(size)}" if size and len(titles) > 1 else "")
        for arm in (arm for arm in arms if arm.buffer == size):
            own = look[arm.series]
            value, low, high = performance_profile(normalised_finals(comparison.by_arm(arm)), thresholds)
            axis.fill_between(thresholds, low, high, color=own.color, alpha=0.15, linewidth=0, step="post")
            axis.plot(thresholds, value, drawstyle="steps-post", label=arm.series, **own.curve)
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("normalised score τ")
    left_labels(axes, "share of runs above τ")
    add_legend(figure, {labels[series]: key(look[series], markers=False) for series in labels})
    yield Picture(
        "performance_profiles",
        "Performance profiles",
        "Share of runs whose normalised final value exceeds τ, with pointwise 95% bootstrap bands.",
        figure,
    )


def _over(comparison: Comparison) -> str:
    count = len(comparison.environments)
    return comparison.environments[0].label if count == 1 else f"over {span({count})} environments"
