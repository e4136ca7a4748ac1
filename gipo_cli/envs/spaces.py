"""Between a task's own spaces and the agent's: a flat float32 observation, a flat action."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.settings.schema import ActionConfig

Observation = npt.NDArray[np.float32]
"""What the agent sees. That it is one array is known here, in the buffer and in the policy's first layer."""


GOAL = ("observation", "desired_goal")
"""The parts that make a dictionary a goal dictionary."""


class ObservationFlattener:
    """Concatenates what the agent may see of an observation into one float32 vector.

    Dictionaries, nested ones too, are taken whole in the order of their space; of a goal dictionary
    ``observation`` and ``desired_goal`` come first.
    """

    def __init__(self, space: gym.Space[Any], label: str, redundant: Sequence[str] = ()) -> None:
        """Plan the concatenation of a ``Box``, or a ``Dict`` of them.

        Args:
            space: The simulator's observation space.
            label: How messages name the environment.
            redundant: Parts of the dictionary to leave out, as functions of the others.

        Raises:
            UserError: The space holds something other than ``Box``.
        """
        self._leaves: list[tuple[tuple[str, ...], tuple[int, ...], slice]] = []
        self._size = 0
        if isinstance(space, gym.spaces.Dict):
            first = GOAL if set(GOAL) <= space.keys() else ()
            for key in dict.fromkeys([*first, *space]):
                if key not in redundant:
                    self._add(space[key], (key,), label)
        else:
            self._add(space, (), label)
        self.space = gym.spaces.Box(-np.inf, np.inf, (self._size,), np.float32)

    @property
    def text(self) -> str:
        """What the agent sees, such as ``observation (10) + desired_goal (3)``."""
        parts = (("/".join(path) or "observation", place) for path, _, place in self._leaves)
        return " + ".join(f"{name} ({place.stop - place.start})" for name, place in parts)

    def _add(self, space: gym.Space[Any], path: tuple[str, ...], label: str) -> None:
        if isinstance(space, gym.spaces.Dict):
            for key, child in space.items():
                self._add(child, (*path, key), label)
        elif isinstance(space, gym.spaces.Box):
            end = self._size + math.prod(space.shape)
            self._leaves.append((path, space.shape, slice(self._size, end)))
            self._size = end
        else:
            name = f"observation {'/'.join(path)}" if path else "observation"
            raise UserError(
                f"env={label}: the {name} is a {type(space).__name__} space; only Box and dictionaries "
                "of Box are supported, so wrap the environment in gymnasium.wrappers.FlattenObservation"
            )

    def __call__(self, observation: Any) -> Observation:
        """Flatten one observation into a new ``(size,)`` float32 array.

        Raises:
            RunFailed: A part has another shape than its space, or is NaN or infinite.
        """
        flat = np.empty(self._size, np.float32)
        for path, shape, place in self._leaves:
            value = observation
            for key in path:
                value = value[key]
            found = value.shape if isinstance(value, np.ndarray) else np.shape(value)
            if found != shape:
                name = "/".join(("observation", *path))
                raise RunFailed(f"{name} has shape {found} where its space says {shape}")
            flat[place] = value if len(shape) == 1 else np.ravel(value)
        if not np.isfinite(flat).all():
            where = int(np.flatnonzero(~np.isfinite(flat))[0])
            raise RunFailed(f"observation component {where} is {flat[where]}")
        return flat


class ActionMap:
    """From the agent's action to the task's: as it is, scaled to the bounds, or by a table of bin centres."""

    note: str | None = None
    """What the user should know about the action space."""
    table: npt.NDArray[np.float32] | None
    """The task's value of every bin ``[D, bins]``, for binned actions."""
    bounds: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None
    """Lower and upper bounds ``[D]`` to which -1 and 1 are scaled, for scaled actions."""
    limits: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    """Lower and upper bounds ``[D]`` of the task's actions."""

    def __init__(self, space: gym.Space[Any], action: ActionConfig, label: str) -> None:
        """Choose the agent's action space for the task's; ``label`` names the environment.

        Raises:
            UserError: Not a floating-point ``Box`` with finite bounds.
        """
        if not isinstance(space, gym.spaces.Box) or not np.issubdtype(space.dtype, np.floating):
            raise UserError(
                f"env={label} has the action space {space}; only continuous (floating-point Box) actions "
                "are supported, so choose another environment"
            )
        self._shape = space.shape
        low, high = space.low.ravel(), space.high.ravel()
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise UserError(
                f"env={label} has actions without bounds; give its action space finite bounds, at which "
                "actions are clipped"
            )
        self.table = self.bounds = None
        self.limits = low, high
        self.space: gym.spaces.Box | gym.spaces.MultiDiscrete
        if action.kind == "binned":
            self.table = np.linspace(low, high, action.bins, axis=1, dtype=np.float64).astype(np.float32)
            self._rows = np.arange(low.size)
            self.space = gym.spaces.MultiDiscrete(np.full(low.size, action.bins))
        elif action.scale:
            self.bounds = low, high
            self.space = gym.spaces.Box(-1, 1, low.shape, np.float32)
        else:
            self.space = gym.spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
            if (low > 1).any() or (high < -1).any() or (high - low < 0.2).any() or (high - low > 20).any():
                self.note = (
                    f"actions of env={label} lie between {low.min():g} and {high.max():g}, far from those of "
                    "a new policy, -1 to 1; type env.action.scale=true"
                )

    def __call__(self, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A new array with the task's action; scale and bins go evenly from the lower to the upper bound."""
        if self.table is not None:
            action = self.table[self._rows, action]
        elif self.bounds is not None:
            low, high = self.bounds
            action = np.clip(low + (action + 1) * (0.5 * (high - low)), low, high)
        else:
            action = np.array(action)
        return action if len(self._shape) == 1 else action.reshape(self._shape)

    def inverse(self, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The agent's actions ``[N, D]`` nearest to the task's ``[N, D]``: the reverse of a call."""
        if self.table is not None:
            bins: npt.NDArray[Any] = np.abs(self.table[None] - action[..., None]).argmin(-1)
            return bins
        if self.bounds is not None:
            low, high = self.bounds
            action = 2 * (action - low) / (high - low) - 1
        return np.asarray(action, np.float32)


def clipped(action: npt.NDArray[Any], space: gym.Space[Any]) -> npt.NDArray[Any]:
    """The action, or batch of them, within the bounds of a ``Box``; binned actions stay as they are."""
    return np.clip(action, space.low, space.high) if isinstance(space, gym.spaces.Box) else action
