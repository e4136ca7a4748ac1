"""``preset=sb3_ppo`` against Stable-Baselines3's PPO on environments as its users make them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import gymnasium as gym
import gymnasium_robotics
import metaworld  # noqa: F401 - registers its environments
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor

from benchmarks.harness import Row, Target, against, interleave
from benchmarks.learner import make_agent

gym.register_envs(gymnasium_robotics)
STEPS = 2048

Make = Callable[[], gym.Env[object, object]]
TASKS: dict[str, tuple[tuple[str, ...], str, Make]] = {
    "reach-v3": (
        ("env=metaworld", "env.task=reach-v3"),
        "MlpPolicy",
        partial(gym.make, "Meta-World/MT1", env_name="reach-v3", seed=1),
    ),
    "FetchReachDense-v4": (
        ("env=fetch_reach",),
        "MultiInputPolicy",
        partial(gym.make, "FetchReachDense-v4"),
    ),
    "Pendulum-v1": (
        ("env=gymnasium", "env.id=Pendulum-v1"),
        "MlpPolicy",
        partial(gym.make, "Pendulum-v1"),
    ),
}


def sb3_ppo(repeats: int) -> list[Row]:
    """An iteration of PPO at its defaults: 2,048 environment steps and 320 optimizer steps."""
    rows = []
    for task, (overrides, policy, make) in TASKS.items():
        ours = make_agent("preset=sb3_ppo", *overrides)
        theirs = PPO(policy, Monitor(make()), seed=1, device="cpu")
        names = f"preset=sb3_ppo, {task}", f"stable_baselines3.PPO, {task}"
        algorithms = zip(names, (ours, theirs), strict=True)
        tasks: dict[str, Callable[[], object]] = {
            name: partial(algorithm.learn, STEPS, reset_num_timesteps=False) for name, algorithm in algorithms
        }
        times = interleave(tasks, repeats)
        rows.append(against(times, *names, target=Target("at least", 1.3)))
    return rows
