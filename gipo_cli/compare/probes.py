"""What the runs measured about estimators: bias and variance of every objective, by parameter and variant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.compare.canvas import Panel, by_buffer
from gipo_cli.compare.comparison import Comparison, Environment
from gipo_cli.compare.load import Run
from gipo_cli.compare.tables import FloatArray
from gipo_cli.compare.words import objective_words, setting_words
from gipo_cli.core.objectives import OBJECTIVES, Sapo

PREFIX = "objective."


@dataclass(frozen=True, order=True)
class Variant:
    """An objective as it was measured: its name, and further settings in words, empty for the defaults."""

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


@dataclass(frozen=True)
class Probe(Panel):
    """Diagnostics of the runs of a panel, by column ``[rows]``.

    ``run`` is the run's number, ``variant`` what was measured.
    """

    columns: Mapping[str, NDArray[Any]]

    def where(self, keep: NDArray[np.bool_]) -> Probe:
        """Some of the rows."""
        return replace(self, columns={name: column[keep] for name, column in self.columns.items()})


def measured(comparison: Comparison) -> Iterator[tuple[Environment, str, list[Probe]]]:
    """By environment and reference, the panels by buffer size that have measurements."""
    for environment in comparison.environments:
        panels = map(_probe, by_buffer(comparison, environment))
        probes = [probe for probe in panels if probe.columns]
        for reference in sorted({str(name) for probe in probes for name in set(probe.columns["reference"])}):
            yield (
                environment,
                reference,
                [probe.where(probe.columns["reference"] == reference) for probe in probes],
            )


def _probe(panel: Panel) -> Probe:
    tables = [
        {**run.diagnostics.numbers, **run.diagnostics.texts, "variant": _variants(run)}
        for cell in panel.cells
        for run in cell.runs
        if len(run.diagnostics.numbers.get("step", ()))
    ]
    if not tables:
        return Probe(panel.title, panel.cells, {})
    columns: dict[str, NDArray[Any]] = {
        name: np.concatenate([table[name] for table in tables]) for name in tables[0]
    }
    columns["run"] = np.repeat(np.arange(len(tables)), [len(table["step"]) for table in tables])
    known = np.isfinite(columns["value"].astype(np.float64)) | (columns["knob"] == "")
    return Probe(panel.title, panel.cells, columns).where(known)


def _variants(run: Run) -> NDArray[Any]:
    """What each row measured ``[rows]``: a run measures its own objective with its own other settings."""
    families = run.diagnostics.texts["family"].tolist()
    own = {
        name: Variant(name, _other_settings(run) if name == run.objective else "") for name in set(families)
    }
    return np.array([own[name] for name in families], dtype=object)


def _other_settings(run: Run) -> str:
    """The settings of a run's objective besides its parameter, in words, if they are not the defaults."""
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


def medians(probe: Probe, horizon: float, stage: int) -> dict[Variant, FloatArray]:
    """Median squared bias and variance by variant ``[settings, 2]``, in the order of its parameter.

    ``stage`` is the first (0) or last (1) third of training. What is not finite is left out.
    """
    start, end = ((0, horizon / 3), (2 * horizon / 3, horizon))[stage]
    step = probe.columns["step"]
    now = probe.where((step > start) & (step <= end)).columns
    rows: dict[tuple[Variant, float], list[tuple[float, float]]] = defaultdict(list)
    columns = (now[name] for name in ("variant", "knob", "value", "bias2", "variance"))
    for variant, knob, value, *point in zip(*columns, strict=True):
        rows[variant, float(value) if knob else 0.0].append((point[0], point[1]))
    found: dict[Variant, list[FloatArray]] = defaultdict(list)
    for (variant, _), points in sorted(rows.items()):
        middle = np.median(_overflown(np.array(points)), axis=0)
        if np.isfinite(middle).all() and middle[1] > 0:
            found[variant].append(middle)
    return {variant: np.array(points) for variant, points in found.items()}


def _overflown(numbers: FloatArray) -> FloatArray:
    """Numbers too large for the measurement's arithmetic came out as NaN or infinity of either sign.

    Leaving them out would make an objective look better the worse its ratios are.
    """
    return np.where(np.isfinite(numbers), numbers, np.inf)


def swept(probes: Sequence[Probe]) -> dict[Variant, str]:
    """Parameter of every variant of which several values were measured."""
    values: dict[tuple[Variant, str], set[float]] = defaultdict(set)
    for probe in probes:
        for row in zip(*(probe.columns[name] for name in ("variant", "knob", "value")), strict=True):
            values[row[0], str(row[1])].add(float(row[2]))
    return dict(sorted(name for name, own in values.items() if name[1] and len(own) > 1))


def best(probe: Probe, variant: Variant) -> tuple[FloatArray, FloatArray]:
    """Steps, and at each the value of lowest median error over runs; none if all are alike or infinite.

    The error is an unbiased estimate, so one below zero is small and not wrong. A value that only some of the
    runs measured, as a run does with that which it trains, would be ranked on other data than the rest.
    """
    own = probe.where(probe.columns["variant"] == variant)
    found: dict[float, float] = {}
    for step in np.unique(own.columns["step"]):
        now = own.where(own.columns["step"] == step).columns
        everywhere = len(np.unique(now["run"]))
        errors = {float(value): now["mse"][now["value"] == value] for value in np.unique(now["value"])}
        typical = {
            value: float(np.median(_overflown(each)))
            for value, each in errors.items()
            if len(each) == everywhere
        }
        if typical and _differ(np.array(list(typical.values()))):
            found[float(step)] = min(typical, key=typical.__getitem__)
    return np.array(list(found)), np.array(list(found.values()))


def _differ(errors: FloatArray) -> bool:
    """Whether some error is finite and they differ by more than rounding."""
    finite = errors[np.isfinite(errors)]
    return len(finite) > 0 and (len(finite) < len(errors) or np.ptp(finite) > 1e-6 * np.abs(finite).max())
