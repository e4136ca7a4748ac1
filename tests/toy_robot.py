"""A robot that is no simulator's: a point that moves to a goal, and an expert for it."""

import gymnasium as gym
import numpy as np

from gipo_cli.data.demos import Demonstrations, from_arrays
from gipo_cli.settings.schema import EnvConfig

ID = "ToyRobot-v0"


class ToyRobot(gym.Env):
    """Success is to be within 0.1 of the goal; the reward is minus the distance."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gym.spaces.Box(-2, 2, (4,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def _seen(self):
        return np.concatenate([self.at, self.goal])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        return self._seen(), {}

    def step(self, action):
        self.at = self.at + 0.2 * np.clip(action, -1, 1)
        gap = float(np.linalg.norm(self.goal - self.at))
        return self._seen(), -gap, False, False, {"success": gap < 0.1}

    def render(self):
        return np.zeros((32, 32, 3), np.uint8)


if ID not in gym.registry:
    gym.register(ID, "toy_robot:ToyRobot", max_episode_steps=30)


def config(**changes):
    return EnvConfig.model_validate({"name": "gymnasium", "id": ID, **changes})


def expert(obs):
    return np.clip(5 * (obs[2:] - obs[:2]), -1, 1).astype(np.float32)


def demonstrations(episodes=6, seed=1) -> Demonstrations:
    """Recorded by hand, as docs/posttraining.md says."""
    env, rows, lengths = gym.make(ID), {"obs": [], "action": [], "reward": [], "success": []}, []
    for episode in range(episodes):
        obs, _ = env.reset(seed=1000 * seed + episode)
        for _ in range(30):
            action = expert(obs)
            following, reward, _, _, info = env.step(action)
            for name, value in zip(rows, (obs, action, reward, info["success"]), strict=True):
                rows[name].append(value)
            obs = following
            if info["success"]:
                break
        lengths.append(len(rows["obs"]) - sum(lengths))
    return from_arrays({**{k: np.array(v) for k, v in rows.items()}, "length": np.array(lengths)}, "mine")
