"""Meta-World tasks with seeding that seeds.

Upstream ignores ``reset(seed=...)``, and its constructor seed picks both the 50 goals and their order. Here
the goals depend on ``task_seed`` alone, and which of them an episode gets on the episode's own seed.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np

from gipo_cli.envs.simulators import Request, Simulator, other_version

TESTED = {"metaworld": "3.1.1", "scipy": "1.17.1"}
"""Versions whose methods ``fast_metaworld`` replaces."""


@lru_cache(maxsize=16)
def goals_of(task: str, task_seed: int) -> tuple[Any, ...]:
    """The benchmark's 50 goals of a task, as ``metaworld.Task`` records.

    They are those that ``gymnasium.make("Meta-World/MT1", env_name=task, seed=task_seed)`` draws, but no hand
    settles before each is drawn, for hundreds of physics steps: no draw is a function of it.
    """
    from unittest.mock import patch

    import metaworld
    import mujoco
    from metaworld.sawyer_xyz_env import SawyerXYZEnv

    def stay(sim: Any, *_: Any) -> None:
        mujoco.mj_forward(sim.model, sim.data)

    tested = not other_version(TESTED)
    with patch.object(SawyerXYZEnv, "do_simulation", stay) if tested else nullcontext():
        benchmark = metaworld.MT1(task, seed=task_seed)  # type: ignore[no-untyped-call]
    return tuple(benchmark.train_tasks)


def make_simulator(task: str, *, released: bool = False, **kwargs: Any) -> gym.Env[Any, Any]:
    """Make the bare simulator of a task, without upstream's seven wrappers; faster unless ``released``."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    kind: Any = ALL_V3_ENVIRONMENTS[task]
    if not (released or other_version(TESTED)):
        from gipo_cli.envs.fast_metaworld import quick

        kind = quick(kind)
    env: gym.Env[Any, Any] = kind(**{"reward_function_version": "v2", **kwargs})
    return env


def with_goals(request: Request) -> Simulator:
    """Make a task whose episodes draw, or visit in order, the 50 goals."""
    task = request.choice.task or ""
    env = make_simulator(task, **request.kwargs)
    sim: Any = env.unwrapped
    goals = goals_of(task, request.task_seed)

    def begin(seed: int, episode: int, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        if request.goals == "cycle":
            goal = (request.index + episode * request.goal_stride) % len(goals)
        else:
            goal = int(np.random.default_rng(seed).integers(len(goals)))
        sim.set_task(goals[goal])
        sim.seed(seed)
        observation, info = env.reset(options=options)
        return observation, {**info, "goal": goal}

    return Simulator(env, begin=begin, note=other_version(TESTED))
