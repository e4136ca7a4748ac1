"""Bare simulators: what an adapter is asked for, what it gives, and the adapter of Gymnasium's registry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, Literal

import gymnasium as gym

from gipo_cli.envs.registry import typed
from gipo_cli.envs.resolve import ResolvedEnv
from gipo_cli.errors import UserError, suggest
from gipo_cli.settings.imports import import_user_modules

_STATISTICS = {"NormalizeObservation": "env.normalize_obs=true", "NormalizeReward": "env.reward_scale=NUMBER"}
Goals = Literal["random", "cycle"]
Begin = Callable[[int, int, dict[str, Any] | None], tuple[Any, dict[str, Any]]]
"""Starts the episode with this seed and this number, given Gymnasium's options: observation and info."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What an adapter needs to know.

    Attributes:
        choice: Which environment.
        kwargs: Keyword arguments of the simulator's constructor.
        index: Which environment of a vector this is.
        task_seed: Picks what belongs to the task (Meta-World's 50 goals).
        goals: Draw Meta-World's goals per episode, or visit them in order.
        goal_stride: How many environments visit them in order together.
    """

    choice: ResolvedEnv
    kwargs: dict[str, Any]
    index: int
    task_seed: int
    goals: Goals
    goal_stride: int


@dataclasses.dataclass(frozen=True)
class Simulator:
    """A simulator without time limit, checker or other wrappers of its own.

    Attributes:
        env: The simulator.
        time_limit: Steps after which an episode is truncated; None for no limit.
        begin: Starts an episode; None: ``env.reset`` with the seed.
        redundant: Parts of its observation that are functions of the other parts.
        note: What the user should know about it.
    """

    env: gym.Env[Any, Any]
    time_limit: int | None = None
    begin: Begin | None = None
    redundant: Sequence[str] = ()
    note: str | None = None

    def start(self, seed: int, episode: int, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """Start the episode with this seed and this number."""
        if self.begin is None:
            return self.env.reset(seed=seed, options=options)
        return self.begin(seed, episode, options)


def from_registry(request: Request) -> Simulator:
    """Make a simulator from Gymnasium's registry, with the time limit registered for it."""
    spec = _spec(request.choice.id or "")
    bare = dataclasses.replace(spec, order_enforce=False)
    env: gym.Env[Any, Any] = gym.make(bare, max_episode_steps=-1, disable_env_checker=True, **request.kwargs)
    return Simulator(env, spec.max_episode_steps)


def other_version(tested: Mapping[str, str]) -> str | None:
    """Why the faster methods made for these versions of packages cannot be used, if another is installed."""
    for package, version in tested.items():
        if (found := metadata.version(package)) != version:
            return f"{package} {found} steps as released; the faster methods are for {package} {version}"
    return None


def refuse_own_statistics(env: gym.Env[Any, Any], label: str) -> None:
    """Refuse wrappers that normalise by running statistics: training and evaluation would have their own.

    Raises: UserError with the setting to use instead.
    """
    while isinstance(env, gym.Wrapper):
        for kind in type(env).__mro__:
            if kind.__name__ in _STATISTICS:
                raise UserError(
                    f"env={label} holds the wrapper {kind.__name__}, whose running statistics training and "
                    f"evaluation would not share; take it out and type {_STATISTICS[kind.__name__]}"
                )
        env = env.env


def _spec(env_id: str) -> gym.envs.registration.EnvSpec:
    """The registered specification of ``id`` or ``module:id``."""
    module, _, name = env_id.rpartition(":")
    import_user_modules([module] if module else [], "env.id")
    try:
        return gym.spec(name)
    except gym.error.Error as error:
        if settings := typed(name):
            raise UserError(f"environment {name!r} has a name of its own here; type {settings}") from error
        raise UserError(
            f"Gymnasium knows no environment {name!r}{suggest(name, gym.registry)}; "
            "if it is your own, name the modules that register it in env.imports"
        ) from error
