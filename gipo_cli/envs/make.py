"""The one factory: an ``EnvConfig`` to a Gymnasium environment or an SB3 vector of them."""

from __future__ import annotations

import dataclasses
import difflib
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym

from gipo_cli.envs.registry import ResolvedEnv, resolve, typed
from gipo_cli.envs.task_env import TaskEnv
from gipo_cli.errors import UserError
from gipo_cli.settings.imports import import_user_modules
from gipo_cli.settings.schema import EnvConfig

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

Goals = Literal["random", "cycle"]


def make_env(
    cfg: EnvConfig,
    seed: int,
    index: int = 0,
    *,
    task_seed: int | None = None,
    goals: Goals = "random",
    goal_stride: int = 1,
    render_mode: str | None = None,
) -> TaskEnv:
    """Make one environment that keeps the contract of ``docs/architecture.md``.

    Args:
        cfg: Which environment, and what the agent sees of it.
        seed: Base seed; with ``index`` and an episode's number it decides how the episode starts.
        index: Which environment of a vector this is.
        task_seed: Picks what belongs to the task (Meta-World's 50 goals); null means ``seed``.
        goals: Draw Meta-World's goals per episode, or visit them in order.
        goal_stride: Environments that visit them in order together, each every so many.
        render_mode: Gymnasium's, such as ``rgb_array``; None creates nothing to render with.

    Raises:
        UserError: The environment does not exist, is not installed, or cannot be made as asked.
    """
    import_user_modules(cfg.imports, "env.imports")
    choice = resolve(cfg)
    common: dict[str, Any] = {"label": choice.label, "seed": seed, "index": index}
    try:
        if choice.entry.family == "metaworld":
            return _make_metaworld(
                cfg, choice, seed if task_seed is None else task_seed, goals, goal_stride, render_mode, common
            )
        simulator, limit = _make_registered(cfg, choice, render_mode)
        return TaskEnv(simulator, cfg, time_limit=cfg.max_episode_steps or limit, **common)
    except UserError:
        raise
    except Exception as error:  # a constructor may raise anything
        raise UserError(
            f"env={choice.label} cannot be made ({type(error).__name__}: {error}); "
            f"check env.kwargs={cfg.kwargs}"
        ) from error


def make_vec_env(
    cfg: EnvConfig,
    seed: int,
    *,
    n_envs: int | None = None,
    task_seed: int | None = None,
    goals: Goals = "random",
) -> VecEnv:
    """Make ``n_envs`` (default ``cfg.n_envs``) environments as one SB3 vector, ``cfg.vector`` deciding how.

    Raises:
        UserError: As ``make_env``.
    """
    count = cfg.n_envs if n_envs is None else n_envs
    arguments: dict[str, Any] = {"task_seed": task_seed, "goals": goals, "goal_stride": count}
    factories = [partial(make_env, cfg, seed, index, **arguments) for index in range(count)]
    if cfg.vector == "dummy":
        from gipo_cli.envs.serial import SerialVecEnv

        return SerialVecEnv(factories)  # type: ignore[arg-type]
    from gipo_cli.envs.processes import ProcessVecEnv

    # A mistake in the config is a sentence when it is met here; in a child it would be a broken pipe.
    factories[0]().close()
    return ProcessVecEnv(factories)


def _make_metaworld(
    cfg: EnvConfig,
    choice: ResolvedEnv,
    task_seed: int,
    goals: Goals,
    goal_stride: int,
    render_mode: str | None,
    common: dict[str, Any],
) -> TaskEnv:
    from gipo_cli.envs.metaworld import MetaWorldEnv, goals_of, make_simulator

    task = choice.task or ""
    return MetaWorldEnv(
        make_simulator(task, render_mode, cfg.kwargs),
        cfg,
        goal_records=goals_of(task, task_seed),
        goals=goals,
        goal_stride=goal_stride,
        time_limit=cfg.max_episode_steps,
        **common,
    )


def _make_registered(
    cfg: EnvConfig, choice: ResolvedEnv, render_mode: str | None
) -> tuple[gym.Env[Any, Any], int | None]:
    """A simulator from Gymnasium's registry without its wrappers, and its registered time limit."""
    if choice.entry.package == "gymnasium_robotics":
        _import_robotics()
    spec = _spec(choice.id or "")
    kwargs = cfg.kwargs if render_mode is None else {**cfg.kwargs, "render_mode": render_mode}
    bare = dataclasses.replace(spec, order_enforce=False)
    env: gym.Env[Any, Any] = gym.make(bare, max_episode_steps=-1, disable_env_checker=True, **kwargs)
    if choice.entry.package == "gymnasium_robotics":
        from gipo_cli.envs.robotics import find_joints_once

        find_joints_once(env)
    if choice.entry.corrected and choice.reward == "dense":
        from gipo_cli.envs.robotics import CorrectedAdroitReward

        env = CorrectedAdroitReward(env, choice.entry.name)
    elif choice.entry.family == "kitchen":
        from gipo_cli.envs.robotics import KitchenSuccess

        env = KitchenSuccess(env)
    return env, spec.max_episode_steps


def _import_robotics() -> None:
    """Register gymnasium-robotics, without its notice on Adroit's reward, which our documentation carries."""
    from farama_notifications import notifications  # type: ignore[import-untyped]

    notifications.pop("gymnasium_robotics", None)
    import gymnasium_robotics

    gym.register_envs(gymnasium_robotics)


def _spec(env_id: str) -> gym.envs.registration.EnvSpec:
    """The registered specification of ``id`` or ``module:id``."""
    module, _, name = env_id.rpartition(":")
    import_user_modules([module] if module else [], "env.id")
    try:
        return gym.spec(name)
    except gym.error.Error as error:
        if settings := typed(name):
            raise UserError(f"environment {name!r} has a name of its own here; type {settings}") from error
        near = difflib.get_close_matches(name, gym.registry, n=1)
        raise UserError(
            f"Gymnasium knows no environment {name!r}; {f'did you mean {near[0]!r}? ' if near else ''}"
            "If it is your own, name the modules that register it in env.imports"
        ) from error
