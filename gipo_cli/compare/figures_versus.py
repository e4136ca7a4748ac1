"""Figures of groups against each other: probability of improvement and performance profiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gipo_cli.compare.aggregate import Interval, performance_profile
from gipo_cli.compare.canvas import SHARE, Picture, error_bar, facets, row_sheet, series_legend, sheet
from gipo_cli.compare.comparison import Cell, Comparison, Environment
from gipo_cli.compare.grouping import Arm
from gipo_cli.compare.style import INK, looks
from gipo_cli.compare.summary import ALL, improvement, normalised_finals, single_run
from gipo_cli.compare.words import value_words

PROFILE_POINTS = 101


def probability_of_improvement(comparison: Comparison) -> Iterator[Picture]:
    """P(a run beats one of the baseline), by environment and over all."""
    look = looks(comparison.arms)
    places = [(env.label, env.ending, [env]) for env in comparison.environments]
    if len(comparison.scaled) > 1:
        places.append((ALL, "_all", list(comparison.scaled)))
    for label, ending, members in places:
        rows = list(_improvements(comparison, members))
        if not rows:
            continue
        rivals = {rival.series for _, rival, _ in rows}
        several = len(rivals) > 1
        named = [cells[0].arm.label + f" over {rival.label}" * several for cells, rival, _ in rows]
        figure, axes = row_sheet(label, [cell for cells, _, _ in rows for cell in cells], named)
        for line, (cells, _, chance) in enumerate(rows):
            error_bar(axes, chance.value, line, chance, look[cells[0].arm.series], along="x")
        axes.axvline(0.5, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(SHARE)
        axes.set_xlabel("P(better than baseline)" if several else f"P(better than {rivals.pop()})")
        yield Picture(
            f"probability_of_improvement{ending}",
            f"Probability of improvement: {label}",
            "Probability that a run of the first group ends higher than one of the second, ties counted "
            "half, with its 95% bootstrap interval. An interval that holds 0.5 (dotted) includes no "
            "difference.",
            figure,
        )


def _improvements(
    comparison: Comparison, members: Sequence[Environment]
) -> Iterator[tuple[list[Cell], Arm, Interval]]:
    """Arms that ran in all of some environments, as their baseline did: cells, baseline and probability."""
    for arm, baseline in comparison.baselines.items():
        ours, theirs = (
            [cell for env in members if (cell := comparison.cells.get((env.label, own)))]
            for own in (arm, baseline)
        )
        if arm == baseline or not len(ours) == len(theirs) == len(members):
            continue
        if (chance := improvement(ours, theirs)) is not None:
            yield ours, baseline, chance


def performance_profiles(comparison: Comparison) -> Iterator[Picture]:
    """Share of runs above each normalised score, over all environments with a scale."""
    look, scaled = looks(comparison.arms), comparison.scaled
    arms = {arm: own for arm, own in comparison.complete_arms.items() if not single_run(own)}
    cells = [cell for own in arms.values() for cell in own]
    if not cells:
        return
    several = len(facets(comparison, scaled[0])) > 1
    by_size = "buffer.size" in comparison.grouping.keys
    sizes = sorted({arm.buffer for arm in arms}, key=lambda size: size or 0) if by_size else [None]
    figure, axes = sheet(
        scaled[0].label if len(scaled) == 1 else f"over {len(scaled)} environments",
        cells,
        [f"buffer {value_words(size)}" if size and several else "" for size in sizes],
        series_legend(cells, look, markers=False),
        ylabel="share of runs above τ",
    )
    thresholds = np.linspace(0, 1, PROFILE_POINTS)
    for axis, size in zip(axes, sizes, strict=True):
        for arm in (arm for arm in arms if not by_size or arm.buffer == size):
            own = look[arm.series]
            value, low, high = performance_profile(normalised_finals(arms[arm]), thresholds)
            axis.fill_between(thresholds, low, high, color=own.color, alpha=0.15, linewidth=0, step="post")
            axis.plot(thresholds, value, drawstyle="steps-post", label=arm.series, **own.curve)
        axis.set_ylim(SHARE)
        axis.set_xlabel("normalised score τ")
    yield Picture(
        "performance_profiles",
        "Performance profiles",
        "Share of runs whose normalised final value exceeds τ, with pointwise 95% bootstrap bands.",
        figure,
    )
