"""Small environments, each odd in one way that users' environments are; ``NAME-v0`` for Gymnasium."""

import multiprocessing
import random
from typing import ClassVar

import gymnasium as gym
import numpy as np
import torch


def box(*shape, bound=np.inf, dtype=np.float32):
    return gym.spaces.Box(-bound, bound, shape, dtype)


class Base(gym.Env):
    """A point is to be pushed to 0; nothing odd."""

    observation_space = box(2)
    action_space = box(1, bound=1)
    metadata: ClassVar = {"render_modes": []}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1)
        self.t = 0
        return self.obs(), {}

    def obs(self):
        return np.array([self.x, self.t / 20], np.float32)

    def step(self, action):
        self.x += 0.1 * float(np.ravel(action)[0])
        self.t += 1
        return self.obs(), -abs(self.x), False, False, {"is_success": abs(self.x) < 0.1}


class Says(Base):
    """Success is told by a flag of some kind."""

    def __init__(self, flag=True, key="success", **kwargs):
        super().__init__(**kwargs)
        self.flag, self.key = flag, key

    def step(self, action):
        return *super().step(action)[:4], {self.key: self.flag}


class DictExtra(Base):
    """A goal dictionary with a further part."""

    observation_space = gym.spaces.Dict(
        {key: box(size) for key, size in [("observation", 1), ("achieved_goal", 2), ("desired_goal", 2)]}
        | {"force": box(2, 3)}
    )

    def obs(self):
        goal = np.zeros(2, np.float32)
        force = np.arange(6, dtype=np.float32).reshape(2, 3)
        return {
            "observation": np.float32([self.x]),
            "achieved_goal": goal + 7,
            "desired_goal": goal,
            "force": force,
        }


class MatrixAction(Base):
    action_space = box(2, 3, bound=1)

    def step(self, action):
        assert action.shape == (2, 3), action.shape
        return super().step(action)


class MutatesAction(Base):
    def step(self, action):
        action *= 0.5
        return super().step(action)


class Exclusive(Base):
    """One at a time, as a robot or a licensed simulator."""

    open_now = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if Exclusive.open_now:
            raise RuntimeError("the robot is in use")
        Exclusive.open_now += 1

    def close(self):
        Exclusive.open_now -= 1


class SeedsGlobals(Base):
    """Seeds every global generator at reset, as many simulators do."""

    def reset(self, *, seed=None, options=None):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        return super().reset(seed=seed, options=options)


class DefaultDouble(Base):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        torch.set_default_dtype(torch.float64)


class Children(Base):
    """A simulator with a process of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=_serve, args=(other,))
        self.process.start()

    def step(self, action):
        self.pipe.send(float(action[0]))
        return super().step([self.pipe.recv()])

    def close(self):
        self.pipe.send(None)
        self.process.join()


def _serve(pipe):
    while (number := pipe.recv()) is not None:
        pipe.send(number)


class BadClose(Base):
    def close(self):
        raise RuntimeError("the simulator is gone")


class Exits(Base):
    """A viewer whose window was closed."""

    def step(self, action):
        if self.t == 10:
            raise SystemExit(0)
        return super().step(action)


class Unbounded(Base):
    action_space = box(1)


class WideAction(Base):
    """A set point between 0 and 1000, best at 700."""

    action_space = gym.spaces.Box(0, 1000, (1,), np.float32)

    def step(self, action):
        self.t += 1
        error = abs(float(action[0]) - 700) / 1000
        return self.obs(), -error, False, False, {"is_success": error < 0.05}


class Keywords(Base):
    """Reward 1, 2, 3 ... up to ``limit``."""

    def __init__(self, limit=5.0, **kwargs):
        super().__init__(**kwargs)
        self.limit = 5.0 if limit is None else limit

    def step(self, action):
        self.t += 1
        return self.obs(), min(float(self.t), self.limit), False, False, {}


def norm_obs(**kwargs):
    return gym.wrappers.NormalizeObservation(Base(**kwargs))


for kind in (*Base.__subclasses__(), Base):
    gym.register(f"{kind.__name__}-v0", kind, max_episode_steps=20)
gym.register("NormObs-v0", norm_obs, max_episode_steps=20)
gym.register("HugeLimit-v0", Base, max_episode_steps=10**9)
