"""The one factory: an ``EnvConfig`` to a Gymnasium environment or a vector of them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from gipo_cli.envs import metaworld, robotics
from gipo_cli.envs.isolation import Isolation
from gipo_cli.envs.registry import Family
from gipo_cli.envs.resolve import resolve
from gipo_cli.envs.simulators import Goals, Request, Simulator, from_registry, refuse_own_statistics
from gipo_cli.envs.task_env import TaskEnv, episode_seed
from gipo_cli.errors import UserError
from gipo_cli.settings.imports import import_user_modules
from gipo_cli.settings.schema import EnvConfig

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

ADAPTERS: dict[Family, Callable[[Request], Simulator]] = {
    "fetch": robotics.from_robotics,
    "hand": robotics.hand,
    "adroit": robotics.adroit,
    "kitchen": robotics.kitchen,
    "metaworld": metaworld.with_goals,
    "gymnasium": from_registry,
}
"""What makes the simulators of a family."""


def import_mujoco() -> None:
    """Import MuJoCo without a renderer where ``MUJOCO_GL`` asks for one that does not work here.

    MuJoCo refuses to be imported then, and only films need to draw.
    """
    if (asked := os.environ.get("MUJOCO_GL")) and "mujoco" not in sys.modules:
        try:
            importlib.import_module("mujoco")
        # A graphics driver may raise anything.
        except Exception:
            os.environ["MUJOCO_GL"] = "disable"
            try:
                importlib.import_module("mujoco")
            finally:
                os.environ["MUJOCO_GL"] = asked


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
    choice = resolve(cfg)
    kwargs = cfg.kwargs if render_mode is None else {**cfg.kwargs, "render_mode": render_mode}
    task_seed = seed if task_seed is None else task_seed
    isolation = Isolation(task_seed)
    try:
        if render_mode is None:
            import_mujoco()
        with isolation.around(episode_seed(task_seed, 0, 0)):
            import_user_modules(cfg.imports, "env.imports")
            made = ADAPTERS[choice.entry.family](
                Request(choice, kwargs, index, task_seed, goals, goal_stride)
            )
        refuse_own_statistics(made.env, choice.label)
        return TaskEnv(made, cfg, label=choice.label, seed=seed, index=index, isolation=isolation)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a constructor may raise anything
        raise UserError(
            f"env={choice.label} cannot be made ({type(error).__name__}: {error}); "
            f"check env.kwargs={cfg.kwargs}"
        ) from error


def make_vec_env(
    cfg: EnvConfig,
    seed: int,
    *,
    n_envs: int | None = None,
    first: int = 0,
    task_seed: int | None = None,
    goals: Goals = "random",
) -> VecEnv:
    """Make ``n_envs`` (default ``cfg.n_envs``) environments as one SB3 vector, ``cfg.vector`` deciding how.

    The index of the first one is ``first``.

    Raises:
        UserError: As ``make_env``.
    """
    count = cfg.n_envs if n_envs is None else n_envs
    make = partial(make_env, cfg, seed, task_seed=task_seed, goals=goals, goal_stride=count)
    factories: list[Callable[[], Any]] = [partial(make, first + index) for index in range(count)]
    if cfg.vector == "dummy":
        from gipo_cli.envs.serial import SerialVecEnv

        return SerialVecEnv(factories)
    from gipo_cli.envs.processes import ProcessVecEnv

    # A mistake in the config is a sentence when it is met here; in a child it would be a broken pipe.
    factories[0]().close()
    return ProcessVecEnv(factories)
