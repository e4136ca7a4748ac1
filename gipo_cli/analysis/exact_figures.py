"""Figures of the exact study. Colours, markers and dashes are handed in, so that they match other figures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.analysis.exact_settings import SCALES, Study
from gipo_cli.analysis.frontier import frontier

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Look = tuple[str, str, Any]
"""Colour, marker, dashes."""

LEVELS = np.geomspace(1e-3, 0.5, 25)
TITLES = {"raw": "raw", "scale_free": "scale-free"}
VARIANTS = ("gipo", "gipo_upper", "gipo_laplacian", "gipo_cauchy")
SHOWN = ("random 1", "random 4", "lagged 4", "lagged 16")


def frontiers(studies: Sequence[Study], looks: Mapping[str, Look], variants: bool) -> Figure:
    """Least variance at a given bias, by family; ``variants``: GIPO's kernels and sides, not its rivals.

    The line is the median over pairs; no line where most pairs do not reach that bias.
    """
    from matplotlib.figure import Figure

    shown = [s for s in studies if s.setting.name in SHOWN]
    figure = Figure(figsize=(4.0 * len(shown), 7.6), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex=True, sharey="row", squeeze=False)
    for row, scale in zip(axes, SCALES, strict=True):
        for axis, study in zip(row, shown, strict=True):
            for name, line in _lines(study, scale, variants):
                color, marker, dash = looks[name]
                axis.plot(LEVELS, line, color=color, marker=marker, ls=dash, markevery=6, label=name)
            axis.set(
                xscale="log",
                yscale="log" if scale == "raw" else "linear",
                title=f"{study.setting.name}, {TITLES[scale]}",
            )
            axis.yaxis.set_minor_formatter("")
        row[0].set_ylabel("variance / variance of no_clip")
    for axis in axes[-1]:
        axis.set_xlabel("bias$^2$ / ||reference||$^2$")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 8))
    return figure


def duels(studies: Sequence[Study]) -> Figure:
    """GIPO's variance over each rival's at equal bias, in every setting: a table in colour and numbers."""
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    rivals = [name for name in studies[0].duels["raw"] if name != "no_clip"]
    figure = Figure(figsize=(13.5, 6.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    norm = TwoSlopeNorm(0.0, np.log(0.5), np.log(2.0))
    for axis, scale in zip(axes, SCALES, strict=True):
        ratio = np.array([[s.duels[scale][r].variance_ratio for s in studies] for r in rivals])
        image = axis.imshow(np.log(ratio), cmap="PuOr_r", norm=norm, aspect="auto")
        axis.set_xticks(range(len(studies)), [s.setting.name for s in studies], rotation=35, ha="right")
        axis.set_yticks(range(len(rivals)), rivals)
        axis.set_title(TITLES[scale])
        axis.grid(visible=False)
        for (i, j), value in np.ndenumerate(ratio):
            strong = abs(np.log(value)) > 0.45
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if strong else "black")
    bar = figure.colorbar(image, ax=axes, shrink=0.85, label="GIPO's variance / rival's, at equal bias")
    ticks = (0.5, 0.7, 1.0, 1.4, 2.0)
    bar.set_ticks(np.log(ticks).tolist(), labels=[f"{t:g}" for t in ticks])
    return figure


def _lines(study: Study, scale: str, variants: bool) -> list[tuple[str, NDArray[np.float64]]]:
    unclipped = next(s for s in study.sweeps if s.family.name == "no_clip").points(scale)[1][0]
    lines = []
    for sweep in study.sweeps:
        name = sweep.family.name
        if name == "no_clip" or ((name in VARIANTS) != variants and name != "gipo"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            line = np.median(frontier(*sweep.points(scale), LEVELS) / unclipped, axis=1)
        lines.append((name, np.where(np.isfinite(line), line, np.nan)))
    return lines
