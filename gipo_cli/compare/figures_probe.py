"""Figures of what the runs measured about their estimators: bias against variance, and the best setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes

from gipo_cli.compare import canvas
from gipo_cli.compare.canvas import Panel, Sheet, draw_panels
from gipo_cli.compare.comparison import Comparison
from gipo_cli.compare.probes import PREFIX, Probe, Variant, best, measured, medians, swept
from gipo_cli.compare.style import Look, variant_looks
from gipo_cli.compare.tables import FloatArray
from gipo_cli.compare.words import objective_words, setting_name

STAGES = ("first third", "last third")
NO_MEASUREMENT = "no finite measurement"


@dataclass(frozen=True)
class Frontiers(Panel):
    """Points ``[settings, 2]`` of squared bias and variance by variant, in the order of its parameter."""

    points: Mapping[Variant, FloatArray]


def bias_variance(comparison: Comparison, _: Mapping[str, Look]) -> Iterator[Sheet]:
    """Median over runs and measurements of that third of training; one line per objective over its parameter.

    A run measures its own objective with its own other settings, the others with their defaults; each such
    variant is a line, from the data of the runs that measured it.
    A hollow marker on the left edge is a squared bias estimated at or below zero: too small to be measured.
    A measurement that overflowed counts as infinite.
    """

    def draw(axes: Axes, panel: Frontiers) -> None:
        _draw_frontiers(axes, panel.points, look)
        axes.set_xlabel("squared bias")

    for environment, reference, probes in measured(comparison):
        panels = [
            Frontiers(
                ", ".join(filter(None, [probe.title, words])),
                probe.cells,
                medians(probe, environment.horizon, stage),
            )
            for probe in probes
            for stage, words in enumerate(STAGES)
        ]
        variants = sorted({variant for panel in panels for variant in panel.points})
        if not variants:
            continue
        # A hollow marker has a meaning here, so variants differ by shade alone.
        shades = variant_looks((variant.family, variant) for variant in variants)
        look = {variant: replace(own, fill="full") for variant, own in shades.items()}
        legend = {variant.words: canvas.handle(own, markers=True) for variant, own in look.items()}
        place = _place(environment.label, reference)
        figure = draw_panels(place, panels, draw, legend, ylabel="variance per sample")
        yield Sheet(figure, place, f"{environment.ending}_{reference}")


def _place(environment: str, reference: str) -> str:
    return f"{environment}, reference: {reference.replace('_', ' ')}"


def _draw_frontiers(axes: Axes, points: Mapping[Variant, FloatArray], look: Mapping[Variant, Look]) -> None:
    """One line per variant; squared biases that are not positive stand hollow at the left edge."""
    if not points:
        canvas.blank(axes, NO_MEASUREMENT)
        return
    bias2, variance = np.concatenate([*points.values()]).T
    positive = bias2[bias2 > 0]
    edge = positive.min() / 3 if positive.size else 1.0
    for variant, found in points.items():
        own, x = look[variant], np.maximum(found[:, 0], edge)
        axes.plot(x, found[:, 1], linewidth=1.3, label=variant.key, **own.curve)
        for point in zip(x, found[:, 1], strict=True):
            fill = "none" if point[0] == edge else "full"
            axes.plot(*point, marker=own.marker, color=own.color, fillstyle=fill)
    canvas.log_axis(axes, "x", edge, max([edge, *positive]))
    canvas.log_axis(axes, "y", min(variance), max(variance))


def best_setting(comparison: Comparison, _: Mapping[str, Look]) -> Iterator[Sheet]:
    """The setting whose estimated mean squared error at the batch size in use is lowest (median over runs).

    Compared are a line's settings that all of its runs measured; none is best if all are alike, as on fresh
    data. A run measures its own objective with its own other settings, the others with their defaults; each
    such variant is a line, from the data of the runs that measured it.
    A measurement that overflowed counts as infinite.
    """

    def draw(axes: Axes, panel: Probe) -> None:
        lines = {variant: best(panel, variant) for variant in labels}
        for variant, line in lines.items():
            axes.plot(*line, drawstyle="steps-mid", label=variant.key, **look[variant].line)
        canvas.count_axis(axes, "environment steps")
        if tried := [float(value) for _, values in lines.values() for value in values if value > 0]:
            canvas.log_axis(axes, "y", min(tried), max(tried))
        else:
            some = np.isfinite(panel.columns["mse"]).any()
            canvas.blank(axes, "no setting is best" if some else NO_MEASUREMENT)

    for environment, reference, probes in measured(comparison):
        labels = {
            variant: f"{objective_words(variant.family)} {setting_name(f'{PREFIX}{knob}')}"
            + (f", with {variant.others}" if variant.others else "")
            for variant, knob in swept(probes).items()
            if any(len(best(probe, variant)[0]) for probe in probes)
        }
        if labels:
            look = variant_looks((variant.family, variant) for variant in labels)
            legend = {label: canvas.handle(look[variant], markers=True) for variant, label in labels.items()}
            place = _place(environment.label, reference)
            figure = draw_panels(place, probes, draw, legend, ylabel="setting of lowest error")
            yield Sheet(figure, place, f"{environment.ending}_{reference}")
