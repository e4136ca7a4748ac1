"""Small environments and what tests do with any."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml

from gipo_cli.commands.app import main
from gipo_cli.envs.simulators import Simulator
from gipo_cli.envs.task_env import TaskEnv
from gipo_cli.settings.schema import EnvConfig

CONF = Path(__file__).parents[2] / "conf" / "env"
ACTION = np.zeros(1, np.float32)


def shipped(name, **changes):
    """The configuration of conf/env, with changes."""
    return EnvConfig.model_validate({**yaml.safe_load((CONF / f"{name}.yaml").read_text()), **changes})


def rollout(env, actions):
    """Observations (n+1, d) and rewards (n,) of one new episode."""
    observations, rewards = [env.reset()[0]], []
    for action in actions:
        observation, reward, *_ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    return np.array(observations), np.array(rewards)


def plain(value):
    """What a step or a reset returned, as bytes, values and types."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.tobytes()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return type(value), value


def random_actions(env, count, seed=0):
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(count)]


def assert_history_free_and_seeded(env, other, steps=15):
    """Episode 3 is the same bits whatever came before it, and another one for another seed or number.

    ``env`` and ``other`` are two environments of one configuration and one seed.
    """
    actions = random_actions(env, steps)
    other.set_episode_index(3)
    fresh = rollout(other, actions)
    rollout(env, random_actions(env, steps // 2, seed=1))
    for before in (steps // 2, steps, 0):
        env.set_episode_index(3)
        env.reset()
        for action in actions[:before]:
            env.step(action)
        env.set_episode_index(3)
        again = rollout(env, actions)
        np.testing.assert_array_equal(fresh[0], again[0])
        np.testing.assert_array_equal(fresh[1], again[1])
    other.set_episode_index(4)
    assert not np.array_equal(fresh[0], rollout(other, actions)[0])
    other.reset(seed=6)
    other.set_episode_index(3)
    assert not np.array_equal(fresh[0], rollout(other, actions)[0])


class Script(gym.Env):
    """Plays a script of (reward, info, terminated, truncated); then goes on without end."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, script=()):
        self.script = list(script)
        self.seeds = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.now = 0
        return self.np_random.normal(size=2), {"options": options}

    def step(self, action):
        item = self.script[self.now] if self.now < len(self.script) else (0.0, {}, False, False)
        self.now += 1
        if isinstance(item, Exception):
            raise item
        reward, info, terminated, truncated = item
        return self.np_random.normal(size=2), reward, terminated, truncated, info


def wrap(env, limit=None, seed=1, index=0, **cfg):
    """A simulator in the wrapper that every environment gets."""
    cfg = EnvConfig.model_validate({"name": "gymnasium", "id": "Script-v0", **cfg})
    return TaskEnv(Simulator(env, limit), cfg, label="script", seed=seed, index=index)


def train(monkeypatch, capsys, folder, env_id, *overrides):
    """``gipo train`` on an environment of ``odd_envs``, two iterations: exit code, output, errors."""
    short = "total_steps=64 agent.rollout_steps=32 agent.update.rounds=1 agent.update.batch_size=16"
    also = "eval.episodes=2 runtime.env_timeout_s=null env.imports=[odd_envs] env=gymnasium"
    words = [*short.split(), *also.split(), f"env.id={env_id}", *overrides]
    monkeypatch.setattr("sys.argv", ["gipo", "train", "--runs", str(folder), "--name", "odd", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err
