"""What gymnasium-robotics 1.4.2 gets wrong or leaves out, put right in thin wrappers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

Point = npt.NDArray[np.float64]


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
