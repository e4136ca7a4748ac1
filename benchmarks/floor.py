"""The floor: the arithmetic of the authors' settings in plain PyTorch, and nothing else.

Same network, same shapes, same loss terms, on random tensors. No buffer, no sampling, no metrics, no checks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gipo_cli.envs.metaworld import goals_of, make_simulator

OBS, DIMS, BINS, BATCH, STEPS = 39, 4, 256, 512, 500
ENCODER, ACTOR, CRITIC = 512, 512, 256


class PlainNetwork(nn.Module):
    """Shared encoder, actor, and a critic on detached features.

    Shapes: observations ``[B, 39]``; logits ``[B, 4, 256]`` and values ``[B]`` out.
    Source: settings of the authors' Meta-World script.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(OBS, ENCODER), nn.ReLU(), nn.LayerNorm(ENCODER))
        self.actor = nn.Sequential(
            nn.Linear(ENCODER, ACTOR), nn.ReLU(), nn.LayerNorm(ACTOR), nn.Linear(ACTOR, DIMS * BINS)
        )
        self.critic = nn.Sequential(
            nn.Linear(ENCODER, CRITIC), nn.ReLU(), nn.LayerNorm(CRITIC), nn.Linear(CRITIC, 1)
        )

    def logits(self, features: Tensor) -> Tensor:
        """Of encoder features ``[B, 512]``."""
        return self.actor(features).view(-1, DIMS, BINS)  # type: ignore[no-any-return]

    def value(self, features: Tensor) -> Tensor:
        """Of encoder features ``[B, 512]``, through which no gradient flows."""
        return self.critic(features.detach()).squeeze(-1)  # type: ignore[no-any-return]


class Floor:
    """Single-observation forwards, actor+critic steps and critic-only steps.

    Args:
        bfloat16: run the networks in it.
        compiled: pass the losses through ``torch.compile``, which needs a C++ compiler.
    """

    def __init__(self, bfloat16: bool = False, compiled: bool = False) -> None:
        torch.manual_seed(0)
        self.network = PlainNetwork()
        self.cast = torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)
        actor = [*self.network.encoder.parameters(), *self.network.actor.parameters()]
        self.critic = list(self.network.critic.parameters())
        self.all = [*actor, *self.critic]
        groups = [{"params": actor, "lr": 3e-4}, {"params": self.critic, "lr": 3e-3}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
        self.obs = torch.randn(BATCH, OBS)
        self.action = torch.randint(0, BINS, (BATCH, DIMS, 1))
        self.behaviour = torch.randn(BATCH, DIMS, BINS).mul_(0.05).log_softmax(-1)
        self.log_prob = self.behaviour.gather(-1, self.action).squeeze(-1)
        self.advantage, self.target = torch.randn(BATCH, 1), torch.randn(BATCH)

        if compiled:
            self._loss = torch.compile(self._loss)  # type: ignore[method-assign]
            self._critic_loss = torch.compile(self._critic_loss)  # type: ignore[method-assign]

    def forwards(self, count: int = STEPS) -> None:
        """Logits and value of one observation at a time, without sampling."""
        one = self.obs[:1]
        with torch.inference_mode(), self.cast:
            for _ in range(count):
                features = self.network.encoder(one)
                self.network.logits(features)
                self.network.value(features)

    def steps(self, rounds: int = 10, critic_only: int = 9) -> None:
        """Rounds of one actor+critic step and ``critic_only`` critic steps on the features after it."""
        for _ in range(rounds):
            self._apply(self._loss(), self.all)
            if critic_only:
                with torch.no_grad(), self.cast:
                    features = self.network.encoder(self.obs)
                for _ in range(critic_only):
                    self._apply(self._critic_loss(features), self.critic)

    def _critic_loss(self, features: Tensor) -> Tensor:
        with self.cast:
            value = self.network.value(features)
        return 0.5 * mse_loss(value.float(), self.target)

    def _loss(self) -> Tensor:
        with self.cast:
            features = self.network.encoder(self.obs)
            logits, value = self.network.logits(features), self.network.value(features)
        log_pi = logits.float().log_softmax(-1)
        log_ratio = log_pi.gather(-1, self.action).squeeze(-1) - self.log_prob
        weight = torch.exp(-0.5 * (log_ratio.detach() / 0.5) ** 2)
        surrogate = (weight * log_ratio.exp() * self.advantage).mean()
        kl = (self.behaviour.exp() * (self.behaviour - log_pi)).sum(-1).mean()
        return 0.1 * kl - surrogate + 0.5 * mse_loss(value.float(), self.target)

    def _apply(self, loss: Tensor, parameters: list[nn.Parameter]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimizer.step()


class BareReach:
    """Meta-World's reach-v3 without any wrapper, driven by random actions."""

    def __init__(self) -> None:
        self.simulator = make_simulator("reach-v3")
        self.goals = goals_of("reach-v3", 1)
        self.rng = np.random.default_rng(0)

    def episode(self, steps: int = STEPS, before: Callable[[], object] = lambda: None) -> None:
        """One reset and ``steps`` steps, each after ``before``: an episode of reach-v3 is 500 steps long."""
        self.simulator.unwrapped.set_task(self.goals[self.rng.integers(len(self.goals))])  # type: ignore[attr-defined]
        self.simulator.reset()
        for action in self.rng.uniform(-1, 1, (steps, DIMS)):
            before()
            self.simulator.step(action)


def alternating(bare: BareReach, floor: Floor) -> None:
    """An episode with a forward before each step, as acting must: neither finds its data in the caches."""
    bare.episode(before=partial(floor.forwards, 1))
