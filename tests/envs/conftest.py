"""A user's own module with an environment."""

import sys
import textwrap

import gymnasium as gym
import pytest

MODULE = """
    import gymnasium as gym
    import numpy as np

    class Mine(gym.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
        observation_space = gym.spaces.Box(-1, 1, (2,), np.float64)
        action_space = gym.spaces.Box(-2, 2, (1,), np.float32)

        def __init__(self, goal=0.0, render_mode=None):
            self.goal = goal
            self.render_mode = render_mode

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.x = self.np_random.uniform(-1, 1)
            return np.array([self.x, self.goal]), {}

        def step(self, action):
            self.x = float(np.clip(self.x + 0.1 * action[0], -1, 1))
            gap = abs(self.x - self.goal)
            return np.array([self.x, self.goal]), -gap, False, False, {"success": gap < 0.1}

    gym.register("Mine-v0", Mine, max_episode_steps=7)
"""


@pytest.fixture
def my_module(tmp_path, monkeypatch):
    """A user's module in the current directory, which registers Mine-v0."""
    (tmp_path / "my_own_envs.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield "my_own_envs"
    sys.modules.pop("my_own_envs", None)
    gym.registry.pop("Mine-v0", None)
