"""The policy at the start of an iteration's updates, for objectives that compare the learner with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

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

    def log_prob(self, batch: Batch, now: Tensor) -> Tensor:
        """Log-probabilities ``[B, D]`` of a batch, whose are ``now`` by the learner. Gradient: none."""
        if self._batch is not batch or self._log_prob is None:
            self._batch, self._log_prob = batch, self._form(batch, now)
        return self._log_prob

    @torch.no_grad()
    def _form(self, batch: Batch, now: Tensor) -> Tensor:
        start, moved = self._start, self.actor.flat.detach()
        if not bool(batch.lag.any()):
            return batch.log_prob
        if start is None or torch.equal(start, moved):
            return now.detach()
        kept = moved.clone()
        moved.copy_(start)
        try:
            with self.autocast():
                output = self.policy.actor(self.policy.shared(batch.obs)).float()
            return self.policy.head.log_prob(output, batch.action)
        finally:
            moved.copy_(kept)
