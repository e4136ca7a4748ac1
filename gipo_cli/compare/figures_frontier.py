"""Figures of what the runs measured about their estimators: bias, variance, best setting, use of old data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
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
from gipo_cli.compare.load import UTILISATION_BY_LAG
from gipo_cli.compare.style import Look, base_look, looks
from gipo_cli.compare.words import objective_words, setting_name

STAGES = ("first third", "last third")
BUCKET_WORDS = ("0", "1-3", "4-15", "16-63", "64+")
OVERFLOW = "A measurement that overflowed counts as infinite."
NO_MEASUREMENT = "no finite measurement"
Probe = dict[str, NDArray[Any]]
Estimator = tuple[str, str, float]


def bias_variance(comparison: Comparison) -> Iterator[Picture]:
    """Squared bias against variance of every objective, early and late in training, by reference."""
    for environment, ending in environments(comparison):
        parts = [facet for facet in facets(comparison, environment) if _probe(facet.cells)]
        for reference in sorted(
            {str(name) for facet in parts for name in set(_probe(facet.cells)["reference"])}
        ):
            shown = [(facet, stage) for facet in parts for stage in range(len(STAGES))]
            tables = [
                _medians(_select(facet, reference), environment.horizon, stage) for facet, stage in shown
            ]
            families = sorted({family for table in tables for family, _, _ in table})
            if not families:
                continue
            labels = [objective_words(family) for family in families]
            title = f"{environment.label}, reference: {reference.replace('_', ' ')}"
            cells = [cell for facet in parts for cell in facet.cells]
            figure, axes = panels(len(shown), header=header(title, cells), legend=labels)
            for axis, (facet, stage), table in zip(axes, shown, tables, strict=True):
                axis.set_title(", ".join(filter(None, [facet.title, STAGES[stage]])))
                _frontier(axis, table)
                axis.set_xlabel("squared bias")
            left_labels(axes, "variance per sample")
            add_legend(figure, {objective_words(family): _family_key(family) for family in families})
            yield Picture(
                f"bias_variance{ending}_{reference}",
                f"Bias and variance: {title}",
                "Median over runs and measurements of that third of training; one line per objective over "
                "its parameter. "
                "A hollow marker on the left edge is a squared bias estimated at or below zero: too small "
                f"to be measured. {OVERFLOW}",
                figure,
            )


def best_setting(comparison: Comparison) -> Iterator[Picture]:
    """The parameter with the lowest mean squared error, over training, by objective."""
    for environment, ending in environments(comparison):
        parts = [facet for facet in facets(comparison, environment) if _probe(facet.cells)]
        for reference in sorted(
            {str(name) for facet in parts for name in set(_probe(facet.cells)["reference"])}
        ):
            probes = [_select(facet, reference) for facet in parts]
            swept = dict(_swept(probes))
            lines = [{family: _best(probe, family) for family in swept} for probe in probes]
            labels = {
                family: f"{objective_words(family)} {setting_name(f'objective.{knob}')}"
                for family, knob in swept.items()
                if any(len(best[family][0]) for best in lines)
            }
            if not labels:
                continue
            title = f"{environment.label}, reference: {reference.replace('_', ' ')}"
            cells = [cell for facet in parts for cell in facet.cells]
            figure, axes = panels(len(parts), header=header(title, cells), legend=list(labels.values()))
            for axis, facet, best in zip(axes, parts, lines, strict=True):
                axis.set_title(facet.title)
                for family in labels:
                    steps, values = best[family]
                    color, marker, dash = base_look(family)
                    axis.plot(
                        steps,
                        values,
                        color=color,
                        marker=marker,
                        linestyle=dash,
                        drawstyle="steps-mid",
                        label=family,
                    )
                count_axis(axis, "environment steps")
                if tried := [float(value) for _, values in best.values() for value in values if value > 0]:
                    log_axis(axis, "y", min(tried), max(tried))
                else:
                    blank(axis, NO_MEASUREMENT)
            left_labels(axes, "setting of lowest error")
            add_legend(figure, {label: _family_key(family) for family, label in labels.items()})
            yield Picture(
                f"best_setting{ending}_{reference}",
                f"Best setting over time: {title}",
                "Of the settings measured, the one whose mean squared error at the batch size in use is "
                f"lowest (geometric mean over runs). {OVERFLOW}",
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
    """All diagnostics rows of the runs of some cells, with the run's number in ``run``."""
    tables = [run.diagnostics for cell in cells for run in cell.runs if len(run.diagnostics.get("step", ()))]
    if not tables:
        return {}
    joined: Probe = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    joined["run"] = np.repeat(np.arange(len(tables)), [len(table["step"]) for table in tables]).astype(
        np.float64
    )
    return joined


def _where(probe: Probe, keep: NDArray[np.bool_]) -> Probe:
    return {name: column[keep] for name, column in probe.items()}


def _select(facet: Facet, reference: str) -> Probe:
    probe = _probe(facet.cells)
    return _where(probe, probe["reference"] == reference)


def _medians(probe: Probe, horizon: float, stage: int) -> dict[Estimator, tuple[float, float]]:
    """Median squared bias and variance by family, knob and value in one third of training."""
    start, end = ((0, horizon / 3), (2 * horizon / 3, horizon))[stage]
    probe = _where(probe, (probe["step"] > start) & (probe["step"] <= end))
    rows: dict[Estimator, list[tuple[float, float]]] = defaultdict(list)
    for family, knob, value, bias2, variance in zip(
        *(probe[name] for name in ("family", "knob", "value", "bias2", "variance")), strict=True
    ):
        rows[str(family), str(knob), float(value) if knob else 0.0].append((float(bias2), float(variance)))
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


def _frontier(axes: Axes, table: dict[Estimator, tuple[float, float]]) -> None:
    """One line per family; squared biases that are not positive stand hollow at the left edge."""
    if not table:
        blank(axes, NO_MEASUREMENT)
        return
    positive = [bias2 for bias2, _ in table.values() if bias2 > 0]
    edge = min(positive) / 3 if positive else 1.0
    for family in dict.fromkeys(name[0] for name in table):
        points = [
            (max(bias2, edge), variance)
            for name, (bias2, variance) in sorted(table.items())
            if name[0] == family
        ]
        color, marker, dash = base_look(family)
        axes.plot(*zip(*points, strict=True), color=color, linestyle=dash, linewidth=1.3, label=family)
        for bias2, variance in points:
            axes.plot(
                bias2, variance, marker=marker, color=color, fillstyle="none" if bias2 == edge else "full"
            )
    variances = [variance for _, variance in table.values()]
    log_axis(axes, "x", edge, max([edge, *positive]))
    log_axis(axes, "y", min(variances), max(variances))


def _swept(probes: Sequence[Probe]) -> list[tuple[str, str]]:
    """Families with several values of a knob."""
    values: dict[tuple[str, str], set[float]] = defaultdict(set)
    for probe in probes:
        for family, knob, value in zip(probe["family"], probe["knob"], probe["value"], strict=True):
            if knob:
                values[str(family), str(knob)].add(float(value))
    return sorted(name for name, seen in values.items() if len(seen) > 1)


def _best(probe: Probe, family: str) -> tuple[FloatArray, FloatArray]:
    """Steps, and at each the value of lowest mean log error over runs; none where all are infinite."""
    errors: dict[float, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    own = _where(probe, probe["family"] == family)
    for step, value, mse in zip(own["step"], own["value"], _overflown(own["mse"]), strict=True):
        if mse > 0:
            errors[float(step)][float(value)].append(float(np.log(mse)))
    best: dict[float, float] = {}
    for step in sorted(errors):
        means = {value: float(np.mean(logs)) for value, logs in errors[step].items()}
        value = min(means, key=means.__getitem__)
        if np.isfinite(means[value]):
            best[step] = value
    return np.array(list(best)), np.array(list(best.values()))


def _family_key(family: str) -> Line2D:
    return Line2D([], [], **Look(*base_look(family), "full").line)
