"""The agent's own share of an iteration at Meta-World's default settings, against its arithmetic alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from benchmarks.harness import Row, Target, against, interleave
from benchmarks.learner import collect, learn, make_agent

OBS, DIMS, WIDTH, ENVS, STEPS, BATCH, BATCHES, HELD = 39, 4, 128, 5, 200, 512, 20, 10_000


def _network(outputs: int) -> nn.Sequential:
    wide = (nn.Linear(OBS, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh())
    return nn.Sequential(*wide, nn.Linear(WIDTH, outputs))


class Plain:
    """The same networks, shapes and loss terms in plain PyTorch, on random tensors.

    No buffer, no sampling, no metrics, no checks.
    """

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.actor, self.earlier, self.critic = _network(DIMS), _network(DIMS), _network(1)
        self.log_std = nn.Parameter(torch.full((DIMS,), -0.5))
        self.mean, self.std = torch.zeros(OBS), torch.ones(OBS)
        policy = [*self.actor.parameters(), self.log_std]
        self.all = [*policy, *self.critic.parameters()]
        groups: list[dict[str, Any]] = [
            {"params": policy, "lr": 1e-4},
            {"params": list(self.critic.parameters()), "lr": 1e-3},
        ]
        self.optimizer = torch.optim.Adam(groups, eps=1e-5, fused=True)
        self.obs, self.held = torch.randn(BATCH, OBS), torch.randn(HELD, OBS)
        self.action, self.behaviour = torch.randn(BATCH, DIMS), torch.randn(BATCH)
        self.advantage, self.target = torch.randn(BATCH), torch.randn(BATCH)

    def act(self) -> None:
        """Actions, log-probabilities and values of every step, from arrays to arrays."""
        obs = np.zeros((ENVS, OBS), np.float32)
        with torch.inference_mode():
            for _ in range(STEPS):
                seen = self._normalised(torch.from_numpy(obs))
                mean = self.actor(seen)
                action = mean + self.log_std.exp() * torch.randn(ENVS, DIMS)
                self._log_prob(mean, action)
                self.critic(seen)
                np.clip(action.numpy(), -1, 1)

    def learn(self) -> None:
        """Values of all that is held, and an iteration's optimizer steps."""
        with torch.no_grad():
            self.critic(self._normalised(self.held))
        for _ in range(BATCHES):
            seen = self._normalised(self.obs)
            with torch.no_grad():
                self._log_prob(self.earlier(seen), self.action)
            log_ratio = self._log_prob(self.actor(seen), self.action) - self.behaviour
            weight = torch.exp(-0.5 * (log_ratio.detach() / 0.2) ** 2)
            surrogate = (weight * log_ratio.exp() * self.advantage).mean()
            error = mse_loss(self.critic(seen).squeeze(-1), self.target)
            self.optimizer.zero_grad(set_to_none=True)
            (0.5 * error - surrogate).backward()
            nn.utils.clip_grad_norm_(self.all, 0.5)
            self.optimizer.step()

    def _normalised(self, obs: Tensor) -> Tensor:
        return ((obs - self.mean) / self.std).clamp(-10, 10)

    def _log_prob(self, mean: Tensor, action: Tensor) -> Tensor:
        return (-((action - mean) ** 2) / (2 * self.log_std.exp() ** 2) - self.log_std).sum(-1)


def share(repeats: int) -> list[Row]:
    """Acting from an environment's return to the next action, and an iteration's update."""
    agent, plain = make_agent("env=metaworld", "env.task=reach-v3"), Plain()
    env: Any = agent.env
    seen = np.zeros(OBS, np.float32)
    for simulator in env.envs:
        simulator.step = lambda action: (seen, 0.0, False, False, {})
    tasks: dict[str, Callable[[], object]] = {
        "acting": partial(collect, agent),
        "plain acting": plain.act,
        "update": partial(learn, agent),
        "plain update": plain.learn,
    }
    times = interleave(tasks, repeats)
    limit = Target("at most", 1.2)
    return [against(times, name, f"plain {name}", target=limit) for name in ("acting", "update")]
