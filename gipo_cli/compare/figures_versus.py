"""Figures of groups against each other: probability of improvement and performance profiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gipo_cli.compare.aggregate import Estimate, performance_profile
from gipo_cli.compare.canvas import (
    Picture,
    add_legend,
    environments,
    facets,
    header,
    interval,
    key,
    left_labels,
    panels,
    row_labels,
    row_panel,
    series_labels,
    span,
)
from gipo_cli.compare.comparison import Cell, Comparison, Environment
from gipo_cli.compare.style import INK, looks
from gipo_cli.compare.summary import ALL, improvement, normalised_finals, single_run
from gipo_cli.compare.words import value_words

PROFILE_POINTS = 101


def probability_of_improvement(comparison: Comparison) -> Iterator[Picture]:
    """P(a run beats one of the baseline), by environment and over all."""
    groups = [(environment.label, [environment]) for environment in comparison.environments]
    if len(comparison.scaled) > 1:
        groups.append((ALL, list(comparison.scaled)))
    for (label, members), ending in zip(
        groups, [*(end for _, end in environments(comparison)), "_all"], strict=False
    ):
        rows = list(_improvements(comparison, members))
        if not rows:
            continue
        cells = [cell for cells, _, _ in rows for cell in cells]
        figure, axes = row_panel(len(rows), header=header(label, cells))
        look = looks(comparison.arms)
        for line, (own, _, chance) in enumerate(rows):
            interval(axes, chance.value, line, chance, look[own[0].arm.series], along="x")
        rivals = {other[0].arm.series for _, other, _ in rows}
        named = [
            own[0].arm.label + (f" over {other[0].arm.label}" if len(rivals) > 1 else "")
            for own, other, _ in rows
        ]
        row_labels(axes, named)
        axes.axvline(0.5, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("P(better than baseline)" if len(rivals) > 1 else f"P(better than {rivals.pop()})")
        yield Picture(
            f"probability_of_improvement{ending}",
            f"Probability of improvement: {label}",
            "Probability that a run of the first group ends higher than one of the second, ties counted "
            "half, with its 95% "
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
        if arm == baseline or not len(ours) == len(theirs) == len(members):
            continue
        if (chance := improvement(ours, theirs)) is not None:
            yield ours, theirs, chance


def performance_profiles(comparison: Comparison) -> Iterator[Picture]:
    """Share of runs above each normalised score, over all environments with a scale."""
    look = looks(comparison.arms)
    arms = {arm: own for arm, own in comparison.complete_arms.items() if not single_run(own)}
    cells = [cell for own in arms.values() for cell in own]
    if not cells:
        return
    titles = [facet.title for facet in facets(comparison, comparison.scaled[0])]
    by_size = "buffer.size" in comparison.grouping.keys
    sizes = sorted({arm.buffer for arm in arms}, key=lambda size: size or 0) if by_size else [None]
    labels = series_labels(cells)
    figure, axes = panels(len(sizes), header=header(_over(comparison), cells), legend=list(labels.values()))
    thresholds = np.linspace(0, 1, PROFILE_POINTS)
    for axis, size in zip(axes, sizes, strict=True):
        axis.set_title(f"buffer {value_words(size)}" if size and len(titles) > 1 else "")
        for arm in (arm for arm in arms if not by_size or arm.buffer == size):
            own = look[arm.series]
            value, low, high = performance_profile(normalised_finals(arms[arm]), thresholds)
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
    count = len(comparison.scaled)
    return comparison.scaled[0].label if count == 1 else f"over {span({count})} environments"
