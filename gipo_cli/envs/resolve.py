"""From the ``env`` section of a run to one checked choice, before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gipo_cli.envs.registry import ENVIRONMENTS, EnvEntry
from gipo_cli.errors import UserError, suggest
from gipo_cli.settings.schema import EnvConfig

_RESERVED_KWARGS = {
    "render_mode": "the video command",
    "max_episode_steps": "env.max_episode_steps",
    "disable_env_checker": "nothing (the checker is always off)",
    "reward_type": "env.reward",
}


@dataclass(frozen=True)
class ResolvedEnv:
    """A checked choice of environment.

    ``reward`` is the simulator's: the environment's first for a null one, and for that of success.
    """

    entry: EnvEntry
    id: str | None
    task: str | None
    reward: str | None

    @property
    def label(self) -> str:
        """How messages name this environment."""
        detail = self.task or self.id
        return f"{self.entry.name} ({detail})" if detail else self.entry.name


def resolve(cfg: EnvConfig) -> ResolvedEnv:
    """Check the choice of environment, task, reward and id.

    Raises:
        UserError: Anything that does not exist, does not go together or is not installed.
    """
    if cfg.name not in ENVIRONMENTS:
        raise UserError(
            f"unknown environment {cfg.name!r}{_instead(cfg.name, ENVIRONMENTS)}; your own has "
            "name: gymnasium and its Gymnasium id as id"
        )
    entry = ENVIRONMENTS[cfg.name]
    task, reward = _task(entry, cfg.task), _reward(entry, cfg.reward)
    env_id = _id(entry, cfg.id, task, reward)
    _check_limits(entry, cfg)
    if not entry.installed:
        raise UserError(
            f"env={entry.name} needs the package {entry.package!r}, which is not installed; "
            f"type: pip install {entry.distribution}"
        )
    return ResolvedEnv(entry, env_id, task, reward)


def _instead(word: str, options: Iterable[str]) -> str:
    known = list(options)
    near = suggest(word, known)
    return f"{near}; `gipo list envs` prints all" if near else f"; known: {', '.join(known)}"


def _task(entry: EnvEntry, task: str | None) -> str | None:
    if not entry.tasks:
        if task is not None:
            others = (f"; type env={other.name}" for other in ENVIRONMENTS.values() if task in other.tasks)
            raise UserError(
                f"env={entry.name} is a single task, so env.task={task!r} must be left out{next(others, '')}"
            )
        return None
    if task is None:
        raise UserError(f"env={entry.name} needs env.task; it has: {', '.join(entry.tasks)}")
    if task not in entry.tasks:
        raise UserError(f"env={entry.name} has no task {task!r}{_instead(task, entry.tasks)}")
    return task


def _reward(entry: EnvEntry, reward: str | None) -> str | None:
    if reward in (None, "success"):
        return next(iter(entry.rewards), None)
    if reward not in entry.rewards:
        allowed = " or ".join([*(entry.rewards or ["null (the id names its own reward)"]), "success"])
        raise UserError(f"env={entry.name} has no {reward!r} reward; env.reward may be {allowed}")
    return reward


def _id(entry: EnvEntry, env_id: str | None, task: str | None, reward: str | None) -> str | None:
    if entry.family == "gymnasium":
        if not env_id:
            raise UserError("env=gymnasium needs env.id, a registered Gymnasium id such as env.id=Reacher-v5")
        return env_id
    if env_id is not None:
        raise UserError(f"env.id={env_id!r} is for env=gymnasium only; env={entry.name} implies its id")
    names = {"task": entry.tasks.get(task or "", ""), "reward": entry.rewards[reward or ""]}
    return entry.template.format(**names) or None


def _check_limits(entry: EnvEntry, cfg: EnvConfig) -> None:
    if entry.step_limit and cfg.max_episode_steps and cfg.max_episode_steps > entry.step_limit:
        raise UserError(
            f"env.max_episode_steps={cfg.max_episode_steps} is more than the {entry.step_limit} steps "
            f"that env={entry.name} can take in one episode"
        )
    for key in cfg.kwargs:
        if key in _RESERVED_KWARGS and not (key == "reward_type" and entry.family == "gymnasium"):
            raise UserError(
                f"env.kwargs.{key} may not be set here; it is governed by {_RESERVED_KWARGS[key]}"
            )
