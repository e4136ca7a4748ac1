"""Whether demonstrations fit an environment."""

from __future__ import annotations

from typing import Any

import numpy as np

from gipo_cli.data.demos import Demonstrations
from gipo_cli.envs.registry import ENVIRONMENTS
from gipo_cli.envs.task_env import TaskEnv
from gipo_cli.errors import UserError
from gipo_cli.settings.schema import EnvConfig

_TOLERANCE = 1e-4


def check_fit(demos: Demonstrations, env: TaskEnv, cfg: EnvConfig, where: str) -> None:
    """Refuse demonstrations of another task, version, observation or action.

    Raises: UserError with what differs and what to do.
    """
    _check_origin(demos.about, cfg, where)
    wanted = env.observation_space.shape
    if isinstance(demos.obs, dict) or demos.obs.shape[1:] != wanted:
        raise UserError(
            f"{where} has observations of {_shape(demos.obs)}, and env={' '.join(cfg.names)} has "
            f"{list(wanted or ())}: {env.sees}; record what the agent sees"
        )
    low, high = env.actions.limits
    if demos.action.shape[1] != len(low):
        raise UserError(
            f"{where} has actions of {demos.action.shape[1]} numbers, and env={' '.join(cfg.names)} takes "
            f"{len(low)}"
        )
    outside = (demos.action < low - _TOLERANCE) | (demos.action > high + _TOLERANCE)
    if outside.any():
        row, part = map(int, np.argwhere(outside)[0])
        raise UserError(
            f"{where}: action {part} of step {row} is {demos.action[row, part]:g}, beyond the bounds "
            f"{low[part]:g} to {high[part]:g} ({outside.any(1).mean():.0%} of steps have one); record the "
            "actions that the environment received, clipped"
        )


def _shape(obs: Any) -> str:
    if isinstance(obs, dict):
        return f"parts ({', '.join(obs)})"
    return str(list(obs.shape[1:]))


def _check_origin(about: dict[str, Any], cfg: EnvConfig, where: str) -> None:
    """What the record says of itself; a file that says nothing is taken for what is asked."""
    env = about.get("env") or {}
    for key, wanted in (("name", cfg.name), ("task", cfg.task), ("id", cfg.id)):
        if env and env.get(key) != wanted:
            raise UserError(
                f"{where} demonstrates {key}={env.get(key)}, and this run has {key}={wanted}; record others "
                "with `gipo demos`, or change the run's environment"
            )
    repeat = (env.get("action") or {}).get("repeat", 1)
    if repeat != cfg.action.repeat:
        raise UserError(
            f"{where} was recorded with env.action.repeat={repeat}, and this run has {cfg.action.repeat}; "
            f"type env.action.repeat={repeat}, or record others"
        )
    from gipo_cli.runs.machine import versions

    then, now = about.get("versions") or {}, versions()
    for package in dict.fromkeys(("mujoco", ENVIRONMENTS[cfg.name].distribution)):
        if env and package in now and package in then and then[package] != now[package]:
            raise UserError(
                f"{where} was recorded with {package} {then[package]} and this is {now[package]}, in which "
                "the same actions may do other things; record others with `gipo demos`"
            )
