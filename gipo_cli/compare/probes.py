"""What the runs measured about estimators: bias and variance of every objective, by parameter and variant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.compare.canvas import Facet
from gipo_cli.compare.load import RunTable
from gipo_cli.compare.tables import FloatArray
from gipo_cli.compare.words import objective_words, setting_words
from gipo_cli.core.objectives import OBJECTIVES, Sapo

PREFIX = "objective."


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


Probe = dict[str, NDArray[Any]]
"""Columns ``[rows]`` of diagnostics, with ``run``, the run's number, and ``variant``, what was measured."""
Estimator = tuple[Variant, float]
"""A variant and the value of its parameter, 0 if it has none."""


def measured(parts: Sequence[Facet]) -> Iterator[tuple[str, list[Facet], list[Probe]]]:
    """By reference, the facets that have measurements, and their rows."""
    probes = [(facet, probe) for facet in parts if (probe := _probe(facet))]
    for reference in sorted({str(name) for _, probe in probes for name in set(probe["reference"])}):
        rows = [_where(probe, probe["reference"] == reference) for _, probe in probes]
        yield reference, [facet for facet, _ in probes], rows


def _probe(facet: Facet) -> Probe:
    """All diagnostics rows of the runs of a facet."""
    tables = [
        {**run.diagnostics.numbers, **run.diagnostics.texts, "variant": _variants(run)}
        for cell in facet.cells
        for run in cell.runs
        if len(run.diagnostics.numbers.get("step", ()))
    ]
    if not tables:
        return {}
    joined: Probe = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    joined["run"] = np.repeat(np.arange(len(tables)), [len(table["step"]) for table in tables])
    return _where(joined, np.isfinite(joined["value"].astype(np.float64)) | (joined["knob"] == ""))


def _variants(run: RunTable) -> NDArray[Any]:
    """What each row measured ``[rows]``: a run measures its own objective with its own other settings."""
    families = run.diagnostics.texts["family"].tolist()
    own = {
        name: Variant(name, _other_settings(run) if name == run.objective else "") for name in set(families)
    }
    return np.array([own[name] for name in families], dtype=object)


def _other_settings(run: RunTable) -> str:
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


def _where(probe: Mapping[str, NDArray[Any]], keep: NDArray[np.bool_]) -> Probe:
    return {name: column[keep] for name, column in probe.items()}


def medians(probe: Probe, horizon: float, stage: int) -> dict[Estimator, tuple[float, float]]:
    """Median squared bias and variance of every estimator in the first (0) or last (1) third of training."""
    start, end = ((0, horizon / 3), (2 * horizon / 3, horizon))[stage]
    probe = _where(probe, (probe["step"] > start) & (probe["step"] <= end))
    rows: dict[Estimator, list[tuple[float, float]]] = defaultdict(list)
    columns = (probe[name] for name in ("variant", "knob", "value", "bias2", "variance"))
    for variant, knob, value, bias2, variance in zip(*columns, strict=True):
        rows[variant, float(value) if knob else 0.0].append((float(bias2), float(variance)))
    found = {name: np.median(_overflown(np.array(own)), axis=0).tolist() for name, own in rows.items()}
    return {
        name: (bias2, variance)
        for name, (bias2, variance) in found.items()
        if np.isfinite(bias2) and np.isfinite(variance) and variance > 0
    }


def _overflown(numbers: FloatArray) -> FloatArray:
    """Numbers too large for the measurement's arithmetic came out as NaN or infinity of either sign.

    Leaving them out would make an objective look better the worse its ratios are.
    """
    return np.where(np.isfinite(numbers), numbers, np.inf)


def swept(probes: Sequence[Probe]) -> dict[Variant, str]:
    """Parameter of every variant of which several values were measured."""
    values: dict[tuple[Variant, str], set[float]] = defaultdict(set)
    for probe in probes:
        for variant, knob, value in zip(probe["variant"], probe["knob"], probe["value"], strict=True):
            if knob:
                values[variant, str(knob)].add(float(value))
    return dict(sorted(name for name, own in values.items() if len(own) > 1))


def best(probe: Probe, variant: Variant) -> tuple[FloatArray, FloatArray]:
    """Steps, and at each the value of lowest median error over runs; none if all are alike or infinite.

    The error is an unbiased estimate, so one below zero is small and not wrong. A value that only some of the
    runs measured, as a run does with that which it trains, would be ranked on other data than the rest.
    """
    own = _where(probe, probe["variant"] == variant)
    found: dict[float, float] = {}
    for step in np.unique(own["step"]):
        now = _where(own, own["step"] == step)
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
