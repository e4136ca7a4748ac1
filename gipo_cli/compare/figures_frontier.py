"""Figures of what the runs measured about their estimators: bias, variance, best setting, use of old data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gipo_cli.compare.aggregate import iqm
from gipo_cli.compare.canvas import (
    Facet,
    Picture,
    add_legend,
    blank,
    count_axis,
    environments,
    facets,
    header,
    key,
    left_labels,
    log_axis,
    panels,
    series_labels,
)
from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.csv_text import FloatArray
from gipo_cli.compare.load import UTILISATION_BY_LAG, RunTable
from gipo_cli.compare.style import Look, looks, variant_looks
from gipo_cli.compare.words import objective_words, setting_name, setting_words
from gipo_cli.core.objectives import OBJECTIVES, Sapo

STAGES = ("first third", "last third")
BUCKET_WORDS = ("0", "1-3", "4-15", "16-63", "64+")
OTHER_SETTINGS = (
    "A run measures its own objective with its own other settings, the others with their defaults; each such "
    "variant is a line, from the data of the runs that measured it."
)
OVERFLOW = "A measurement that overflowed counts as infinite."
NO_MEASUREMENT = "no finite measurement"
PREFIX = "objective."
Probe = dict[str, NDArray[Any]]


@dataclass(frozen=True, order=True)
class Variant:
    """An objective as it was measured.

    Attributes:
        family: name of the objective.
        others: its settings besides the parameter that is varied, in words; empty for the defaults.
    """

    family: str
    others: str

    @property
    def key(self) -> str:
        """One word or two that tell it apart."""
        return f"{self.family} {self.others}".strip()

    @property
    def words(self) -> str:
        """As it is printed."""
        return f"{objective_words(self.family)} {self.others}".strip()


Estimator = tuple[Variant, float]


def bias_variance(comparison: Comparison) -> Iterator[Picture]:
    """Squared bias against variance of every objective, early and late in training, by reference."""
    for environment, ending in environments(comparison):
        for reference, parts, probes in _measured(facets(comparison, environment)):
            stages = range(len(STAGES))
            shown = [(facet, stage) for facet in parts for stage in stages]
            tables = [_medians(probe, environment.horizon, stage) for probe in probes for stage in stages]
            variants = sorted({variant for table in tables for variant, _ in table})
            if not variants:
                continue
            # A hollow marker has a meaning here, so variants differ by shade alone.
            shades = variant_looks((variant.family, variant) for variant in variants)
            look = {variant: replace(own, fill="full") for variant, own in shades.items()}
            labels = [variant.words for variant in look]
            title = f"{environment.label}, reference: {reference.replace('_', ' ')}"
            cells = [cell for facet in parts for cell in facet.cells]
            figure, axes = panels(len(shown), header=header(title, cells), legend=labels)
            for axis, (facet, stage), table in zip(axes, shown, tables, strict=True):
                axis.set_title(", ".join(filter(None, [facet.title, STAGES[stage]])))
                _frontier(axis, table, look)
                axis.set_xlabel("squared bias")
            left_labels(axes, "variance per sample")
            add_legend(figure, {variant.words: Line2D([], [], **look[variant].line) for variant in look})
            yield Picture(
                f"bias_variance{ending}_{reference}",
                f"Bias and variance: {title}",
                "Median over runs and measurements of that third of training; one line per objective over "
                f"its parameter. {OTHER_SETTINGS} "
                "A hollow marker on the left edge is a squared bias estimated at or below zero: too small "
                f"to be measured. {OVERFLOW}",
                figure,
            )


def best_setting(comparison: Comparison) -> Iterator[Picture]:
    """The parameter with the lowest estimated mean squared error, over training, by objective."""
    for environment, ending in environments(comparison):
        for reference, parts, probes in _measured(facets(comparison, environment)):
            swept = _swept(probes)
            lines = [{variant: _best(probe, variant) for variant in swept} for probe in probes]
            labels = {
                variant: f"{objective_words(variant.family)} {setting_name(f'{PREFIX}{knob}')}"
                + (f", with {variant.others}" if variant.others else "")
                for variant, knob in swept.items()
                if any(len(best[variant][0]) for best in lines)
            }
            if not labels:
                continue
            look = variant_looks((variant.family, variant) for variant in labels)
            title = f"{environment.label}, reference: {reference.replace('_', ' ')}"
            cells = [cell for facet in parts for cell in facet.cells]
            figure, axes = panels(len(parts), header=header(title, cells), legend=list(labels.values()))
            for axis, facet, probe, best in zip(axes, parts, probes, lines, strict=True):
                axis.set_title(facet.title)
                for variant in labels:
                    axis.plot(*best[variant], drawstyle="steps-mid", label=variant.key, **look[variant].line)
                count_axis(axis, "environment steps")
                if tried := [float(value) for _, values in best.values() for value in values if value > 0]:
                    log_axis(axis, "y", min(tried), max(tried))
                else:
                    measured = np.isfinite(probe["mse"]).any()
                    blank(axis, "no setting is best" if measured else NO_MEASUREMENT)
            left_labels(axes, "setting of lowest error")
            add_legend(
                figure, {label: Line2D([], [], **look[variant].line) for variant, label in labels.items()}
            )
            yield Picture(
                f"best_setting{ending}_{reference}",
                f"Best setting over time: {title}",
                "Of a line's settings that all of its runs measured, the one whose estimated mean squared "
                "error at the batch size in use is lowest (median over runs); none where all are alike, as "
                f"on fresh data. {OTHER_SETTINGS} {OVERFLOW}",
                figure,
            )


def utilisation_by_lag(comparison: Comparison) -> Iterator[Picture]:
    """Share of samples that still carry a gradient, by how old they are."""
    look = looks(comparison.arms)
    for environment, ending in environments(comparison):
        parts = [
            facet
            for facet in facets(comparison, environment)
            if any(_by_lag(cell).size for cell in facet.cells)
        ]
        cells = [cell for facet in parts for cell in facet.cells]
        if not cells:
            continue
        labels = series_labels(cells)
        figure, axes = panels(
            len(parts), header=header(environment.label, cells), legend=list(labels.values())
        )
        for axis, facet in zip(axes, parts, strict=True):
            axis.set_title(facet.title)
            for cell in facet.cells:
                if (values := _by_lag(cell)).size:
                    axis.plot(
                        range(len(BUCKET_WORDS)), values, label=cell.arm.series, **look[cell.arm.series].line
                    )
            axis.set_xticks(range(len(BUCKET_WORDS)), BUCKET_WORDS)
            axis.set_xlim(-0.3, len(BUCKET_WORDS) - 0.7)
            axis.set_ylim(-0.03, 1.05)
            axis.set_xlabel("policy lag (updates)")
        left_labels(axes, "utilisation (share)")
        add_legend(figure, {labels[series]: key(look[series], markers=True) for series in labels})
        yield Picture(
            f"utilisation_by_lag{ending}",
            f"Utilisation against lag: {environment.label}",
            "Interquartile mean over seeds of each run's mean over training, by age of the samples.",
            figure,
        )


def _by_lag(cell: Cell) -> FloatArray:
    """Utilisation by lag bucket ``[5]``, NaN in one that never had samples; empty if none was recorded."""
    values = []
    for column in UTILISATION_BY_LAG:
        means = cell.averages(column)
        means = means[np.isfinite(means)]
        values.append(float(iqm(means)) if len(means) else float("nan"))
    return np.array(values) if np.isfinite(values).any() else np.empty(0)


def _probe(cells: Sequence[Cell]) -> Probe:
    """All diagnostics rows of the runs of some cells, each with its run's number and its variant."""
    tables = [
        {**run.diagnostics, "variant": _variants(run)}
        for cell in cells
        for run in cell.runs
        if len(run.diagnostics.get("step", ()))
    ]
    if not tables:
        return {}
    joined: Probe = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    joined["run"] = np.repeat(np.arange(len(tables)), [len(table["step"]) for table in tables])
    return joined


def _variants(run: RunTable) -> NDArray[Any]:
    """What each row measured ``[rows]``: a run measures its own objective with its own other settings."""
    families = run.diagnostics["family"].tolist()
    own = {
        name: Variant(name, _other_settings(run) if name == run.objective else "") for name in set(families)
    }
    return np.array([own[name] for name in families], dtype=object)


def _other_settings(run: RunTable) -> str:
    """The settings of a run's objective besides its parameter, in words, where they are not the defaults."""
    record = OBJECTIVES.get(run.objective)
    knob = record.knob if record else ""
    usual = {name: field.default for name, field in record.model_fields.items()} if record else {}
    given = {key.removeprefix(PREFIX): value for key, value in run.config.items() if key.startswith(PREFIX)}
    if run.objective == "sapo" and {"tau_pos", "tau_neg"} <= set(given):
        # Of its two temperatures it is the ratio that is kept while the first is varied.
        ratio = float(str(given.pop("tau_neg"))) / float(str(given["tau_pos"]))
        given |= {} if np.isclose(ratio, Sapo().tau_neg / Sapo().tau_pos) else {"tau_neg/tau_pos": ratio}
    return " ".join(
        setting_words(f"{PREFIX}{name}", value)
        for name, value in given.items()
        if name not in ("name", knob) and not (name in usual and value == usual[name])
    )


def _measured(parts: Sequence[Facet]) -> Iterator[tuple[str, list[Facet], list[Probe]]]:
    """By reference, the facets that have measurements, and their rows."""
    probes = [_probe(facet.cells) for facet in parts]
    shown = [facet for facet, probe in zip(parts, probes, strict=True) if probe]
    probes = [probe for probe in probes if probe]
    for reference in sorted({str(name) for probe in probes for name in set(probe["reference"])}):
        yield reference, shown, [_where(probe, probe["reference"] == reference) for probe in probes]


def _where(probe: Probe, keep: NDArray[np.bool_]) -> Probe:
    return {name: column[keep] for name, column in probe.items()}


def _medians(probe: Probe, horizon: float, stage: int) -> dict[Estimator, tuple[float, float]]:
    """Median squared bias and variance by variant and parameter in one third of training."""
    start, end = ((0, horizon / 3), (2 * horizon / 3, horizon))[stage]
    probe = _where(probe, (probe["step"] > start) & (probe["step"] <= end))
    rows: dict[Estimator, list[tuple[float, float]]] = defaultdict(list)
    for variant, knob, value, bias2, variance in zip(
        *(probe[name] for name in ("variant", "knob", "value", "bias2", "variance")), strict=True
    ):
        rows[variant, float(value) if knob else 0.0].append((float(bias2), float(variance)))
    medians = {name: np.median(_overflown(np.array(own)), axis=0).tolist() for name, own in rows.items()}
    return {
        name: (bias2, variance)
        for name, (bias2, variance) in medians.items()
        if np.isfinite(bias2) and np.isfinite(variance) and variance > 0
    }


def _overflown(numbers: FloatArray) -> FloatArray:
    """Numbers too large for the measurement's arithmetic came out as NaN or infinity of either sign.

    Leaving them out would make an objective look better the worse its ratios are.
    """
    return np.where(np.isfinite(numbers), numbers, np.inf)


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


def _swept(probes: Sequence[Probe]) -> dict[Variant, str]:
    """Parameter of every variant of which several values were measured."""
    values: dict[tuple[Variant, str], set[float]] = defaultdict(set)
    for probe in probes:
        for variant, knob, value in zip(probe["variant"], probe["knob"], probe["value"], strict=True):
            if knob:
                values[variant, str(knob)].add(float(value))
    return dict(sorted(name for name, seen in values.items() if len(seen) > 1))


def _differ(errors: FloatArray) -> bool:
    """Whether some error is finite and they differ by more than rounding."""
    finite = errors[np.isfinite(errors)]
    return len(finite) > 0 and (len(finite) < len(errors) or np.ptp(finite) > 1e-6 * np.abs(finite).max())


def _best(probe: Probe, variant: Variant) -> tuple[FloatArray, FloatArray]:
    """Steps, and at each the value of lowest median error over runs; none where all are alike or infinite.

    The error is an unbiased estimate, so one below zero is small and not wrong. A value that only some of the
    runs measured, as a run does with that which it trains, would be ranked on other data than the rest.
    """
    own = _where(probe, probe["variant"] == variant)
    best: dict[float, float] = {}
    for step in np.unique(own["step"]):
        now = _where(own, own["step"] == step)
        everywhere = len(np.unique(now["run"]))
        errors = {
            float(value): _overflown(now["mse"][now["value"] == value]) for value in np.unique(now["value"])
        }
        medians = {value: float(np.median(of)) for value, of in errors.items() if len(of) == everywhere}
        if medians and _differ(np.array(list(medians.values()))):
            best[float(step)] = min(medians, key=medians.__getitem__)
    return np.array(list(best)), np.array(list(best.values()))
