"""What gymnasium-robotics 1.4.2 gets wrong or leaves out, put right from outside."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from gipo_cli.envs.simulators import Request, Simulator, from_registry, other_version

Point = npt.NDArray[np.float64]
TESTED = {"gymnasium-robotics": "1.4.2", "gymnasium": "1.4.0"}
"""Versions whose methods ``fast_robotics`` replaces."""


def from_robotics(request: Request) -> Simulator:
    """Make a simulator of gymnasium-robotics."""
    from farama_notifications import notifications  # type: ignore[import-untyped]

    # Its notice is about Adroit's reward, which our documentation explains.
    notifications.pop("gymnasium_robotics", None)
    import gymnasium_robotics

    gym.register_envs(gymnasium_robotics)
    made = from_registry(request)
    if not (note := other_version(TESTED)):
        from gipo_cli.envs.fast_robotics import quicken

        quicken(made.env)
    # The observation holds its numbers, in the kitchen with sensor noise.
    return dataclasses.replace(made, redundant=("achieved_goal",), note=note)


def hand(request: Request) -> Simulator:
    """Make a Shadow Hand whose episodes do not depend on the one before.

    Upstream's reset of ``HandManipulate*`` puts back positions and velocities, but neither the solver's
    warm start nor the controls.
    """
    import mujoco

    made = from_robotics(request)
    sim: Any = made.env.unwrapped

    def begin(seed: int, episode: int, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        mujoco.mj_resetData(sim.model, sim.data)
        return made.env.reset(seed=seed, options=options)

    return dataclasses.replace(made, begin=begin)


def adroit(request: Request) -> Simulator:
    """Make an Adroit hand, whose ``dense`` reward is the released one with its sign put right."""
    made, entry = from_robotics(request), request.choice.entry
    if request.choice.reward != "dense" or "released" not in entry.rewards:
        return made
    return dataclasses.replace(made, env=CorrectedAdroitReward(made.env, entry.name))


def kitchen(request: Request) -> Simulator:
    """Make a kitchen that says when all its chores are done."""
    made = from_robotics(request)
    return dataclasses.replace(made, env=KitchenSuccess(made.env))


def _door(sim: Any) -> tuple[Point, Point]:
    return sim.data.site_xpos[sim.grasp_site_id], sim.data.site_xpos[sim.handle_site_id]


def _object(sim: Any) -> tuple[Point, Point]:
    return sim.data.site_xpos[sim.S_grasp_site_id], sim.data.xpos[sim.obj_body_id]


PALM_AND_OBJECT: dict[str, Callable[[Any], tuple[Point, Point]]] = {
    "adroit_door": _door,
    "adroit_hammer": _object,
    "adroit_relocate": _object,
}
"""Positions, in metres, of the palm and of what it should reach, by environment."""


class CorrectedAdroitReward(gym.Wrapper[Any, Any, Any, Any]):
    """Dense Adroit reward with the sign of its reaching term put right.

    The released reward holds ``+0.1 * |palm - object|``, which pays for moving away; the term's purpose
    (and upstream's unreleased fix, Gymnasium-Robotics pull request 220) is ``-0.1 * |palm - object|``.
    So the corrected reward is the released one minus ``0.2 * |palm - object|``.
    """

    def __init__(self, env: gym.Env[Any, Any], name: str) -> None:
        """Wrap the released dense environment ``name``."""
        super().__init__(env)
        self._points = PALM_AND_OBJECT[name]
        self._sim = env.unwrapped

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step, with the corrected reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        palm, target = self._points(self._sim)
        return observation, float(reward) - 0.2 * math.dist(palm, target), terminated, truncated, info


class KitchenSuccess(gym.Wrapper[Any, Any, Any, Any]):
    """Says in ``info["is_success"]`` whether every chore of the episode is done.

    Also copies the list of completed chores, which upstream goes on changing after it returned it.
    """

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step, with the success added."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        done = list(info["episode_task_completions"])
        info["episode_task_completions"] = done
        info["is_success"] = len(done) == len(self.env.unwrapped.goal)  # type: ignore[attr-defined]
        return observation, reward, terminated, truncated, info
