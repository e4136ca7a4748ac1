"""Rollouts against environments whose every observation is known."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from gipo_cli.learning.actor import Actor, Snapshot
from gipo_cli.learning.sb3 import GIPO


class Counting(gymnasium.Env[np.ndarray, np.ndarray]):
    """Observes the steps of its episode, which ends after ``length`` of them, one way or the other."""

    observation_space = spaces.Box(0, 10, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, length: int, terminates: bool) -> None:
        self.length, self.terminates, self.count = length, terminates, 0

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.count += 1
        ended = self.count == self.length
        observation = np.full(1, self.count, np.float32)
        return observation, 1.0, ended and self.terminates, ended and not self.terminates, {}


def test_ends_are_told_apart_and_have_their_own_final_observation() -> None:
    env = DummyVecEnv([lambda: Counting(3, True), lambda: Counting(2, False)])
    policy = GIPO("mlp", env, device="cpu").policy
    actor = Actor(env, 4, torch.Generator(), keeps_distribution=False)
    rollout = actor.collect(Snapshot(policy, 7))
    assert rollout is not None
    assert rollout.obs[..., 0].T.tolist() == [[0, 1, 2, 0], [0, 1, 0, 1]]
    assert rollout.terminated.T.tolist() == [[False, False, True, False], [False] * 4]
    assert rollout.truncated.T.tolist() == [[False] * 4, [False, True, False, True]]
    # The final observation of each ended episode, and what follows the last row: not the reset one.
    tails = dict(zip(rollout.tail_row.tolist(), rollout.tail_obs[:, 0].tolist(), strict=True))
    assert tails == {1 * 2 + 1: 2.0, 2 * 2 + 0: 3.0, 3 * 2 + 0: 1.0, 3 * 2 + 1: 2.0}
    assert rollout.policy_version == 7
    expected = policy.predict_values(torch.tensor([[2.0], [3.0], [1.0], [2.0]]))[:, 0]
    assert np.allclose(rollout.tail_value, expected.detach(), atol=1e-6)
