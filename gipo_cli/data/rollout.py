"""One rollout: what an actor hands to the learner, complete in itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rollout:
    """T steps of E environments under one behaviour policy.

    Self-contained, so that it may come from another process with an older policy version.

    Shapes: ``obs [T, E, d]``, ``action [T, E, D]``, ``reward``, ``terminated``, ``truncated`` and ``value``
    ``[T, E]``, ``log_prob [T, E, D]`` (of the unclipped action, per dimension), ``distribution [T, E, P]`` or
    None.
    Tails are the observations that follow a step but start no row: the final one of each ended episode and
    the one after the last row. ``tail_row [k]`` is the flat row ``t * E + e`` they follow (ascending),
    ``tail_obs [k, d]`` the observations and ``tail_value [k]`` the behaviour critic's values of them.
    Units: rewards raw, observations raw, ``policy_version`` in iterations of the learner.
    """

    obs: NDArray[np.float32]
    action: NDArray[np.generic]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    log_prob: NDArray[np.float32]
    value: NDArray[np.float32]
    tail_row: NDArray[np.int64]
    tail_obs: NDArray[np.float32]
    tail_value: NDArray[np.float32]
    policy_version: int
    distribution: NDArray[np.float32] | None = None

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
