"""The words of a diagnosis."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from gipo_cli.analysis.diagnosis import heading, summary
from gipo_cli.analysis.probe import ProbeRow
from gipo_cli.commands.columns import aligned


def row(family: str, mse: float, se: float, **other: Any) -> ProbeRow:
    known = dict.fromkeys((field.name for field in fields(ProbeRow)), 0.0)
    known |= {"reference": "importance_sampled", "family": family, "knob": "", "value": None, "trained": 0}
    return ProbeRow(**{**known, "batch_size": 512, "mse": mse, "mse_se": se, **other})


def test_what_is_not_told_from_zero_and_the_ends_of_a_grid_are_marked() -> None:
    rows = [
        *(row("gipo", mse, 0.5, knob="sigma", value=v) for v, mse in ((0.1, 1.1), (0.5, 3.0), (1.0, 2.0))),
        *(row("tis", mse, 0.5, knob="c", value=v) for v, mse in ((0.5, 2.0), (1.0, -0.9), (2.0, 4.0))),
        row("cispo", 1.0, 0.5, knob="eps_high", value=0.2),
        row("no_clip", -1.2, 0.5),
    ]
    assert {name.strip(): cell for name, cell, _ in summary({40: rows})[1:]} == {
        "gipo": "1.1 ± 0.5 sigma=0.1!",
        "tis": "-0.9 ± 0.5? c=1",
        "cispo": "1 ± 0.5 eps_high=0.2",
        "no_clip": "-1.2 ± 0.5",
    }


def test_the_longest_numbers_fit_80_columns() -> None:
    rows = [
        row(family, -1.234e-5, 8.76e-5, knob="tau_pos", value=value, reference=reference, trained=1)
        for family in ("ppo_dual_clip", "sapo")
        for value in (0.25, 0.75)
        for reference in ("importance_sampled", "on_policy")
    ]
    found = {1_000_000: rows}
    lines = [*heading(found), *aligned(summary(found), 80)]
    assert max(map(len, lines)) <= 80
    assert sum("tau_pos=0.25!" in line for line in lines) == 2
