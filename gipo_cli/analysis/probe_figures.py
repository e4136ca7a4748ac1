"""Figures of a run's probes. Colours, markers and dashes are handed in, so that they match other figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gipo_cli.analysis.probe import ProbeRow, least_mse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Look = tuple[str, str, Any]
"""Colour, marker, dashes."""

TITLES = {"importance_sampled": "importance-sampled reference", "on_policy": "on-policy reference"}
PANELS = 4
LETTERS_PER_INCH = 10
LEGEND_LINE = 0.27
INK = "#6b6d76"
RING: dict[str, Any] = {"marker": "o", "ms": 15, "mfc": "none", "mew": 1.5, "ls": ""}


def frontiers(found: Mapping[int, Sequence[ProbeRow]], looks: Mapping[str, Look]) -> Figure:
    """Variance against bias^2 of every family at up to four checkpoints, for both references.

    Bars are one standard error of bias^2. Hollow markers at the left edge are estimates at or below 0, too
    small to be seen, and no line leads to them; the trained objective has a ring around it.
    """
    from matplotlib.figure import Figure

    steps = _spread(sorted(found), PANELS)
    figure = Figure(figsize=(max(4.4 * len(steps), 6.4), 8.4), layout="constrained")
    axes = figure.subplots(2, len(steps), squeeze=False)
    for row, (reference, title) in zip(axes, TITLES.items(), strict=True):
        for axis, step in zip(row, steps, strict=True):
            rows = [r for r in found[step] if r.reference == reference and r.variance > 0]
            seen = [r.bias2 for r in rows if r.bias2 > 0]
            floor = 0.5 * min(seen, default=1.0)
            for family in dict.fromkeys(r.family for r in rows):
                _family(axis, [r for r in rows if r.family == family], looks[family], floor)
            axis.set(xscale="log", yscale="log", title=f"step {step:,}\n{title}", xlabel="bias$^2$")
            axis.xaxis.set_minor_formatter("")
        row[0].set_ylabel("variance per sample")
    _legend(figure, {**_named(axes.flat), **_signs()})
    return figure


def best_knobs(found: Mapping[int, Sequence[ProbeRow]], looks: Mapping[str, Look]) -> Figure:
    """The knob value with the least estimated MSE of each swept family, over training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (reference, title) in zip(axes, TITLES.items(), strict=True):
        best = {step: least_mse(rows, reference) for step, rows in sorted(found.items())}
        for family in _swept(found.values()):
            points = [(s, b[family].value) for s, b in best.items() if family in b]
            color, marker, dash = looks[family]
            axis.plot(*zip(*points, strict=True), color=color, marker=marker, ls=dash, label=family)
        axis.set(yscale="log", title=title, xlabel="environment steps")
        if len(found) == 1:
            axis.set_xticks(list(found))
    axes[0].set_ylabel("knob value with least MSE")
    _legend(figure, _named(axes))
    return figure


def _named(axes: Iterable[Any]) -> dict[str, Any]:
    """Legend handles of everything that is drawn in any of the panels, by label."""
    found: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found |= {label: handle for handle, label in zip(handles, labels, strict=True) if label not in found}
    return found


def _signs() -> dict[str, Any]:
    from matplotlib.lines import Line2D

    return {
        "in training": Line2D([], [], **RING, mec=INK),
        "bias² ≤ 0": Line2D([], [], marker="o", mfc="white", color=INK, ls=""),
    }


def _legend(figure: Figure, handles: Mapping[str, Any]) -> None:
    """A legend below all panels, in as many columns as the picture is wide enough for."""
    if not handles:
        return
    width, height = figure.get_size_inches()
    ncols = int(width * LETTERS_PER_INCH) // (max(map(len, handles)) + 7)
    ncols = max(1, min(len(handles), ncols))
    figure.set_size_inches(width, height + LEGEND_LINE * (math.ceil(len(handles) / ncols) - 1))
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=ncols)


def _family(axis: Any, rows: Sequence[ProbeRow], look: Look, floor: float) -> None:
    color, marker, dash = look
    rows = sorted(rows, key=lambda r: r.value or 0.0)
    x = [max(r.bias2, floor) for r in rows]
    y = [r.variance for r in rows]
    seen = [height if r.bias2 > 0 else math.nan for r, height in zip(rows, y, strict=True)]
    axis.plot(x, seen, color=color, ls=dash, marker=marker, label=rows[0].family)
    for r, at, height in zip(rows, x, y, strict=True):
        if r.bias2 <= 0:
            axis.plot(at, height, color=color, marker=marker, mfc="white", ls="")
        elif r.bias2_se < r.bias2:
            axis.errorbar(at, height, xerr=r.bias2_se, color=color, alpha=0.6)
        if r.trained:
            axis.plot(at, height, **RING, mec=color)


def _swept(measurements: Iterable[Sequence[ProbeRow]]) -> list[str]:
    values: dict[str, set[float | None]] = {}
    for row in (row for rows in measurements for row in rows):
        values.setdefault(row.family, set()).add(row.value)
    return [family for family, seen in values.items() if len(seen) > 1]


def _spread(steps: Sequence[int], count: int) -> list[int]:
    if len(steps) <= count:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]
