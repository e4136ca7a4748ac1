"""Cloning: the actor that makes demonstrated actions most likely."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gipo_cli.data.rollout import Observation, each
from gipo_cli.learning.heads import GaussianHead
from gipo_cli.learning.normalizer import ObsNormalizer
from gipo_cli.learning.optimizers import Adam
from gipo_cli.learning.policies import MlpPolicy
from gipo_cli.settings.posttrain import CloneConfig

CHECK_STEPS = 50
"""Optimizer steps between two looks at the validation episodes."""
OnCheck = Callable[[int, float], None]
"""Told the steps taken and the loss."""


@dataclass(frozen=True)
class Cloned:
    """What cloning came to; losses are negative log-likelihoods per action, in nats."""

    steps: int
    loss: float
    validation_loss: float | None
    validation_episodes: list[int]


def clone(
    policy: MlpPolicy,
    obs: Observation,
    action: NDArray[np.generic],
    length: Sequence[int],
    config: CloneConfig,
    seed: int,
    on_check: OnCheck = lambda step, loss: None,
) -> Cloned:
    """Train the actor by maximum likelihood, with observation statistics of the demonstrations.

    Part of the episodes choose the number of steps; then all are cloned, from the same beginning.

    Args:
        policy: What is trained, in place; its critic is left alone.
        obs: Observations ``[N, ...]``.
        action: The agent's actions ``[N, D]``.
        length: Steps of each episode.
        config: How.
        seed: Of the validation episodes and the batches.
        on_check: Called every ``CHECK_STEPS`` steps.
    """
    device = policy.device
    data = policy.tensors(obs), torch.from_numpy(action).to(device)
    normalise(policy, data[0], config.min_deviation)
    episodes = np.repeat(np.arange(len(length)), length)
    held = _held_out(len(length), config.validation, seed)
    steps, best = config.steps, None
    if held:
        apart = np.isin(episodes, held)
        initial = copy.deepcopy(policy.state_dict())
        steps, best = _Fit(policy, data, ~apart, config, seed).search(apart, on_check)
        policy.load_state_dict(initial)
    loss = _Fit(policy, data, np.ones(len(episodes), np.bool_), config, seed).run(steps, on_check)
    return Cloned(steps, loss, best, held)


@torch.no_grad()
def normalise(policy: MlpPolicy, obs: Tensor, min_deviation: float) -> None:
    """Give the policy's normaliser, if it has one, these observations' statistics."""
    normalizer = policy.features_extractor
    if isinstance(normalizer, ObsNormalizer):
        normalizer.count.zero_()
        normalizer.mean.zero_()
        normalizer.var.fill_(1.0)
        normalizer.update(obs)
        normalizer.var.clamp_(min=min_deviation**2)


def _held_out(episodes: int, share: float, seed: int) -> list[int]:
    """Validation episodes: at least one, if there are two and any are wanted."""
    if episodes < 2 or not share:
        return []
    count = min(max(1, round(share * episodes)), episodes - 1)
    return sorted(np.random.default_rng(seed).choice(episodes, count, replace=False).tolist())


class _Fit:
    """One optimization over some rows of the demonstrations."""

    def __init__(
        self,
        policy: MlpPolicy,
        data: tuple[Tensor, Tensor],
        rows: NDArray[np.bool_],
        config: CloneConfig,
        seed: int,
    ) -> None:
        self.policy, self.config = policy, config
        self.obs, self.action = data
        self.rows = np.flatnonzero(rows)
        self.rng = np.random.default_rng((seed, 1))
        fixed = isinstance(policy.head, GaussianHead) and not config.learn_std
        skipped = {id(policy.head.log_std)} if fixed else set()  # type: ignore[attr-defined]
        self.parameters = [p for p in policy.actor_parameters() if id(p) not in skipped]
        self.optimizer = Adam(self.parameters, lr=config.lr)

    def run(self, steps: int, on_check: OnCheck) -> float:
        """Take so many steps; returns the newest loss."""
        loss = math.nan
        for step in range(1, steps + 1):
            loss = self._step()
            if step % CHECK_STEPS == 0:
                on_check(step, loss)
        return loss

    def search(self, apart: NDArray[np.bool_], on_check: OnCheck) -> tuple[int, float]:
        """The number of steps after which the rows that are set apart are most likely, and their loss."""
        rows = np.flatnonzero(apart)
        best, best_loss = 1, math.inf
        for step in range(1, self.config.steps + 1):
            self._step()
            if step % CHECK_STEPS == 0 or step == self.config.steps:
                with torch.no_grad():
                    loss = float(self._loss(rows))
                on_check(step, loss)
                if loss < best_loss:
                    best, best_loss = step, loss
                elif step - best >= self.config.patience:
                    break
        return best, best_loss

    def _step(self) -> float:
        size = self.config.batch
        rows = self.rows if len(self.rows) <= size else self.rng.choice(self.rows, size, replace=False)
        loss = self._loss(rows)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def _loss(self, rows: NDArray[np.int64]) -> Tensor:
        index = torch.from_numpy(rows).to(self.action.device)
        obs = each(lambda part: part[index], self.obs)
        return -self.policy.log_prob(obs, self.action[index]).sum(-1).mean()
