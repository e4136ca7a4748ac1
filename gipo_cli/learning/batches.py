"""Batches of replayed transitions on the learner's device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gipo_cli.data.replay import Indices, ReplayBuffer
from gipo_cli.data.rollout import each
from gipo_cli.settings.schema import AgentConfig


@dataclass(frozen=True)
class Batch:
    """A batch on the learner's device.

    Shapes: ``obs [B, ...]``, ``action`` and ``log_prob`` ``[B, D]``, ``advantage``, ``value_target`` and
    ``lag`` ``[B]``, ``distribution [B, P]`` (P = 0 where none is stored).
    """

    obs: Any
    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    value_target: Tensor
    lag: Tensor
    distribution: Tensor


class Sampler:
    """Draws batches from a replay buffer, by streams of its own.

    Args:
        config: the agent's settings.
        device: where batches go.
        seed: of both streams; None: of the system's.
        distribution: whether batches hold the behaviour distribution.
    """

    def __init__(
        self, config: AgentConfig, device: torch.device, seed: int | None, *, distribution: bool
    ) -> None:
        self.config, self.device, self.distribution = config, device, distribution
        # Legacy stream: Stable-Baselines3 shuffles with it, and equality with its PPO is a promise.
        self.shuffle = np.random.RandomState(seed)
        self.draw = np.random.default_rng(seed)

    def batches(self, buffer: ReplayBuffer, version: int) -> Iterator[Batch]:
        """One iteration's batches; ``version`` is the learner's."""
        centre, spread = self._moments(buffer)
        for slots in self._slots(buffer):
            yield self.load(buffer, slots, version, centre, spread)

    def _slots(self, buffer: ReplayBuffer) -> Iterator[Indices]:
        update = self.config.update
        if update.sampling == "epochs":
            for _ in range(update.epochs):
                yield from buffer.shuffled(update.batch_size, self.shuffle)
        else:
            for _ in range(update.rounds):
                yield buffer.draw(update.batch_size, self.draw)

    def _moments(self, buffer: ReplayBuffer) -> tuple[float, float]:
        if self.config.advantage.normalize != "buffer":
            return 0.0, 1.0
        held = buffer.advantage[: len(buffer)]
        return float(held.mean()), float(held.std()) + 1e-8

    def load(
        self, buffer: ReplayBuffer, slots: Indices, version: int, centre: float = 0.0, spread: float = 1.0
    ) -> Batch:
        """The transitions in ``slots``, with advantages normalised as configured."""

        def take(array: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(np.take(array, slots, axis=0)).to(self.device)

        advantage = take(buffer.advantage)
        if self.config.advantage.normalize == "batch" and len(advantage) > 1:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        elif self.config.advantage.normalize == "buffer":
            advantage = (advantage - centre) / spread
        return Batch(
            each(take, buffer.obs),
            take(buffer.action),
            take(buffer.log_prob),
            advantage,
            take(buffer.value_target),
            version - take(buffer.version),
            take(buffer.distribution) if self.distribution else torch.empty(len(slots), 0),
        )
