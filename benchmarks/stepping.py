"""A step of every environment in our wrapper: our simulator, the released one, and bare physics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import mujoco
import numpy as np

from benchmarks.harness import Row, Spread
from gipo_cli.envs import metaworld, robotics
from gipo_cli.envs.isolation import EPISODES_WATCHED
from gipo_cli.envs.make import make_env
from gipo_cli.envs.registry import ENVIRONMENTS
from gipo_cli.envs.task_env import TaskEnv
from gipo_cli.settings.schema import EnvConfig

STEPS = 50
EPISODE = 9
FASTER, BARE = 2.0, 1.3
"""The aim: so many times as fast as released, or so many times the bare physics at most."""
STATE = mujoco.mjtState.mjSTATE_INTEGRATION
Call = Callable[[], object]


class Noted:
    """What some steps ask MuJoCo to do, from the states from which it was done."""

    def __init__(self, env: TaskEnv, actions: Sequence[Any]) -> None:
        """Do the steps once."""
        self._sim: Any = env.unwrapped
        self._steps: list[list[tuple[Call, Any]]] = []
        with self._noting("mj_step"), self._noting("mj_forward"):
            for action in actions:
                self._steps.append([])
                env.step(action)

    def _noting(self, name: str) -> Any:
        call = getattr(mujoco, name)

        def noted(model: Any, data: Any, **how: Any) -> None:
            state = np.empty(mujoco.mj_stateSize(model, STATE))
            mujoco.mj_getState(model, data, state, STATE)
            self._steps[-1].append((partial(call, model, data, **how), state))
            call(model, data, **how)

        return patch.object(mujoco, name, noted)

    def again(self, step: int) -> None:
        """The physics of a step, and our simulator's observation."""
        sim = self._sim
        for call, state in self._steps[step]:
            mujoco.mj_setState(sim.model, sim.data, state, STATE)
            call()
        if (robot := getattr(sim, "robot_env", None)) is not None:
            sim._get_obs(robot._get_obs())
        else:
            sim._get_obs()


def _simulators(cfg: EnvConfig) -> list[TaskEnv]:
    """Ours and the released one."""
    ours = make_env(cfg, 1)
    with (
        patch.object(metaworld, "TESTED", {"metaworld": "another"}),
        patch.object(robotics, "TESTED", {"gymnasium": "another"}),
    ):
        return [ours, make_env(cfg, 1)]


def _begin(env: TaskEnv) -> None:
    env.set_episode_index(EPISODE)
    env.reset()


def best_times(name: str, task: str | None, repeats: int) -> list[float]:
    """Processor time of the first steps of an episode in ours, the released one and bare physics.

    Of every step the shortest of all repetitions counts: what other processes do to a step does not.
    """
    envs = _simulators(EnvConfig(name=name, task=task))
    envs[0].action_space.seed(0)
    actions = [envs[0].action_space.sample() for _ in range(STEPS)]
    # From then on neither is watched for its use of global random generators.
    for env in envs * EPISODES_WATCHED:
        env.reset()
    _begin(envs[0])
    bare = Noted(envs[0], actions)
    kinds: list[tuple[Call, list[Call]]] = [
        (partial(_begin, env), [partial(env.step, action) for action in actions]) for env in envs
    ]
    kinds.append((lambda: None, [partial(bare.again, step) for step in range(STEPS)]))
    best = np.full((len(kinds), STEPS), np.inf)
    for _ in range(repeats + 1):
        for kind, (begin, steps) in enumerate(kinds):
            begin()
            for index, step in enumerate(steps):
                begun = time.process_time()
                step()
                best[kind, index] = min(best[kind, index], time.process_time() - begun)
    return [float(spent) for spent in best.sum(1)]


def stepping(repeats: int) -> list[Row]:
    """Steps per second, ours against released, and ours in terms of bare physics and observation."""
    return [
        row(task or name, *best_times(name, task, repeats))
        for name, entry in ENVIRONMENTS.items()
        if name != "gymnasium"
        for task in (entry.tasks if name == "metaworld" else [next(iter(entry.tasks), None)])
    ]


def row(what: str, ours: float, released: float, bare: float) -> Row:
    """The row of an environment, from three times."""
    missed = released / ours < FASTER and ours / bare > BARE
    note = f"{ours / bare:.2f} x bare physics" + (", **both aims missed**" if missed else "")
    speed, peer, ratio = (Spread.of([value]) for value in (STEPS / ours, STEPS / released, released / ours))
    return Row(what, "released", "steps/s", speed, peer, ratio, "x as fast", note=note)
