"""Replay buffers to measure on."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces

from gipo_cli.data.replay import Block, ReplayBuffer
from gipo_cli.learning.policies import policy_class, policy_kwargs
from gipo_cli.settings.schema import RunConfig


def filled(capacity: int, rollout: int, rollouts: int) -> tuple[torch.nn.Module, ReplayBuffer, RunConfig]:
    config = RunConfig.model_validate(
        {
            "total_steps": 1000,
            "env": {"name": "toy"},
            "objective": {"name": "gipo"},
            "buffer": {"size": capacity},
            "agent": {"rollout_steps": rollout, "update": {"batch_size": 64}},
            "diagnostics": {"probe_size": 128, "chunks": 8, "gipo_sigma": [0.2, 1.0]},
        }
    )
    torch.manual_seed(0)
    space, action = spaces.Box(-np.inf, np.inf, (5,)), spaces.Box(-1, 1, (2,))
    policy = policy_class(config.agent.policy)(
        space, action, lambda _: 1e-3, **policy_kwargs(config.agent.policy, False, 10.0)
    )
    buffer, rng = ReplayBuffer(capacity, (5,), 2), np.random.default_rng(0)
    for k in range(rollouts):
        slots = np.arange(k * rollout, (k + 1) * rollout) % capacity
        buffer.obs[slots] = rng.normal(size=(rollout, 5))
        buffer.action[slots] = rng.normal(size=(rollout, 2))
        with torch.no_grad():
            log_prob = policy.log_prob(
                torch.from_numpy(buffer.obs[slots]), torch.from_numpy(buffer.action[slots])
            )
        buffer.log_prob[slots] = log_prob.numpy() + 0.1 * rng.normal(size=(rollout, 2))
        buffer.advantage[slots] = 5.0 + 3.0 * rng.normal(size=rollout)
        buffer.version[slots] = k
        buffer.blocks.append(Block(k * rollout, rollout, 1, np.zeros(0, np.int64), buffer.obs[:0]))
        buffer.added += rollout
    return policy, buffer, config
