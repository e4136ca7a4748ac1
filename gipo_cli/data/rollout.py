"""What an actor hands to the learner: a rollout, complete in itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Observation = Any
"""One array, or a dictionary of named arrays: only :func:`each`, the buffer and the policy look inside."""
EPISODE = ("return", "success", "success_any", "success_last", "length")
"""What is known of a finished episode; a success that no task reports is NaN."""


def each(function: Callable[..., Any], first: Observation, *others: Observation) -> Any:
    """Apply ``function`` to each array of an observation, and to its counterparts in ``others``."""
    if isinstance(first, dict):
        return {
            name: each(function, part, *(other[name] for other in others)) for name, part in first.items()
        }
    return function(first, *others)


def no_episodes() -> NDArray[np.float64]:
    """The ``episodes`` of a rollout in which none ended."""
    return np.zeros((0, len(EPISODE)))


@dataclass(frozen=True)
class Rollout:
    """T steps of E environments under one behaviour policy.

    It may come from another process and from an older policy.

    Shapes: ``obs [T, E, ...]``, ``action [T, E, D]``, ``reward``, ``terminated``, ``truncated`` and ``value``
    ``[T, E]``, ``log_prob [T, E, D]`` (of the unclipped action, per dimension), ``distribution [T, E, P]`` or
    None. Tails are the observations that follow a step but start no row: the final one of each ended episode
    and the one after the last row. ``tail_row [k]`` is the flat row ``t * E + e`` they follow (ascending),
    ``tail_obs [k, ...]`` the observations and ``tail_value [k]`` the behaviour critic's values of them.
    ``episodes [n, 5]`` are the finished episodes, in the order of :data:`EPISODE`.
    Units: rewards and observations raw, ``policy_version`` in iterations of the learner. Steps and episodes
    of a ``masked`` rollout count, and nothing is learned from its rows.
    """

    obs: Observation
    action: NDArray[np.generic]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    log_prob: NDArray[np.float32]
    value: NDArray[np.float32]
    tail_row: NDArray[np.int64]
    tail_obs: Observation
    tail_value: NDArray[np.float32]
    policy_version: int
    distribution: NDArray[np.float32] | None = None
    episodes: NDArray[np.float64] = field(default_factory=no_episodes)
    masked: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(T, E)."""
        steps, envs = self.reward.shape
        return steps, envs

    def __len__(self) -> int:
        return self.reward.size


def next_values(
    value: NDArray[np.float32], tail_row: NDArray[np.int64], tail_value: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Value of the true next observation of every step, ``[T, E]``.

    Shapes: ``value [T, E]``, ``tail_row`` and ``tail_value`` ``[k]``; every row of the last step has a tail.
    """
    following = np.empty_like(value)
    following[:-1] = value[1:]
    following.reshape(-1)[tail_row] = tail_value
    return following
