"""The words of a diagnosis."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from buffers import filled

from gipo_cli.analysis.diagnosis import heading, measured, summary
from gipo_cli.analysis.probe import ProbeRow
from gipo_cli.commands.columns import aligned
from gipo_cli.errors import UserError


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


@pytest.mark.parametrize(("envs", "steps", "enough"), [(1, 6, 8), (2, 3, 4)])
def test_what_too_small_rollouts_suggest_works(envs: int, steps: int, enough: int) -> None:
    """A buffer of one rollout is halved, and each half needs four rows, which no fewer chunks give."""

    def measure(rollout_steps: int) -> list[ProbeRow]:
        policy, buffer, config = filled(envs * rollout_steps, envs * rollout_steps, 1)
        few = config.diagnostics.model_copy(update={"chunks": 4})
        env = config.env.model_copy(update={"n_envs": envs})
        config = config.model_copy(update={"diagnostics": few, "env": env})
        return measured(policy, buffer, config, 1, torch.device("cpu"), Path("here"))

    with pytest.raises(UserError, match=rf"3 fresh rows, .*agent\.rollout_steps={enough} or more"):
        measure(steps)
    assert measure(enough)
