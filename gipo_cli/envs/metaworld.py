"""Meta-World tasks with seeding that seeds.

Upstream ignores ``reset(seed=...)``, and its constructor seed picks both the 50 goals and their order. Here
the goals depend on ``task_seed`` alone, and which of them an episode gets on the episode's own seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from gipo_cli.envs.task_env import TaskEnv
from gipo_cli.settings.schema import EnvConfig


@lru_cache(maxsize=16)
def goals_of(task: str, task_seed: int) -> tuple[Any, ...]:
    """The benchmark's 50 goals of a task, as ``metaworld.Task`` records.

    They are those that ``gymnasium.make("Meta-World/MT1", env_name=task, seed=task_seed)`` draws.
    """
    import metaworld

    benchmark = metaworld.MT1(task, seed=task_seed)  # type: ignore[no-untyped-call]
    return tuple(benchmark.train_tasks)


def make_simulator(task: str, render_mode: str | None, kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """The bare simulator of a task: none of upstream's seven wrappers."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    options = {"reward_function_version": "v2", "render_mode": render_mode, **kwargs}
    simulator: gym.Env[Any, Any] = ALL_V3_ENVIRONMENTS[task](**options)
    return simulator


class MetaWorldEnv(TaskEnv):
    """A Meta-World task whose episodes draw, or go through, the 50 goals."""

    def __init__(
        self,
        env: gym.Env[Any, Any],
        cfg: EnvConfig,
        *,
        goal_records: tuple[Any, ...],
        goals: Literal["random", "cycle"],
        goal_stride: int,
        **common: Any,
    ) -> None:
        """Wrap a simulator of ``make_simulator``.

        Args:
            env: The simulator.
            cfg: As for ``TaskEnv``.
            goal_records: The goals to choose from.
            goals: ``random`` draws one per episode; ``cycle`` visits them in order.
            goal_stride: Environments that go through the goals together.
            **common: The other arguments of ``TaskEnv``.
        """
        super().__init__(env, cfg, **common)
        self._goals, self._cycle, self._stride = goal_records, goals == "cycle", goal_stride
        self._simulator: Any = env.unwrapped

    def _begin(
        self, seed: int, episode: int, options: dict[str, Any] | None
    ) -> tuple[Any, Mapping[str, Any]]:
        if self._cycle:
            goal = (self._index + episode * self._stride) % len(self._goals)
        else:
            goal = int(np.random.default_rng(seed).integers(len(self._goals)))
        self._simulator.set_task(self._goals[goal])
        self._simulator.seed(seed)
        return self.env.reset(options=options)
