"""Tables, files and plain words of the exact study."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from gipo_cli import __version__
from gipo_cli.analysis.exact_figures import VARIANTS, duels, frontiers
from gipo_cli.analysis.exact_study import SIZES, Outcome
from gipo_cli.analysis.frontier import SCALES
from gipo_cli.analysis.monte_carlo import SAMPLES, Check
from gipo_cli.analysis.output import drawn, table
from gipo_cli.compare.style import LOOKS, OTHERS

RECORD = "gridworld.csv"
MEASURES = ("bias2", "variance", "free_bias2", "free_variance", "cosine")
COLUMNS = [
    *("setting", "distance", "family", "knob", "value"),
    *(f"{name}_{q}" for name in MEASURES for q in ("p25", "p50", "p75")),
    *(f"{scale}_mse_{n}" for scale in SCALES for n in SIZES),
    "dead_mass",
]
"""Columns of ``gridworld.csv``: bias2, variance and MSE over ||reference||^2; quartiles over the pairs."""

FEW = 20
"""Policy pairs per setting below which nothing is settled."""
NEARLY_ALL = 0.95
"""Share of bias levels at which one frontier is no higher, for it to dominate."""
PLACES = {
    "dominates": "GIPO dominates at",
    "level": "the two are level at",
    "mixed": "neither dominates at",
    "dominated": "GIPO is dominated at",
}


def files(
    outcomes: Sequence[Outcome], checks: Sequence[Check], arguments: dict[str, Any]
) -> dict[str, bytes]:
    """The tables, the verdict and the figures of a study, by name."""
    checked = f"\n## Monte-Carlo check\n\n{checked_words(checks)}\n" if checks else ""
    looks = {**LOOKS, **dict(zip(VARIANTS[1:], OTHERS, strict=False))}
    return {
        RECORD: table(COLUMNS, _rows(outcomes)),
        "gridworld.json": (json.dumps(_summary(outcomes, checks, arguments), indent=1) + "\n").encode(),
        "verdict.md": (verdict(outcomes) + checked).encode(),
        **drawn(
            {
                "frontiers": lambda: frontiers(outcomes, looks, variants=False),
                "frontiers_variants": lambda: frontiers(outcomes, looks, variants=True),
                "duels": lambda: duels(outcomes),
            }
        ),
    }


def _summary(
    outcomes: Sequence[Outcome], checks: Sequence[Check], arguments: dict[str, Any]
) -> dict[str, Any]:
    versions = {"gipo": __version__, "python": sys.version.split()[0]}
    found = [
        {"setting": one.case.kind, "distance": one.case.distance, "scale": scale, "rival": rival}
        | asdict(duel)
        for one in outcomes
        for scale, rivals in one.duels.items()
        for rival, duel in rivals.items()
    ]
    return {
        "format": 1,
        "versions": {**versions, "torch": torch.__version__, "numpy": np.__version__},
        "arguments": arguments,
        "duels": found,
        "monte_carlo": [{**asdict(one), "z": one.z} for one in checks],
    }


def _rows(outcomes: Sequence[Outcome]) -> Iterator[list[Any]]:
    """One row per setting, objective and knob value, in the order of :data:`COLUMNS`."""
    for outcome in outcomes:
        for swept, exact in zip(outcome.swept, outcome.tables, strict=True):
            quartiles = np.concatenate(
                [
                    np.quantile(getattr(exact, name), (0.25, 0.5, 0.75), axis=1, method="inverted_cdf")
                    for name in MEASURES
                ]
            )
            scales = ((exact.bias2, exact.variance), (exact.free_bias2, exact.free_variance))
            errors = [np.median(bias2 + variance / n, axis=1) for bias2, variance in scales for n in SIZES]
            dead = exact.dead_mass.mean(1)
            knob = swept.objective.knob
            for i, value in enumerate(exact.knob):
                numbers = [one[i] for one in (*quartiles, *errors, dead)]
                yield [
                    outcome.case.kind,
                    outcome.case.distance,
                    swept.name,
                    knob,
                    f"{value:.6g}" if knob else "",
                    *(f"{number:.6g}" for number in numbers),
                ]


def standing(outcome: Outcome, scale: str, rival: str) -> str:
    """Say in a word of :data:`PLACES` how GIPO does against a rival in one setting."""
    duel = outcome.duels[scale][rival]
    if duel.equal >= NEARLY_ALL:
        return "level"
    if duel.lower + duel.equal >= NEARLY_ALL:
        return "dominates"
    return "dominated" if duel.higher + duel.equal >= NEARLY_ALL else "mixed"


def warning(outcomes: Sequence[Outcome]) -> str:
    """What to know before believing anything; empty where there are enough pairs."""
    count = len(outcomes[0].pairs.log_pi)
    few = f"Only {count} policy pairs per setting: so few settle nothing."
    return few if count < FEW else ""


def checked_words(checks: Sequence[Check]) -> str:
    """What came out of the Monte-Carlo check."""
    inside = sum(abs(c.z) < 2 for c in checks) / len(checks)
    worst = max(abs(c.z) for c in checks)
    return (
        f"{len(checks)} exact numbers against {SAMPLES:,} samples each: {inside:.0%} within two standard "
        f"errors, the largest deviation is {worst:.1f} standard errors."
    )


def brief(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """The verdict in one row per rival under a heading: shares of bias levels and ratios, by scale."""
    lines = [["rival"], ["GIPO against"]]
    for scale in SCALES:
        lines[0] += [_title(scale), ""]
        lines[1] += ["lower/level/higher", "ratio"]
    for rival in outcomes[0].duels["raw"]:
        row = [rival]
        for scale in SCALES:
            shares, (least, greatest) = _overall(outcomes, scale, rival)
            row += [
                f"{'/'.join(f'{100 * share:z3.0f}' for share in shares)} %",
                f"{least:.2f}-{greatest:.2f}",
            ]
        lines.append(row)
    return lines


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Readable verdict per rival, raw and scale-free, in Markdown."""
    lines = [
        "# GIPO on the exact GridWorld",
        "",
        f"{len(outcomes[0].pairs.log_pi)} policy pairs in each of {len(outcomes)} settings. Frontiers of "
        "attainable points are compared at bias levels of 0.1 % to 50 % of the squared gradient norm: at how",
        "many does GIPO (gaussian, both sides) need less variance for the same bias, with 1 % as a tie?",
        "*Variance ratio* is GIPO's over the rival's at equal bias, *MSE ratio* the same for the mean",
        "squared error of an n-sample gradient with each side at its own best knob (geometric means over",
        "pairs; below 1 GIPO is better).",
        "",
        *([f"**{few}**", ""] if (few := warning(outcomes)) else []),
    ]
    for rival in outcomes[0].duels["raw"]:
        lines += [f"## Against {rival}", ""]
        for scale in SCALES:
            lines += [_sentence(outcomes, scale, rival), ""]
        lines += _table(outcomes, rival)
    return "\n".join(lines)


def _sentence(outcomes: Sequence[Outcome], scale: str, rival: str) -> str:
    places: dict[str, list[str]] = {}
    for one in outcomes:
        places.setdefault(standing(one, scale, rival), []).append(one.case.name)
    said = [f"{phrase} {', '.join(places[key])}" for key, phrase in PLACES.items() if key in places]
    shares, (least, greatest) = _overall(outcomes, scale, rival)
    return (
        f"**{_title(scale).capitalize()}:** {'; '.join(said)}. Over all settings GIPO is lower at "
        f"{shares[0]:z.0%}, level at {shares[1]:z.0%} and higher at {shares[2]:z.0%} of the bias levels; "
        f"variance ratio {least:.2f} to {greatest:.2f}."
    )


def _title(scale: str) -> str:
    return scale.replace("_", "-")


def _overall(outcomes: Sequence[Outcome], scale: str, rival: str) -> tuple[list[float], tuple[float, float]]:
    """Shares of bias levels (lower, level, higher) over all settings, and the least and greatest ratio."""
    found = [one.duels[scale][rival] for one in outcomes]
    shares = [float(np.mean([getattr(d, name) for d in found])) for name in ("lower", "equal", "higher")]
    ratios = [d.variance_ratio for d in found]
    return shares, (min(ratios), max(ratios))


def _table(outcomes: Sequence[Outcome], rival: str) -> list[str]:
    small, large = SIZES[0], SIZES[2]
    head = f"| setting | scale | lower | tie | higher | variance ratio | MSE ratio n={small} | n={large} |"
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for outcome in outcomes:
        for scale in SCALES:
            d = outcome.duels[scale][rival]
            lines.append(
                f"| {outcome.case.name} | {scale} | {d.lower:z.0%} | {d.equal:z.0%} | {d.higher:z.0%} "
                f"| {d.variance_ratio:.2f} | {d.mse_ratio[small]:.2f} | {d.mse_ratio[large]:.2f} |"
            )
    return [*lines, ""]
