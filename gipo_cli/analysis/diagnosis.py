"""What a diagnosis of a run's checkpoints measures, writes and says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from gipo_cli.analysis.live import measure_buffer, newest_rows, split_rows
from gipo_cli.analysis.output import drawn, table
from gipo_cli.analysis.probe import REFERENCES, ProbeRow, least_mse
from gipo_cli.analysis.probe_figures import best_knobs, frontiers
from gipo_cli.compare.style import LOOKS, OTHERS
from gipo_cli.errors import UserError
from gipo_cli.runs.catalog import DIAGNOSTIC_COLUMNS
from gipo_cli.settings.explain import explain

if TYPE_CHECKING:
    import torch

    from gipo_cli.analysis.gradients import Policy
    from gipo_cli.data.replay import ReplayBuffer
    from gipo_cli.settings.schema import RunConfig

Measurements = Mapping[int, Sequence[ProbeRow]]
RECORD = "diagnostics.csv"
FEWEST = 4
"""Rows that the probe and the fresh batch need each; a rollout of twice as many gives both."""
HEADING = """\
Least mean squared error in a batch of {sizes}, plus or minus its standard error,
and the knob that has it. Estimates are unbiased: noise may push one below 0.
importance_sampled: against E[r u] on the same samples, whose noise cancels
on_policy: against the gradient of the newest policy version's data, noisy
* in training
? within two errors of 0, so not told from it
! end of its grid: try values beyond it (--gipo-sigma, --ppo-eps, ...)
gipo_decoupled: sigma_prox cannot be seen in a checkpoint, where the learner is
the proximal policy; training measures it (rows of diagnostics.csv: updated)
"""


def changed(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The configuration with other settings of its ``diagnostics`` section.

    Raises: UserError, which names the option of a setting that is wrong.
    """
    settings = {**config.diagnostics.model_dump(), **changes}
    try:
        diagnostics = type(config.diagnostics).model_validate(settings)
    except ValidationError as error:
        setting, _, must = explain(error, type(config.diagnostics), settings).partition(" ")
        key, _, value = setting.partition("=")
        option = key.partition(".")[0].replace("_", "-")
        raise UserError(f"--{option} {value} {must}") from error
    return config.model_copy(update={"diagnostics": diagnostics})


def measured(
    policy: Policy, buffer: ReplayBuffer, config: RunConfig, step: int, device: torch.device, where: Path
) -> list[ProbeRow]:
    """Measure every estimator on a checkpoint's buffer.

    Raises: UserError if ``where`` holds too little; it says what gives enough.
    """
    try:
        return measure_buffer(policy, buffer, config, step, device)
    except ValueError as error:
        few = _too_few(buffer, config)
        raise UserError(f"checkpoint {where} cannot be measured: {few}") from error


def _too_few(buffer: ReplayBuffer, config: RunConfig) -> str:
    """Which rows are too few to be measured, and what gives enough of them."""
    settings, newest = config.diagnostics, newest_rows(buffer)
    probe, fresh = map(len, split_rows(newest, settings.probe_size, np.random.default_rng(0)))
    if min(probe, fresh) < FEWEST:
        steps = math.ceil(2 * FEWEST / config.env.n_envs)
        return (
            f"rollouts of {newest.sum()} give it {probe} probe rows and {fresh} fresh rows, and {FEWEST} of "
            f"each are needed; train with agent.rollout_steps={steps} or more"
        )
    return f"{probe} probe rows are too few for {settings.chunks} chunks; type --chunks {probe} or fewer"


def files(found: Measurements) -> dict[str, bytes]:
    """``diagnostics.csv`` and the figures, by name."""
    records = (row.record(step) for step, rows in found.items() for row in rows)
    families = {row.family for rows in found.values() for row in rows}
    looks = {**dict(zip(sorted(families - set(LOOKS)), OTHERS, strict=False)), **LOOKS}
    return {
        RECORD: table(
            DIAGNOSTIC_COLUMNS, ([record[name] for name in DIAGNOSTIC_COLUMNS] for record in records)
        ),
        **drawn(
            {"frontiers": lambda: frontiers(found, looks), "best_knobs": lambda: best_knobs(found, looks)}
        ),
    }


def heading(found: Measurements) -> list[str]:
    """Lines that explain :func:`summary`."""
    sizes = " or ".join(sorted({str(row.batch_size) for rows in found.values() for row in rows}))
    return HEADING.format(sizes=sizes).split("\n")


def summary(found: Measurements) -> list[tuple[str, ...]]:
    """Every family's least error at every step, as rows of cells."""
    lines: list[tuple[str, ...]] = []
    for step, rows in found.items():
        best = [least_mse(rows, reference) for reference in REFERENCES]
        trained = {row.family for row in rows if row.trained}
        # In the order of the first reference; a family that it lacks comes last.
        order = sorted({f for one in best for f in one}, key=lambda f: (_mse(best[0].get(f)), f))
        lines.append((f"step {step}", *REFERENCES))
        lines += [
            (f"  {family}{'*' * (family in trained)}", *(_least(one.get(family), rows) for one in best))
            for family in order
        ]
    return lines


def _mse(row: ProbeRow | None) -> float:
    return math.inf if row is None else row.mse


def _least(row: ProbeRow | None, rows: Sequence[ProbeRow]) -> str:
    """The least error of a family with its marks, and its knob among all that were measured."""
    if row is None:
        return "-"
    error = f"{row.mse:.3g} ± {row.mse_se:.2g}" + "?" * (abs(row.mse) < 2 * row.mse_se)
    if row.value is None:
        return error
    grid = {other.value for other in rows if other.family == row.family and other.value is not None}
    at_end = len(grid) > 1 and row.value in (min(grid), max(grid))
    return f"{error} {row.knob}={row.value:g}" + "!" * at_end
