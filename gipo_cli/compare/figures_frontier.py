"""Figures of what the runs measured about their estimators: bias against variance, and the best setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from gipo_cli.compare.canvas import Picture, blank, count_axis, facets, handle, log_axis, sheet
from gipo_cli.compare.comparison import Comparison
from gipo_cli.compare.probes import PREFIX, Estimator, Variant, best, measured, medians, swept
from gipo_cli.compare.style import Look, variant_looks
from gipo_cli.compare.words import objective_words, setting_name

STAGES = ("first third", "last third")
OTHER_SETTINGS = (
    "A run measures its own objective with its own other settings, the others with their defaults; each such "
    "variant is a line, from the data of the runs that measured it."
)
OVERFLOW = "A measurement that overflowed counts as infinite."
NO_MEASUREMENT = "no finite measurement"


def bias_variance(comparison: Comparison) -> Iterator[Picture]:
    """Squared bias against variance of every objective, early and late in training, by reference."""
    for environment in comparison.environments:
        for reference, parts, probes in measured(facets(comparison, environment)):
            stages = range(len(STAGES))
            tables = [medians(probe, environment.horizon, stage) for probe in probes for stage in stages]
            variants = sorted({variant for table in tables for variant, _ in table})
            if not variants:
                continue
            # A hollow marker has a meaning here, so variants differ by shade alone.
            shades = variant_looks((variant.family, variant) for variant in variants)
            look = {variant: replace(own, fill="full") for variant, own in shades.items()}
            title = f"{environment.label}, reference: {reference.replace('_', ' ')}"
            figure, axes = sheet(
                title,
                [cell for facet in parts for cell in facet.cells],
                [", ".join(filter(None, [facet.title, stage])) for facet in parts for stage in STAGES],
                {variant.words: handle(own, markers=True) for variant, own in look.items()},
                ylabel="variance per sample",
            )
            for axis, table in zip(axes, tables, strict=True):
                _frontier(axis, table, look)
                axis.set_xlabel("squared bias")
            yield Picture(
                f"bias_variance{environment.ending}_{reference}",
                f"Bias and variance: {title}",
                "Median over runs and measurements of that third of training; one line per objective over "
                f"its parameter. {OTHER_SETTINGS} "
                "A hollow marker on the left edge is a squared bias estimated at or below zero: too small "
                f"to be measured. {OVERFLOW}",
                figure,
            )


def _frontier(axes: Axes, table: dict[Estimator, tuple[float, float]], look: Mapping[Variant, Look]) -> None:
    """One line per variant; squared biases that are not positive stand hollow at the left edge."""
    if not table:
        blank(axes, NO_MEASUREMENT)
        return
    positive = [bias2 for bias2, _ in table.values() if bias2 > 0]
    edge = min(positive) / 3 if positive else 1.0
    for variant in sorted({variant for variant, _ in table}):
        points = [
            (max(bias2, edge), variance)
            for (measured, _), (bias2, variance) in sorted(table.items())
            if measured == variant
        ]
        own = look[variant]
        axes.plot(*zip(*points, strict=True), linewidth=1.3, label=variant.key, **own.curve)
        for bias2, variance in points:
            fill = "none" if bias2 == edge else "full"
            axes.plot(bias2, variance, marker=own.marker, color=own.color, fillstyle=fill)
    variances = [variance for _, variance in table.values()]
    log_axis(axes, "x", edge, max([edge, *positive]))
    log_axis(axes, "y", min(variances), max(variances))


def best_setting(comparison: Comparison) -> Iterator[Picture]:
    """The parameter with the lowest estimated mean squared error, over training, by objective."""
    for environment in comparison.environments:
        for reference, parts, probes in measured(facets(comparison, environment)):
            knobs = swept(probes)
            lines = [{variant: best(probe, variant) for variant in knobs} for probe in probes]
            labels = {
                variant: f"{objective_words(variant.family)} {setting_name(f'{PREFIX}{knob}')}"
                + (f", with {variant.others}" if variant.others else "")
                for variant, knob in knobs.items()
                if any(len(found[variant][0]) for found in lines)
            }
            if not labels:
                continue
            look = variant_looks((variant.family, variant) for variant in labels)
            title = f"{environment.label}, reference: {reference.replace('_', ' ')}"
            figure, axes = sheet(
                title,
                [cell for facet in parts for cell in facet.cells],
                [facet.title for facet in parts],
                {label: handle(look[variant], markers=True) for variant, label in labels.items()},
                ylabel="setting of lowest error",
            )
            for axis, probe, found in zip(axes, probes, lines, strict=True):
                for variant in labels:
                    axis.plot(*found[variant], drawstyle="steps-mid", label=variant.key, **look[variant].line)
                count_axis(axis, "environment steps")
                if tried := [float(value) for _, values in found.values() for value in values if value > 0]:
                    log_axis(axis, "y", min(tried), max(tried))
                else:
                    some = np.isfinite(probe["mse"]).any()
                    blank(axis, "no setting is best" if some else NO_MEASUREMENT)
            yield Picture(
                f"best_setting{environment.ending}_{reference}",
                f"Best setting over time: {title}",
                "Of a line's settings that all of its runs measured, the one whose estimated mean squared "
                "error at the batch size in use is lowest (median over runs); none if all are alike, as on "
                f"fresh data. {OTHER_SETTINGS} {OVERFLOW}",
                figure,
            )
