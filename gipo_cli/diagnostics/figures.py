"""Figures of a run's probes. Colours, markers and dashes are handed in, so that they match other figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gipo_cli.diagnostics.probe import ProbeRow, least_mse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Look = tuple[str, str, Any]
"""Colour, marker, dashes."""

REFERENCES = {"importance_sampled": "importance-sampled reference", "on_policy": "on-policy reference"}
PANELS = 4


def frontiers(found: Mapping[int, Sequence[ProbeRow]], looks: Mapping[str, Look]) -> Figure:
    """Variance against bias^2 of every family at up to four checkpoints, for both references.

    Bars are one standard error of bias^2. Hollow markers at the left edge are estimates at or below 0, too
    small to be seen; the trained objective has a ring around it.
    """
    from matplotlib.figure import Figure

    steps = _spread(sorted(found), PANELS)
    figure = Figure(figsize=(4.4 * len(steps), 8.4), layout="constrained")
    axes = figure.subplots(2, len(steps), squeeze=False)
    for row, (reference, title) in zip(axes, REFERENCES.items(), strict=True):
        for axis, step in zip(row, steps, strict=True):
            rows = [r for r in found[step] if r.reference == reference and r.variance > 0]
            seen = [r.bias2 for r in rows if r.bias2 > 0]
            floor = 0.5 * min(seen, default=1.0)
            for family in dict.fromkeys(r.family for r in rows):
                _family(axis, [r for r in rows if r.family == family], looks[family], floor)
            axis.set(xscale="log", yscale="log", title=f"step {step:,}\n{title}", xlabel="bias$^2$")
            axis.xaxis.set_minor_formatter("")
        row[0].set_ylabel("variance per sample")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 8))
    return figure


def best_knobs(found: Mapping[int, Sequence[ProbeRow]], looks: Mapping[str, Look]) -> Figure:
    """The knob value with the least estimated MSE of each swept family, over training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (reference, title) in zip(axes, REFERENCES.items(), strict=True):
        best = {step: least_mse(rows, reference) for step, rows in sorted(found.items())}
        for family in _swept(found.values()):
            points = [(s, b[family].value) for s, b in best.items() if family in b]
            color, marker, dash = looks[family]
            axis.plot(*zip(*points, strict=True), color=color, marker=marker, ls=dash, label=family)
        axis.set(yscale="log", title=title, xlabel="environment steps")
    axes[0].set_ylabel("knob value with least MSE")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(len(labels), 1))
    return figure


def _family(axis: Any, rows: Sequence[ProbeRow], look: Look, floor: float) -> None:
    color, marker, dash = look
    rows = sorted(rows, key=lambda r: r.value or 0.0)
    x = [max(r.bias2, floor) for r in rows]
    y = [r.variance for r in rows]
    axis.plot(x, y, color=color, ls=dash, marker=marker, label=rows[0].family)
    for r, at, height in zip(rows, x, y, strict=True):
        if r.bias2 <= 0:
            axis.plot(at, height, color=color, marker=marker, mfc="white", ls="")
        elif r.bias2_se < r.bias2:
            axis.errorbar(at, height, xerr=r.bias2_se, color=color, alpha=0.6)
        if r.trained:
            axis.plot(at, height, marker="o", ms=15, mfc="none", mec=color, mew=1.5, ls="")


def _swept(measurements: Iterable[Sequence[ProbeRow]]) -> list[str]:
    values: dict[str, set[float | None]] = {}
    for row in (row for rows in measurements for row in rows):
        values.setdefault(row.family, set()).add(row.value)
    return [family for family, seen in values.items() if len(seen) > 1]


def _spread(steps: Sequence[int], count: int) -> list[int]:
    if len(steps) <= count:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]
