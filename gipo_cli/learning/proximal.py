"""The policy at the start of an iteration's updates, for objectives that compare the learner with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from gipo_cli.learning.batches import Batch
from gipo_cli.learning.flat import FlatParameters
from gipo_cli.learning.policies import MlpPolicy


class ProximalPolicy:
    """Log-probabilities under the learner of the iteration's start, one forward pass a batch.

    No pass is run where that policy collected the whole batch, whose stored numbers are its own, nor as long
    as the learner has not moved.

    Args:
        policy: The learner.
        actor: Its parameters that the actor loss moves.
        autocast: Context in which the networks run while learning.
    """

    def __init__(
        self,
        policy: MlpPolicy,
        actor: FlatParameters,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.policy, self.actor, self.autocast = policy, actor, autocast
        self._start: Tensor | None = None
        self._batch: Batch | None = None
        self._log_prob: Tensor | None = None

    def begin(self) -> None:
        """Take the learner as it is for the proximal policy."""
        self._start, self._batch = self.actor.flat.detach().clone(), None

    @property
    def moved(self) -> bool:
        """Whether the learner differs from it."""
        return self._start is not None and not torch.equal(self._start, self.actor.flat)

    def log_prob(self, batch: Batch, now: Tensor) -> Tensor:
        """Log-probabilities ``[B, D]`` of a batch, whose are ``now`` by the learner. Gradient: none."""
        if self._batch is not batch or self._log_prob is None:
            self._batch, self._log_prob = batch, self._form(batch, now)
        return self._log_prob

    def _form(self, batch: Batch, now: Tensor) -> Tensor:
        if not bool(batch.lag.any()):
            return batch.log_prob
        return self.at_start(batch.obs, batch.action) if self.moved else now.detach()

    @torch.no_grad()
    def at_start(self, obs: Any, action: Tensor) -> Tensor:
        """Log-probabilities ``[B, D]`` of actions under the policy of the newest :meth:`begin`."""
        moved = self.actor.flat.detach()
        kept = moved.clone()
        moved.copy_(moved if self._start is None else self._start)
        try:
            passes = self.policy.acting()
            with self.autocast():
                output = passes.actor(passes.shared(obs)).float()
            return self.policy.head.log_prob(output, action)
        finally:
            moved.copy_(kept)
