"""What a policy begins as, and what holds it near that while it learns."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gipo_cli.data.rollout import Observation, Rollout, each
from gipo_cli.learning.batches import Batch
from gipo_cli.learning.policies import MlpPolicy
from gipo_cli.settings.agent import AgentConfig


@dataclass(frozen=True)
class Demonstrated:
    """Demonstrations as the agent would have played them: N steps of K episodes, end to end.

    Shapes: ``obs [N, ...]``, ``action [N, D]`` (the agent's), ``reward``, ``terminated`` and ``truncated``
    ``[N]``, ``final_obs [K, ...]``. The last step of each episode is terminated or truncated.
    """

    obs: Observation
    action: NDArray[np.generic]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_obs: Observation

    @torch.no_grad()
    def rollout(self, policy: MlpPolicy) -> Rollout:
        """As a rollout of version 0, with ``policy``'s log-probabilities as the behaviour's."""
        shared = policy.shared(policy.tensors(self.obs))
        output, action = policy.actor(shared).float(), torch.from_numpy(self.action).to(policy.device)
        finals = policy.critic(policy.shared(policy.tensors(self.final_obs)))

        def column(array: NDArray[np.generic]) -> NDArray[np.generic]:
            return array[:, None]

        return Rollout(
            each(column, self.obs),
            column(self.action),
            self.reward[:, None],
            self.terminated[:, None],
            self.truncated[:, None],
            policy.head.log_prob(output, action).cpu().numpy()[:, None],
            policy.critic(shared).cpu().numpy()[:, None],
            np.flatnonzero(self.terminated | self.truncated),
            self.final_obs,
            finals.cpu().numpy(),
            0,
            policy.head.distribution(output).cpu().numpy()[:, None],
        )


class Anchor:
    """Penalties for leaving the initial policy and the demonstrations.

    Args:
        policy: The learner's, as it is now: the initial policy.
        config: The agent's settings.
        demos: The demonstrations; needed by the cloning term.
        seed: Of the demonstrations that the cloning term draws.
    """

    def __init__(self, policy: MlpPolicy, config: AgentConfig, demos: Demonstrated | None, seed: int) -> None:
        self.policy, self.config, self.seed = policy, config, seed
        self.initial = copy.deepcopy(policy).requires_grad_(False)
        self.data: tuple[Observation, Tensor] | None = None
        if demos is not None:
            action = torch.from_numpy(demos.action).to(policy.device)
            self.data = policy.tensors(demos.obs), action
        self.begin(0, 0.0)

    def begin(self, version: int, progress: float) -> None:
        """An iteration begins, ``progress`` of the run (0 to 1) being over."""
        # Nothing of it needs to be stored: the iteration alone decides what is drawn.
        self.rng = np.random.default_rng((self.seed, version))
        self.factor = 1.0 if self.config.anchor.decay == "constant" else max(0.0, 1.0 - progress)
        self._kl: list[Tensor] = []
        self._clone: list[Tensor] = []

    def __call__(self, batch: Batch, output: Tensor) -> Tensor:
        """The penalty on a batch whose actor's output is ``output [B, P]``.

        KL(initial || pi) is exact and, like the objective, of a whole action where the ratio is joint and per
        dimension otherwise; the cloning term is the mean negative log-likelihood of demonstrated actions.
        Gradient: through ``output`` and the policy.
        """
        anchor = self.config.anchor
        loss = output.new_zeros(())
        if anchor.kl_coef:
            with torch.no_grad():
                then = self.initial.actor(self.initial.shared(batch.obs)).float()
                then = self.initial.head.distribution(then)
            kl = self.policy.head.terms(output, batch.action, then).kl
            if kl is not None:
                mean = (kl.sum(-1) if self.config.ratio == "joint" else kl).mean()
                loss = loss + self.factor * anchor.kl_coef * mean
                self._kl.append(mean.detach())
        if anchor.clone_coef and self.data is not None:
            obs, action = self.data
            size = min(self.config.update.batch_size, len(action))
            rows = torch.from_numpy(self.rng.choice(len(action), size, replace=False)).to(action.device)
            chosen = each(lambda part: part[rows], obs)
            clone = -self.policy.log_prob(chosen, action[rows]).sum(-1).mean()
            loss = loss + self.factor * anchor.clone_coef * clone
            self._clone.append(clone.detach())
        return loss

    def numbers(self) -> dict[str, float]:
        """Means over the iteration, by the column names of ``metrics.csv``."""

        def mean(values: list[Tensor]) -> float:
            return float(torch.stack(values).mean()) if values else math.nan

        return {"health/kl_initial": mean(self._kl), "loss/clone": mean(self._clone)}
