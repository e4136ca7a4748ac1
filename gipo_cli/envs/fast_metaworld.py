"""Meta-World's hot methods, several times as fast and equal to the bit.

Two thirds and more of a released step are Python around MuJoCo. Each method here replaces the one of its
name in the versions of ``metaworld.TESTED``; tests step all tasks beside the released code. What upstream
could do to make each unnecessary stands where it is.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache, lru_cache
from types import FunctionType
from typing import Any

import metaworld.sawyer_xyz_env as released
import mujoco
import numpy as np
import numpy.typing as npt
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

from gipo_cli.envs.faster import like, norm, rebound

Array = npt.NDArray[Any]


def tolerance(
    x: Any,
    bounds: tuple[float, float] = (0.0, 0.0),
    margin: Any = 0.0,
    sigmoid: Any = "gaussian",
    value_at_margin: float = 0.1,
) -> Any:
    """``reward_utils.tolerance`` for one number.

    Upstream: plain comparisons in place of ``np.where``.
    """
    lower, upper = bounds
    if type(x) not in (float, np.float64) or lower > upper or margin < 0:
        return reward_utils.tolerance(x, bounds, margin, sigmoid, value_at_margin)
    if lower <= x <= upper:
        return 1.0
    if margin == 0:
        return 0.0
    distance = np.float64(lower - x if x < lower else x - upper) / margin
    return float(reward_utils._sigmoids(distance, value_at_margin, sigmoid))


def hstack(parts: Any) -> Array:
    """``np.hstack``, of a few numbers without making an array of each."""
    if all(type(part) is np.float64 for part in parts):
        return np.array(parts)
    return np.hstack(parts)


class FromMatrix:
    """``Rotation.from_matrix``: scipy's formula for clear rotations. Upstream: ``assume_valid=True``."""

    def __init__(self, matrix: Array) -> None:
        """Take a matrix ``[3, 3]``."""
        self._matrix = matrix

    from_matrix: Callable[[Array], FromMatrix]

    def as_quat(self) -> Array:
        """The quaternion ``[4]``, its scalar last."""
        m = self._matrix.tolist()
        (a, b, c), (d, e, f), (g, h, i) = m
        if not (
            abs(a * a + b * b + c * c - 1) < 1e-9
            and abs(d * d + e * e + f * f - 1) < 1e-9
            and abs(g * g + h * h + i * i - 1) < 1e-9
            and abs(a * d + b * e + c * f) < 1e-13
            and abs(a * g + b * h + c * i) < 1e-13
            and abs(d * g + e * h + f * i) < 1e-13
            and a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0
        ):
            return np.asarray(Rotation.from_matrix(self._matrix).as_quat())
        trace = a + e + i
        largest = max(a, e, i, trace)
        if largest == a:
            x, y, z, w = 1 - trace + 2 * a, d + b, g + c, h - f
        elif largest == e:
            x, y, z, w = b + d, 1 - trace + 2 * e, h + f, c - g
        elif largest == i:
            x, y, z, w = c + g, f + h, 1 - trace + 2 * i, d - b
        else:
            x, y, z, w = h - f, c - g, d - b, 1 + trace
        length = math.sqrt(x * x + y * y + z * z + w * w)
        return np.array((x / length, y / length, z / length, w / length))


FromMatrix.from_matrix = FromMatrix


_SWAPPED = {
    "np": like(np, linalg=like(np.linalg, norm=norm), hstack=hstack),
    "reward_utils": like(reward_utils, tolerance=tolerance),
    "tolerance": tolerance,
    "Rotation": FromMatrix,
}
"""What the tasks' own methods find under these names of their modules."""


_DOWN = np.array((1.0, 0.0, 1.0, 0.0))
"""Where the hand points."""
_MOST = np.ones(3, np.float32)
_LEAST = -_MOST


class Data(mujoco.MjData):  # type: ignore[misc]
    """MuJoCo's data, whose elements are looked up by name once. Upstream: keep what is looked up."""

    def __init__(self, model: Any) -> None:
        """Make the data of a model."""
        super().__init__(model)
        self.geom, self.body, self.site = map(cache, (super().geom, super().body, super().site))


@lru_cache(maxsize=4)
def _compiled(path: str) -> Any:
    return mujoco.MjModel.from_xml_path(path)


class Quick(released.SawyerXYZEnv):
    """The base class of all tasks with faster methods; a task's class stands before it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As released."""
        self._views: dict[str, Array] = {}
        super().__init__(*args, **kwargs)

    def _initialize_simulation(self) -> tuple[Any, Any]:
        """As released. Upstream: keep a compiled model, and copy it for the next simulator."""
        model: Any = copy.deepcopy(_compiled(self.fullpath))
        size = model.vis.global_
        size.offwidth, size.offheight = max(size.offwidth, self.width), max(size.offheight, self.height)
        data = Data(model)
        self._hand = data.mocap_pos[0], data.mocap_quat[0]
        return model, data

    def _view(self, name: str, kind: str = "body") -> Array:
        """The position of a body or site. Upstream: look its name up once, since the array stays the same."""
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = getattr(self.data, kind)(name).xpos
        return view

    def get_body_com(self, body_name: str) -> Array:
        """As released."""
        return self._view(body_name)

    def get_endeff_pos(self) -> Array:
        """As released."""
        return self._view("hand")

    @property
    def tcp_center(self) -> Array:
        """As released."""
        return (self._view("rightEndEffector", "site") + self._view("leftEndEffector", "site")) / 2.0

    def set_xyz_action(self, action: Array) -> None:
        """As released. Upstream: write into MuJoCo's arrays, in place of making others."""
        position, turn = self._hand
        moved = position + np.minimum(np.maximum(action, _LEAST), _MOST) * self.action_scale
        np.minimum(np.maximum(moved, self.mocap_low), self.mocap_high, out=position)
        turn[:] = _DOWN

    def do_simulation(self, ctrl: Any, n_frames: int) -> None:
        """As released. Upstream: leave out ``mj_rnePostConstraint``; nothing reads what it computes."""
        if len(ctrl) != self.model.nu:
            super().do_simulation(ctrl, n_frames)
            return
        held = self.data.ctrl
        for index, value in enumerate(ctrl):
            held[index] = value
        mujoco.mj_step(self.model, self.data, nstep=n_frames)

    def touching_object(self, object_geom_id: int) -> bool:
        """As released. Upstream: ``data.contact.geom``, in place of an object for every contact."""
        data = self.data
        touching = [(k, pair) for k, pair in enumerate(data.contact.geom.tolist()) if object_geom_id in pair]
        for pad in ("leftpad_geom", "rightpad_geom") if touching else ():
            pad_id = data.geom(pad).id
            address = data.contact.efc_address
            force = sum(data.efc_force[address[k]] for k, pair in touching if pad_id in pair)
            if not force > 0:
                return False
        return bool(touching)

    # Upstream: write into one array, in place of splitting and stacking.
    def _get_curr_obs_combined_no_goal(self) -> npt.NDArray[np.float64]:
        seen = np.zeros(4 + self._obs_obj_max_len)
        apart = self._view("rightclaw") - self._view("leftclaw")
        seen[:3] = self._view("hand")
        seen[3] = min(max(math.sqrt(apart.dot(apart)) / 0.1, 0.0), 1.0)
        positions, turns = self._get_pos_objects(), self._get_quat_objects()
        if len(positions) == 3:
            seen[4:7], seen[7:11] = positions, turns
            return seen
        for k in range(len(positions) // 3):
            seen[4 + 7 * k : 7 + 7 * k] = positions[3 * k : 3 * k + 3]
            seen[7 + 7 * k : 11 + 7 * k] = turns[4 * k : 4 * k + 4]
        return seen

    def _get_obs(self) -> npt.NDArray[np.float64]:
        goal = self._get_pos_goal()
        if self._partially_observable:
            goal = np.zeros_like(goal)
        now = self._get_curr_obs_combined_no_goal()
        seen = np.concatenate((now, self._prev_obs, goal))
        self._prev_obs = now
        return seen

    def step(self, action: Array) -> Any:
        """As released. Upstream: leave out ``_set_pos_site``; ``mj_forward`` computes every site's place."""
        if not self._set_task_called or len(action) != 4 or self.curr_path_length >= self.max_path_length:
            return super().step(action)
        self.set_xyz_action(action[:3])
        self.do_simulation((action[-1], -action[-1]), self.frame_skip)
        self.curr_path_length += 1
        # Its solution is also what the solver starts from at the next step.
        mujoco.mj_forward(self.model, self.data)
        space = self.sawyer_observation_space
        seen = self._last_stable_obs = self._get_obs().clip(space.low, space.high)
        reward, info = self.evaluate_state(seen, action)
        return seen.copy(), reward, False, self.curr_path_length == self.max_path_length, info

    # Upstream: numbers in place of arrays of two.
    def _gripper_caging_reward(
        self,
        action: Array,
        obj_pos: Array,
        obj_radius: float,
        pad_success_thresh: float,
        object_reach_radius: float,
        xz_thresh: float,
        desired_gripper_effort: float = 1.0,
        high_density: bool = False,
        medium_density: bool = False,
    ) -> float:
        if high_density and medium_density:
            raise ValueError("Can only be either high_density or medium_density")
        start: Any = self.obj_init_pos
        tcp = self.tcp_center
        across, across_start = obj_pos.item(1), start.item(1)
        caging_lr = []
        for name in ("leftpad", "rightpad"):
            pad = self._view(name).item(1)
            margin = abs(abs(pad - across_start) - pad_success_thresh)
            bounds = (obj_radius, pad_success_thresh)
            caging_lr.append(tolerance(abs(pad - across), bounds, margin, "long_tail"))
        from_start, from_object = start - self.init_tcp, obj_pos - tcp
        caging_xz = tolerance(
            norm((tcp - obj_pos)[::2]), (0, xz_thresh), norm(from_start[::2]) - xz_thresh, "long_tail"
        )
        closed = min(max(0, action[-1]), desired_gripper_effort) / desired_gripper_effort
        product = reward_utils.hamacher_product
        caging = product(product(*caging_lr), caging_xz)
        result = product(caging, closed if caging > 0.97 else 0.0)
        if high_density:
            result = (result + caging) / 2
        if medium_density:
            margin = abs(norm(from_start) - object_reach_radius)
            reach = tolerance(norm(from_object), (0, object_reach_radius), margin, "long_tail")
            result = (result + reach) / 2
        return result


@cache
def quick(task: type[Any]) -> type[Any]:
    """The class of a task with the faster methods, under its own name."""
    own: dict[str, Any] = {}
    for kind in reversed(task.__mro__):
        if issubclass(kind, released.SawyerXYZEnv) and kind is not released.SawyerXYZEnv:
            own.update(vars(kind))
    faster = type(task.__name__, (task, Quick), {"__module__": task.__module__})
    names = {**_SWAPPED, task.__name__: faster}
    for name, value in own.items():
        if isinstance(value, FunctionType | staticmethod):
            setattr(faster, name, rebound(value, names))
    return faster
