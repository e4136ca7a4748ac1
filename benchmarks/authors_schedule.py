"""The GIPO authors' schedule in plain PyTorch, as its public script runs it; the words are ours.

What costs time there is kept: transitions as a list of records that are stacked one by one for every batch;
distribution objects for acting; on each of a batch's ten reuses the whole forward pass and every loss term,
although nine of them only step the critic; numbers read out of tensors after every step; unfused optimizers.
Source: settings and schedule of the authors' Meta-World script (arXiv 2603.03955).
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical, kl_divergence
from torch.nn.functional import mse_loss

from benchmarks.floor import BATCH, BINS, STEPS, PlainNetwork
from gipo_cli.envs.metaworld import goals_of, make_simulator

Record = dict[str, Any]


class AuthorsSchedule:
    """Network, optimizers, simulator and a buffer of ``filled`` transitions."""

    def __init__(self, filled: int = 20_000) -> None:
        torch.manual_seed(0)
        self.simulator: Any = make_simulator("reach-v3")
        self.goals = goals_of("reach-v3", 1)
        self.rng = random.Random(0)
        self.network = PlainNetwork()
        policy = [*self.network.encoder.parameters(), *self.network.actor.parameters()]
        self.policy_optimizer = torch.optim.AdamW(policy, lr=3e-4, weight_decay=0.0)
        self.value_optimizer = torch.optim.AdamW(self.network.critic.parameters(), lr=3e-3, weight_decay=0.0)
        self.buffer: deque[Record] = deque(maxlen=20_000)
        self.logs: list[dict[str, float]] = []
        first = self.collect()
        while len(self.buffer) < filled:
            self.buffer.extend({**record, "logits": record["logits"].copy()} for record in first)

    def iterate(self) -> None:
        """One iteration: 500 environment steps, 10 batches x 10 reuses."""
        self.buffer.extend(self.collect())
        self.logs.clear()
        for _ in range(10):
            self.learn(self.rng.sample(self.buffer, BATCH))

    def collect(self) -> list[Record]:
        """An episode of 500 steps with advantages of the critic that acted."""
        self.simulator.set_task(self.rng.choice(self.goals))
        obs, _ = self.simulator.reset()
        episode: list[Record] = []
        for _ in range(STEPS):
            with torch.no_grad():
                features = self.network.encoder(torch.tensor(obs, dtype=torch.float32).unsqueeze(0))
                logits, value = self.network.logits(features), self.network.value(features)
                policy = Categorical(logits=logits)
                token = policy.sample()
                log_prob = policy.log_prob(token)
            action = -1 + 2 * token.squeeze(0).numpy() / (BINS - 1)
            following, reward, _, _, _ = self.simulator.step(action.astype(np.float32))
            episode.append(
                {
                    "obs": np.asarray(obs, np.float32),
                    "token": token.squeeze(0).numpy(),
                    "log_prob": log_prob.squeeze(0).numpy(),
                    "logits": logits.squeeze(0).numpy(),
                    "reward": 0.001 * float(reward),
                    "value": value.item(),
                }
            )
            obs = following
        # The time limit counts as termination, so that nothing follows the last step.
        running, next_value = 0.0, 0.0
        for record in reversed(episode):
            error = record["reward"] + 0.99 * next_value - record["value"]
            running = error + 0.99 * 0.95 * running
            next_value = record["value"]
            record["advantage"], record["return"] = running, running + record["value"]
        return episode

    def learn(self, batch: list[Record]) -> None:
        """Ten reuses of one batch, which is stacked once."""
        obs, token, behaviour_log_prob, logits = (
            torch.tensor(np.stack([record[key] for record in batch]))
            for key in ("obs", "token", "log_prob", "logits")
        )
        advantage, target = (
            torch.tensor([record[key] for record in batch], dtype=torch.float32)
            for key in ("advantage", "return")
        )
        advantage = ((advantage - advantage.mean()) / (advantage.std() + 1e-8)).unsqueeze(-1)
        behaviour = Categorical(logits=logits)
        for reuse in range(10):
            features = self.network.encoder(obs)
            policy = Categorical(logits=self.network.logits(features))
            value = self.network.value(features)
            log_ratio = policy.log_prob(token) - behaviour_log_prob
            ratio = log_ratio.exp()
            weight = torch.exp(-0.5 * (log_ratio.detach() / 0.5) ** 2)
            policy_loss = -(weight * ratio * advantage).mean() / (reuse + 1) ** 0.5
            kl, entropy = kl_divergence(behaviour, policy).mean(), policy.entropy().mean()
            value_loss = mse_loss(value, target)
            self.policy_optimizer.zero_grad()
            self.value_optimizer.zero_grad()
            moves_policy = reuse == 0
            loss = 0.5 * value_loss + ((policy_loss + 0.1 * kl) if moves_policy else 0.0)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            if moves_policy:
                self.policy_optimizer.step()
            self.value_optimizer.step()
            self.logs.append(
                {
                    "policy_loss": policy_loss.item(),
                    "value_loss": value_loss.item(),
                    "kl": kl.item(),
                    "entropy": entropy.item(),
                    "ratio": ratio.mean().item(),
                    "ratio_max": ratio.max().item(),
                    "weight": weight.mean().item(),
                    "value": value.mean().item(),
                    "grad_norm": norm.item(),
                }
            )
