"""Tables and plain words of the exact outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gipo_cli.analysis.exact_study import SIZES, Outcome
from gipo_cli.analysis.frontier import SCALES

COLUMNS = [
    "setting",
    "distance",
    "family",
    "knob",
    "value",
    *(
        f"{name}_{q}"
        for name in ("bias2", "variance", "free_bias2", "free_variance", "cosine")
        for q in ("p25", "p50", "p75")
    ),
    *(f"{scale}_mse_{n}" for scale in SCALES for n in SIZES),
    "dead_mass",
]
"""Columns of ``gridworld.csv``: bias2, variance and MSE over ||reference||^2; quartiles over the pairs."""

FEW = 20
"""Policy pairs per setting below which nothing is settled."""
NEARLY_ALL = 0.95
"""Share of bias levels at which one frontier is no higher, for it to dominate."""


def rows(outcomes: Sequence[Outcome]) -> Iterator[list[Any]]:
    """One row per setting, family and knob value, in the order of :data:`COLUMNS`."""
    for outcome in outcomes:
        for swept, table in zip(outcome.swept, outcome.tables, strict=True):
            quartiles = [
                np.quantile(getattr(table, name), (0.25, 0.5, 0.75), axis=1, method="inverted_cdf")
                for name in ("bias2", "variance", "free_bias2", "free_variance", "cosine")
            ]
            errors = [
                np.median(bias2 + variance / n, axis=1)
                for bias2, variance in (
                    (table.bias2, table.variance),
                    (table.free_bias2, table.free_variance),
                )
                for n in SIZES
            ]
            for i, value in enumerate(table.knob):
                yield [
                    outcome.case.kind,
                    outcome.case.distance,
                    swept.name,
                    swept.objective.knob,
                    f"{value:.6g}" if swept.objective.knob else "",
                    *(f"{q[i]:.6g}" for three in quartiles for q in three),
                    *(f"{e[i]:.6g}" for e in errors),
                    f"{table.dead_mass[i].mean():.6g}",
                ]


_TITLES = {"raw": "raw", "scale_free": "scale-free"}


def standing(outcome: Outcome, scale: str, rival: str) -> str:
    """``level``, ``dominates``, ``dominated`` or ``mixed``: GIPO against a rival in one setting."""
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


def brief(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """The verdict in one row per rival under a heading: shares of bias levels and ratios, by scale."""
    table = [["rival"], ["GIPO against"]]
    for scale in SCALES:
        table[0] += [_TITLES[scale], ""]
        table[1] += ["lower/level/higher", "ratio"]
    for rival in outcomes[0].duels["raw"]:
        row = [rival]
        for scale in SCALES:
            shares, (least, greatest) = _overall(outcomes, scale, rival)
            row += [
                f"{'/'.join(f'{100 * share:z3.0f}' for share in shares)} %",
                f"{least:.2f}-{greatest:.2f}",
            ]
        table.append(row)
    return table


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Readable verdict per rival, raw and scale-free, in Markdown."""
    count = len(outcomes[0].pairs.log_pi)
    lines = [
        "# GIPO on the exact GridWorld",
        "",
        f"{count} policy pairs in each of {len(outcomes)} settings. Frontiers are compared at bias levels of",
        "0.1 % to 50 % of the squared gradient norm: at how many does GIPO (gaussian, both sides) need less",
        "variance for the same bias, with 1 % as a tie? *Variance ratio* is GIPO's over the rival's at equal",
        "bias, *MSE ratio* the same for the mean squared error of an n-sample gradient with each side at its",
        "own best knob (geometric means over pairs; below 1 GIPO is better).",
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
    for outcome in outcomes:
        places.setdefault(standing(outcome, scale, rival), []).append(outcome.case.name)
    phrases = {
        "dominates": "GIPO dominates at",
        "level": "the two are level at",
        "mixed": "neither dominates at",
        "dominated": "GIPO is dominated at",
    }
    said = [f"{phrase} {', '.join(places[key])}" for key, phrase in phrases.items() if key in places]
    shares, (least, greatest) = _overall(outcomes, scale, rival)
    return (
        f"**{_TITLES[scale].capitalize()}:** {'; '.join(said)}. Over all settings GIPO is lower at "
        f"{shares[0]:z.0%}, level at {shares[1]:z.0%} and higher at {shares[2]:z.0%} of the bias levels; "
        f"variance ratio {least:.2f} to {greatest:.2f}."
    )


def _overall(outcomes: Sequence[Outcome], scale: str, rival: str) -> tuple[list[float], tuple[float, float]]:
    """Shares of bias levels (lower, level, higher) over all settings, and the least and greatest ratio."""
    duels = [outcome.duels[scale][rival] for outcome in outcomes]
    shares = [float(np.mean([getattr(d, name) for d in duels])) for name in ("lower", "equal", "higher")]
    ratios = [d.variance_ratio for d in duels]
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
