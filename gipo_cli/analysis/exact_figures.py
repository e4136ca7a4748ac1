"""Figures of the exact study. Colours, markers and dashes are handed in, so that they match other figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.analysis.exact_study import Outcome
from gipo_cli.analysis.frontier import LEVELS, SCALES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Look = tuple[str, str, Any]
"""Colour, marker, dashes."""

VARIANTS = ("gipo", "gipo_upper", "gipo_laplacian", "gipo_cauchy")
SHOWN = ("random 1", "random 4", "lagged 4", "lagged 16")


def frontiers(outcomes: Sequence[Outcome], looks: Mapping[str, Look], variants: bool) -> Figure:
    """Least variance at a given bias, by family; ``variants``: GIPO's kernels and sides, not its rivals.

    The line is the median over pairs; no line where most pairs do not reach that bias.
    """
    from matplotlib.figure import Figure

    shown = [one for one in outcomes if one.case.name in SHOWN]
    figure = Figure(figsize=(4.0 * len(shown), 7.6), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex=True, sharey="row", squeeze=False)
    for row, scale in zip(axes, SCALES, strict=True):
        for axis, outcome in zip(row, shown, strict=True):
            for name, line in _lines(outcome, scale, variants):
                color, marker, dash = looks[name]
                axis.plot(LEVELS, line, color=color, marker=marker, ls=dash, markevery=6, label=name)
            axis.set(
                xscale="log",
                yscale="log" if scale == "raw" else "linear",
                title=f"{outcome.case.name}, {scale.replace('_', '-')}",
            )
            axis.yaxis.set_minor_formatter("")
        row[0].set_ylabel("variance / variance of no_clip")
    for axis in axes[-1]:
        axis.set_xlabel("bias$^2$ / ||reference||$^2$")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 8))
    return figure


def duels(outcomes: Sequence[Outcome]) -> Figure:
    """GIPO's variance over each rival's at equal bias, in every setting: a table in colour and numbers."""
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    rivals = [name for name in outcomes[0].duels["raw"] if name != "no_clip"]
    figure = Figure(figsize=(13.5, 6.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    norm = TwoSlopeNorm(0.0, np.log(0.5), np.log(2.0))
    for axis, scale in zip(axes, SCALES, strict=True):
        ratio = np.array([[s.duels[scale][r].variance_ratio for s in outcomes] for r in rivals])
        image = axis.imshow(np.log(ratio), cmap="PuOr_r", norm=norm, aspect="auto")
        axis.set_xticks(range(len(outcomes)), [s.case.name for s in outcomes], rotation=35, ha="right")
        axis.set_yticks(range(len(rivals)), rivals)
        axis.set_title(scale.replace("_", "-"))
        axis.grid(visible=False)
        for (i, j), value in np.ndenumerate(ratio):
            strong = abs(np.log(value)) > 0.45
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if strong else "black")
    bar = figure.colorbar(image, ax=axes, shrink=0.85, label="GIPO's variance / rival's, at equal bias")
    ticks = (0.5, 0.7, 1.0, 1.4, 2.0)
    bar.set_ticks(np.log(ticks).tolist(), labels=[f"{t:g}" for t in ticks])
    return figure


def _lines(outcome: Outcome, scale: str, variants: bool) -> Iterator[tuple[str, NDArray[np.float64]]]:
    names = [swept.name for swept in outcome.swept]
    best = dict(zip(names, outcome.best[scale], strict=True))
    # What does not clip has one point, whose variance is the same at every level.
    unclipped = best["no_clip"].variance[-1]
    for name in names:
        if name == "no_clip" or ((name in VARIANTS) != variants and name != "gipo"):
            continue
        line = (best[name].variance / unclipped).quantile(0.5, 1)
        yield name, np.where(line.isfinite(), line, np.nan)
