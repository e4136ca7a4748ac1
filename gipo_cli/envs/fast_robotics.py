"""The hot methods of gymnasium-robotics' Fetch, Shadow Hand and Adroit, faster and equal to the bit.

Most of a step is physics, and almost all of the rest is looking names up and the dispatch of NumPy. Each
method here replaces the one of its name in the versions of ``robotics.TESTED``; a test steps every
environment beside the released code. What upstream could do to make each unnecessary stands where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import numpy.typing as npt
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from gymnasium_robotics.envs import adroit_hand
from gymnasium_robotics.envs.fetch.fetch_env import MujocoFetchEnv
from gymnasium_robotics.envs.robot_env import MujocoRobotEnv
from gymnasium_robotics.envs.shadow_dexterous_hand.hand_env import MujocoHandEnv
from gymnasium_robotics.envs.shadow_dexterous_hand.manipulate import MujocoManipulateEnv
from gymnasium_robotics.envs.shadow_dexterous_hand.reach import FINGERTIP_SITE_NAMES, MujocoHandReachEnv
from gymnasium_robotics.utils import rotations

from gipo_cli.envs.faster import like, norm, rebound

Array = npt.NDArray[Any]
Seen = dict[str, Array]
_LEAST = rotations._EPS4
_DOWN = np.array((1.0, 0.0, 1.0, 0.0))
"""Added to the direction of the hand."""


def distance(a: Array, b: Array) -> Any:
    """``goal_distance`` of two vectors. Upstream: call it once a step, not for success and reward each."""
    apart = a - b
    return np.float64(math.sqrt(np.add.reduce(apart * apart)))


def _angles(m00: float, m01: float, m02: float, m12: float, m22: float) -> Array | None:
    """``mat2euler`` by five numbers of the matrix; None next to its singularity.

    NumPy's functions, since those of ``math`` round differently. Upstream: one call for three angles.
    """
    cy = math.sqrt(m22 * m22 + m12 * m12)
    return -np.arctan2((m12, -m02, m01), (m22, cy, m00)) if cy > _LEAST else None


def mat2euler(mat: Array) -> Array:
    """``rotations.mat2euler`` of one matrix ``[3, 3]``."""
    (m00, m01, m02), (_, _, m12), (_, _, m22) = mat.tolist()
    found = _angles(m00, m01, m02, m12, m22)
    return np.asarray(rotations.mat2euler(mat)) if found is None else found


def quat2euler(quat: Array) -> Array:
    """``rotations.quat2euler`` of one quaternion ``[4]``. Upstream: leave out what the angles do not use."""
    squared = float(np.add.reduce(quat * quat))
    if squared > rotations._FLOAT_EPS:
        w, x, y, z = quat.tolist()
        s = 2.0 / squared
        xs, ys, zs = x * s, y * s, z * s
        m00, m22 = 1.0 - (y * ys + z * zs), 1.0 - (x * xs + y * ys)
        found = _angles(m00, x * ys - w * zs, x * zs + w * ys, y * zs - w * xs, m22)
        if found is not None:
            return found
    return np.asarray(rotations.quat2euler(quat))


def euler2quat(euler: Array) -> Sequence[float]:
    """``rotations.euler2quat`` of one triple. Upstream: one call for three sines."""
    halves = (euler[2] / 2, -euler[1] / 2, euler[0] / 2)
    si, sj, sk = np.sin(halves).tolist()
    ci, cj, ck = np.cos(halves).tolist()
    cc, cs, sc, ss = ci * ck, ci * sk, si * ck, si * sk
    return cj * cc + sj * ss, cj * cs - sj * sc, -(cj * ss + sj * cc), cj * sc - sj * cs


def _seen(observation: Array, achieved: Array, goal: Array) -> Seen:
    return {"observation": observation, "achieved_goal": achieved, "desired_goal": goal.copy()}


def _run(addresses: Sequence[int]) -> Any:
    """Addresses as a slice, where they follow one another."""
    first, last = addresses[0], addresses[-1] + 1
    return slice(first, last) if list(addresses) == list(range(first, last)) else np.array(addresses)


class Robot(MujocoRobotEnv):  # type: ignore[misc]
    """What Fetch and Shadow Hand share."""

    joints_seen = slice(None)
    """Those of the robot's joints that an observation holds."""

    def ready(self) -> None:
        """Look up what the released methods look up at every step."""
        robot = [self.model.joint(name) for name in self._model_names.joint_names if name.startswith("robot")]
        self._positions = _run([int(joint.qposadr[0]) for joint in robot[self.joints_seen]])
        self._velocities = _run([int(joint.dofadr[0]) for joint in robot[self.joints_seen]])

    def judged(self, achieved: Array) -> tuple[Any, Any]:
        """Success and reward, of one distance."""
        far = distance(achieved, self.goal)
        reward = -np.float32(far > self.distance_threshold) if self.reward_type == "sparse" else -far
        return np.float32(far < self.distance_threshold), reward

    def step(self, action: Any) -> Any:
        """As released. Upstream: find the distance once, not for the success and again for the reward."""
        space = self.action_space
        if np.shape(action) != space.shape or self.render_mode == "human":
            return super().step(action)
        self._set_action(np.asarray(action).clip(space.low, space.high))
        mujoco.mj_step(self.model, self.data, nstep=self.n_substeps)
        self._step_callback()
        seen = self._get_obs()
        success, reward = self.judged(seen["achieved_goal"])
        return seen, reward, False, False, {"is_success": success}


class Fetch(Robot, MujocoFetchEnv):  # type: ignore[misc]
    """Upstream: look names up once, and copy an observation once."""

    joints_seen = slice(-2, None)

    def ready(self) -> None:
        """Also places of the gripper, the object and what the mocap body is welded to."""
        super().ready()
        model, data = self.model, self.data
        self._grip = model.site("robot0:grip").id
        self._object = model.site("object0").id if self.has_object else None
        self._fingers = [model.joint(f"robot0:{side}_gripper_finger_joint").qposadr[0] for side in ("l", "r")]
        weld = list(model.eq_type).index(mujoco.mjtEq.mjEQ_WELD)
        bodies = (model.eq_obj1id[weld], model.eq_obj2id[weld])
        hand = bodies[1] if model.body_mocapid[bodies[0]] == 0 else bodies[0]
        self._hand = data.xpos[hand], data.xquat[hand]
        joints = model.actuator_trnid[:, 0]
        relative = model.actuator_biastype != 0
        self._relative = [
            (model.jnt_qposadr[joint] if own else None) for joint, own in zip(joints, relative, strict=True)
        ]
        self._jacobians = np.zeros((2, 3, model.nv))

    def _set_action(self, action: Array) -> None:
        data = self.data
        place, turn = self._hand
        np.add(place, action[:3] * 0.05, data.mocap_pos[0])
        np.add(turn, _DOWN, data.mocap_quat[0])
        grip = 0.0 if self.block_gripper else float(action[3])
        for index, address in enumerate(self._relative):
            data.ctrl[index] = grip if address is None else data.qpos[address] + grip

    def _step_callback(self) -> None:
        if self.block_gripper:
            self.data.qpos[self._fingers] = 0.0
            mujoco.mj_forward(self.model, self.data)

    def _velocities_of(self, site: int, dt: float, turning: bool) -> Any:
        place, turn = self._jacobians
        mujoco.mj_jacSite(self.model, self.data, place, turn if turning else None, site)
        return place @ self.data.qvel * dt, turn @ self.data.qvel * dt if turning else None

    def _get_obs(self) -> Seen:
        data, dt = self.data, self.n_substeps * self.model.opt.timestep
        grip = data.site_xpos[self._grip]
        moving, _ = self._velocities_of(self._grip, dt, False)
        fingers, opening = data.qpos[self._positions], data.qvel[self._velocities] * dt
        parts: tuple[Array, ...] = (grip, fingers, moving, opening)
        achieved = grip
        if self._object is not None:
            achieved = data.site_xpos[self._object]
            turn = mat2euler(data.site_xmat[self._object].reshape(3, 3))
            sliding, turning = self._velocities_of(self._object, dt, True)
            sliding -= moving
            parts = (grip, achieved, achieved - grip, fingers, turn, sliding, turning, moving, opening)
        return _seen(np.concatenate(parts), achieved.copy(), self.goal)


class Hand(Robot, MujocoHandEnv):  # type: ignore[misc]
    """Upstream: look names up and compute the ranges of the actuators once."""

    def ready(self) -> None:
        """Also the ranges of the actuators."""
        super().ready()
        self._low, self._high = self.model.actuator_ctrlrange.T.copy()
        self._half, self._centre = (self._high - self._low) / 2.0, (self._high + self._low) / 2.0

    def _set_action(self, action: Array) -> None:
        if self.relative_control:
            super()._set_action(action)
        else:
            (self._centre + action * self._half).clip(self._low, self._high, self.data.ctrl)


class HandReach(Hand, MujocoHandReachEnv):  # type: ignore[misc]
    """Upstream: look the fingertips up once."""

    def ready(self) -> None:
        """Also the places of the fingertips."""
        super().ready()
        self._tips = [self.model.site(name).id for name in FINGERTIP_SITE_NAMES]

    def _get_obs(self) -> Seen:
        data = self.data
        tips = data.site_xpos[self._tips].ravel()
        parts = (data.qpos[self._positions], data.qvel[self._velocities], tips)
        return _seen(np.concatenate(parts), tips, self.goal)


class HandManipulate(Hand, MujocoManipulateEnv):  # type: ignore[misc]
    """Upstream: look the object up once."""

    def ready(self) -> None:
        """Also the object's addresses."""
        super().ready()
        joint = self.model.joint("object:joint")
        self._pose = slice(joint.qposadr[0], joint.qposadr[0] + 7)
        self._motion = slice(joint.dofadr[0], joint.dofadr[0] + 6)

    def _get_obs(self) -> Seen:
        data = self.data
        pose = data.qpos[self._pose].copy()
        parts = (data.qpos[self._positions], data.qvel[self._velocities], data.qvel[self._motion], pose)
        return _seen(np.concatenate(parts), pose, self.goal)

    def judged(self, achieved: Array) -> tuple[Any, Any]:
        """Success and reward, of one distance and one angle."""
        goal = self.goal
        far = angle = np.float64(0.0)
        if self.target_position != "ignore":
            far = distance(achieved[:3], goal[:3])
        if self.target_rotation != "ignore":
            turn = achieved[3:].tolist()
            if self.ignore_z_target_rotation:
                euler = quat2euler(achieved[3:])
                euler[2] = quat2euler(goal[3:])[2]
                turn = euler2quat(euler)
            w, x, y, z = (a * b for a, b in zip(turn, goal[3:].tolist(), strict=True))
            angle = 2 * np.arccos(min(max(w + x + y + z, -1.0), 1.0))
        success = np.float32(far < self.distance_threshold) * np.float32(angle < self.rotation_threshold)
        return success, success - 1.0 if self.reward_type == "sparse" else -(10.0 * far + angle)


class Adroit(MujocoEnv):
    """The hand's own methods stay, and find faster functions."""

    def do_simulation(self, ctrl: Any, n_frames: int) -> None:
        """As released. Upstream: leave out ``mj_rnePostConstraint``; nothing reads what it computes."""
        if getattr(ctrl, "shape", None) != (self.model.nu,):
            super().do_simulation(ctrl, n_frames)
            return
        self.data.ctrl[:] = ctrl
        mujoco.mj_step(self.model, self.data, nstep=n_frames)


def _clip(x: Any, low: Any, high: Any) -> Any:
    return x.clip(low, high) if type(x) is np.ndarray else np.clip(x, low, high)


def _sum(x: Any) -> Any:
    return np.add.reduce(x, axis=None)


_SWAPPED = {
    "np": like(np, clip=_clip, sum=_sum, linalg=like(np.linalg, norm=norm)),
    "quat2euler": quat2euler,
}
"""What Adroit's own methods find under these names of their modules. Upstream: plain numbers for scalars."""


_FASTER: dict[Any, type[Robot]] = {
    MujocoFetchEnv: Fetch,
    MujocoHandReachEnv: HandReach,
    MujocoManipulateEnv: HandManipulate,
}


@cache
def quick(kind: type[Any]) -> type[Any] | None:
    """The class of a simulator with the faster methods, under its own name; None if there are none."""
    for base, faster in _FASTER.items():
        if issubclass(kind, base) and kind._get_obs is base._get_obs:
            return type(kind.__name__, (faster, kind), {"__module__": kind.__module__})
    if kind.__module__.startswith(adroit_hand.__name__):
        own = {name: rebound(vars(kind)[name], _SWAPPED) for name in ("step", "_get_obs")}
        return type(kind.__name__, (kind, Adroit), {"__module__": kind.__module__, **own})
    return None


def quicken(env: gym.Env[Any, Any]) -> None:
    """Give a simulator the faster methods, if there are some for it."""
    sim: Any = env.unwrapped
    if (faster := quick(sim.__class__)) is not None:
        sim.__class__ = faster
        if isinstance(sim, Robot):
            sim.ready()
