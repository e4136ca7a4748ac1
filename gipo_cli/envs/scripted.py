"""Scripted experts: the policies that Meta-World ships for its 50 tasks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.envs.resolve import resolve
from gipo_cli.errors import UserError
from gipo_cli.settings.schema import EnvConfig

Play = Callable[[NDArray[np.float32]], NDArray[Any]]
"""One observation ``[d]`` to an action ``[D]``, within the bounds or not."""


def scripted(cfg: EnvConfig) -> Callable[[], Play]:
    """What begins an episode of the task's scripted policy.

    Raises: UserError if the environment has none.
    """
    choice = resolve(cfg)
    if choice.entry.family != "metaworld":
        raise UserError(
            f"env={choice.label} has no scripted policy, which only Meta-World's tasks have; record a run of "
            "yours with --from RUN, or give a file of demonstrations"
        )
    from metaworld.policies import ENV_POLICY_MAP

    kind: Any = ENV_POLICY_MAP[choice.task or ""]

    def begin() -> Play:
        policy = kind()

        def play(obs: NDArray[np.float32]) -> NDArray[Any]:
            # Upstream changes the observation in place, and warns of every action beyond the bounds.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return np.asarray(policy.get_action(obs.astype(np.float64)))

        return play

    return begin
