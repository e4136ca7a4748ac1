"""Batches of replayed transitions on the learner's device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
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

    Attributes:
        demos: demonstrations, of which a share of each batch is drawn; None: no share.
        share: which share.
    """

    def __init__(
        self, config: AgentConfig, device: torch.device, seed: int | None, *, distribution: bool
    ) -> None:
        self.config, self.device, self.distribution = config, device, distribution
        # Legacy stream: Stable-Baselines3 shuffles with it, and equality with its PPO is a promise.
        self.shuffle = np.random.RandomState(seed)
        self.draw = np.random.default_rng(seed)
        self.demos: ReplayBuffer | None = None
        self.share = 0.0

    def batches(self, buffer: ReplayBuffer, version: int) -> Iterator[Batch]:
        """One iteration's batches; ``version`` is the learner's."""
        centre, spread = self._moments(buffer)
        for slots in self._slots(buffer):
            batch = self._taken(buffer, slots, version)
            if self.demos is not None:
                more = self.demos.draw(self._demonstrated, self.draw)
                batch = _together(batch, self._taken(self.demos, more, version))
            yield self._normalised(batch, centre, spread)

    @property
    def _demonstrated(self) -> int:
        """Rows of a batch that are demonstrations."""
        return 0 if self.demos is None else max(1, round(self.share * self.config.update.batch_size))

    def _slots(self, buffer: ReplayBuffer) -> Iterator[Indices]:
        update = self.config.update
        size = max(1, update.batch_size - self._demonstrated)
        if update.sampling == "epochs":
            for _ in range(update.epochs):
                yield from buffer.shuffled(size, self.shuffle)
        else:
            for _ in range(update.rounds):
                yield buffer.draw(size, self.draw)

    def _moments(self, buffer: ReplayBuffer) -> tuple[float, float]:
        if self.config.advantage.normalize != "buffer":
            return 0.0, 1.0
        held = buffer.advantage[: len(buffer)]
        return float(held.mean()), float(held.std()) + 1e-8

    def load(
        self, buffer: ReplayBuffer, slots: Indices, version: int, centre: float = 0.0, spread: float = 1.0
    ) -> Batch:
        """The transitions in ``slots``, with advantages normalised as configured."""
        return self._normalised(self._taken(buffer, slots, version), centre, spread)

    def _normalised(self, batch: Batch, centre: float, spread: float) -> Batch:
        advantage = batch.advantage
        if self.config.advantage.normalize == "batch" and len(advantage) > 1:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        elif self.config.advantage.normalize == "buffer":
            advantage = (advantage - centre) / spread
        return replace(batch, advantage=advantage)

    def _taken(self, buffer: ReplayBuffer, slots: Indices, version: int) -> Batch:
        """The transitions in ``slots``, with advantages as they are in the buffer."""

        def take(array: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(np.take(array, slots, axis=0)).to(self.device)

        return Batch(
            each(take, buffer.obs),
            take(buffer.action),
            take(buffer.log_prob),
            take(buffer.advantage),
            take(buffer.value_target),
            version - take(buffer.version),
            take(buffer.distribution) if self.distribution else torch.empty(len(slots), 0),
        )


def _together(first: Batch, second: Batch) -> Batch:
    """One batch of both."""
    parts = {field.name: (getattr(first, field.name), getattr(second, field.name)) for field in fields(Batch)}
    return Batch(**{name: each(lambda a, b: torch.cat([a, b]), *pair) for name, pair in parts.items()})
