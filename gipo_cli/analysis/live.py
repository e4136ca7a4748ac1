"""The probe drawn from a replay buffer: one call measures a run at any moment, live or from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from gipo_cli.analysis.gradients import Policy
from gipo_cli.analysis.probe import ProbeBatch, ProbeRow, grid_from, run_probe, run_updated_probe
from gipo_cli.data.replay import ReplayBuffer
from gipo_cli.settings.schema import AdvantageConfig, RunConfig

Rows = NDArray[np.int64]


def measure_buffer(
    policy: Policy, buffer: ReplayBuffer, config: RunConfig, step: int, device: torch.device
) -> list[ProbeRow]:
    """Measure every estimator of ``config.diagnostics`` on what the buffer holds now.

    The rows are drawn by a stream of their own, derived from the run's seed and ``step``; no other stream is
    touched. Advantages are those the buffer holds, normalised (unless ``advantage.normalize`` is ``none``) by
    the mean and deviation of the whole buffer, the same for the probe and for the fresh batch.

    Raises: ValueError if the buffer is too small for ``diagnostics.chunks``.
    """
    batches = _batches(buffer, config, step, device)
    grid = grid_from(config.diagnostics, config.objective)
    return run_probe(policy, *batches, grid=grid, **_settings(buffer, config))


def measure_updated(
    policy: Policy,
    buffer: ReplayBuffer,
    config: RunConfig,
    step: int,
    device: torch.device,
    proximal: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> list[ProbeRow]:
    """Measure the trained objective on the same rows again, after the updates of the iteration.

    ``proximal`` gives log-probabilities ``[n, D]`` of observations and actions before them.

    Raises: ValueError if the buffer is too small for ``diagnostics.chunks``.
    """
    probe, fresh = _batches(buffer, config, step, device)
    probe = replace(probe, proximal_log_prob=proximal(probe.obs, probe.action))
    return run_updated_probe(policy, probe, fresh, **_settings(buffer, config))


def _batches(
    buffer: ReplayBuffer, config: RunConfig, step: int, device: torch.device
) -> tuple[ProbeBatch, ProbeBatch]:
    """The probe and the fresh batch of a step."""
    rng = np.random.default_rng([config.seed, step])
    probe, fresh = split_rows(newest_rows(buffer), config.diagnostics.probe_size, rng)
    advantage = config.agent.advantage
    return _take(buffer, probe, advantage, device), _take(buffer, fresh, advantage, device)


def _settings(buffer: ReplayBuffer, config: RunConfig) -> dict[str, Any]:
    return {
        "trained": config.objective,
        "ratio": config.agent.ratio,
        "chunks": config.diagnostics.chunks,
        "batch_size": min(config.agent.update.batch_size, len(buffer)),
    }


def newest_rows(buffer: ReplayBuffer) -> NDArray[np.bool_]:
    """Which transitions, oldest first, the newest policy version has collected."""
    version = buffer.version[_slots(buffer, np.arange(len(buffer)))]
    newest: NDArray[np.bool_] = version == version.max()
    return newest


def split_rows(newest: NDArray[np.bool_], probe_size: int, rng: Generator) -> tuple[Rows, Rows]:
    """Disjoint random rows of a buffer for the probe and for the fresh batch, each in random order.

    The fresh batch is the newest policy version's, and the probe comes from older data; where there is none,
    or not enough for a probe as large as the fresh batch, the newest data are halved between them.
    """
    older, last = np.flatnonzero(~newest), rng.permutation(np.flatnonzero(newest))
    if len(older) >= len(last):
        return rng.permutation(older)[:probe_size], last
    half = len(last) // 2
    return rng.permutation(np.concatenate([older, last[:half]]))[:probe_size], last[half:]


def _slots(buffer: ReplayBuffer, rows: Rows) -> Rows:
    return (buffer.oldest + rows) % buffer.capacity


def _take(buffer: ReplayBuffer, rows: Rows, advantage: AdvantageConfig, device: torch.device) -> ProbeBatch:
    slots = _slots(buffer, rows)

    def tensor(array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array[slots]).to(device)

    held = buffer.advantage[: len(buffer)]
    centre, spread = (0.0, 1.0) if advantage.normalize == "none" else (held.mean(), held.std() + 1e-8)
    normalised = ((tensor(buffer.advantage) - float(centre)) / float(spread)).float()
    return ProbeBatch(tensor(buffer.obs), tensor(buffer.action), tensor(buffer.log_prob), normalised)
