"""What gymnasium-robotics 1.4.2 gets wrong, leaves out or does slowly, put right from outside."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from gipo_cli.envs.simulators import Request, Simulator, from_registry

Point = npt.NDArray[np.float64]


def from_robotics(request: Request) -> Simulator:
    """Make a simulator of gymnasium-robotics."""
    from farama_notifications import notifications  # type: ignore[import-untyped]

    # Its notice is about Adroit's reward, which our documentation explains.
    notifications.pop("gymnasium_robotics", None)
    import gymnasium_robotics

    gym.register_envs(gymnasium_robotics)
    made = from_registry(request)
    find_joints_once(made.env)
    # The observation holds its numbers, in the kitchen with sensor noise.
    return dataclasses.replace(made, redundant=("achieved_goal",))


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


def find_joints_once(env: gym.Env[Any, Any]) -> bool:
    """Let a Fetch or Shadow Hand simulator read its robot's joints by address.

    Upstream's ``robot_get_obs`` looks the name of every joint up at every step, a quarter of a Fetch step.
    The numbers are the same to the bit.

    Returns:
        Whether it was done: not for other simulators, nor where a joint has several degrees of freedom.
    """
    sim: Any = env.unwrapped
    utils: Any = getattr(sim, "_utils", None)
    names: Any = getattr(getattr(sim, "_model_names", None), "joint_names", None)
    if names is None or not hasattr(utils, "robot_get_obs"):
        return False
    joints = [sim.model.joint(name) for name in names if name.startswith("robot")]
    if len(joints) < 2 or any(len(joint.qpos0) != 1 for joint in joints):
        return False
    positions = np.array([int(joint.qposadr[0]) for joint in joints])
    velocities = np.array([int(joint.dofadr[0]) for joint in joints])

    def robot_get_obs(model: Any, data: Any, joint_names: Any) -> tuple[Point, Point]:
        return data.qpos[positions], data.qvel[velocities]

    sim._utils = SimpleNamespace(**{**vars(utils), "robot_get_obs": robot_get_obs})
    return True
