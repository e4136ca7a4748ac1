"""Rollouts of this process: with the newest policy, or with that of so many versions ago."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gipo_cli.data.rollout import Rollout
from gipo_cli.errors import StoppedError
from gipo_cli.learning.actor import Actor, Position, Snapshot
from gipo_cli.learning.learner import Learner
from gipo_cli.learning.policies import MlpPolicy
from gipo_cli.settings.schema import ActorsConfig

_STREAM = 0x6C6167


class Past:
    """The learner's newest ``lag + 1`` policies, of which one collects the next rollout.

    Args:
        learner: Whose they are.
        actors: How old a policy collects. A uniform lag is drawn from the seed and the version alone.
        seed: Of the drawn lags.

    Raises: ValueError if they are not of this process.
    """

    def __init__(self, learner: Learner, actors: ActorsConfig, seed: int | None) -> None:
        if not actors.in_agent:
            raise ValueError(
                f"actors of kind {actors.kind} make their environments from a run's configuration: use "
                "gipo train, or here the kind inline or scheduled"
            )
        self.learner, self.lag, self.draws = learner, actors.lag, actors.lag_kind == "uniform"
        self.seed = seed or 0
        self._held: dict[int, dict[str, Tensor]] = {}
        self._policy = twin(learner.policy) if self.lag else learner.policy

    def snapshot(self) -> Snapshot:
        """The policy to collect the next rollout with; the oldest that is held where none is old enough."""
        newest = self.learner.snapshot()
        if not self.lag:
            return newest
        held = self._hold()
        lag = self.lag
        if self.draws:
            lag = int(np.random.default_rng([self.seed, _STREAM, newest.version]).integers(lag + 1))
        version = max(newest.version - lag, min(held))
        if version == newest.version:
            return newest
        self._policy.load_state_dict(held[version])
        return Snapshot(self._policy, version)

    def _hold(self) -> dict[int, dict[str, Tensor]]:
        """The policies by version, the learner's among them and none that is too old."""
        now = self.learner.version
        if now not in self._held:
            weights = self.learner.policy.state_dict()
            self._held[now] = {name: value.clone() for name, value in weights.items()}
        self._held = {
            version: held for version, held in self._held.items() if now - self.lag <= version <= now
        }
        return self._held

    def tensors(self) -> dict[str, Any]:
        """What exact resuming needs beside the learner's state: the older policies by version."""
        if not self.lag:
            return {}
        older = {version: held for version, held in self._hold().items() if version < self.learner.version}
        return {"past": older}

    def load(self, tensors: dict[str, Any]) -> None:
        """Put back what :meth:`tensors` gave.

        Raises: ValueError, LookupError or RuntimeError if they are of another network.
        """
        self._held = {}
        for version, weights in tensors.get("past", {}).items() if self.lag else ():
            self._policy.load_state_dict(weights)
            self._held[int(version)] = weights


class Source(Protocol):
    """Where the learner's rollouts come from."""

    @property
    def sees(self) -> str:
        """What the agent sees, in words."""

    @property
    def notes(self) -> list[str]:
        """What the user should know about actors and environments, once these have begun."""

    def begin(self) -> None:
        """Begin new episodes."""

    def go_on(self, position: Position, tensors: dict[str, Any], state: dict[str, Any]) -> bool:
        """Go on from a checkpoint's position, tensors and state.

        Returns: whether exactly, as :meth:`Actor.go_on` says.
        Raises: ValueError, LookupError or RuntimeError if they do not fit.
        """

    def publish(self) -> None:
        """The learner has a new version, or its first."""

    def next(self, stop: Callable[[], bool] = lambda: False) -> Rollout:
        """The next rollout, of whatever version and length.

        Raises: StoppedError if ``stop``, asked again and again, said yes before it was whole.
        """

    def position(self) -> Position:
        """Where the actors are after the newest rollout."""

    def tensors(self) -> dict[str, Any]:
        """What a checkpoint holds beside the position."""

    def state(self) -> dict[str, Any]:
        """The same as a JSON object."""

    def arrivals(self) -> list[dict[str, Any]]:
        """Rows of ``arrivals.csv`` since they were last asked for."""

    def report(self, used: int) -> dict[str, float]:
        """Columns of ``metrics.csv``, for an iteration in which the learner used so many samples."""


class Inline:
    """A source whose actor runs in the learner's process."""

    def __init__(self, actor: Actor, past: Past) -> None:
        self.actor, self.past = actor, past

    @property
    def sees(self) -> str:
        """As :class:`Source`."""
        return str(self.actor.env.get_attr("sees")[0])

    @property
    def notes(self) -> list[str]:
        """As :class:`Source`."""
        return list(dict.fromkeys(itertools.chain(*self.actor.env.get_attr("notes"))))

    def begin(self) -> None:
        """Begin new episodes."""
        self.actor.restart()

    def go_on(self, position: Position, tensors: dict[str, Any], state: dict[str, Any]) -> bool:
        """As :class:`Source`."""
        self.past.load(tensors)
        return self.actor.go_on(position)

    def next(self, stop: Callable[[], bool] = lambda: False) -> Rollout:
        """Collect one rollout now.

        Raises: StoppedError if ``stop``, asked after each step, said yes.
        """
        rollout = self.actor.collect(self.past.snapshot(), lambda _: not stop())
        if rollout is None:
            raise StoppedError
        return rollout

    def position(self) -> Position:
        """Where the actor is after the newest rollout."""
        return self.actor.position()

    def tensors(self) -> dict[str, Any]:
        """As :class:`Source`."""
        return self.past.tensors()

    def publish(self) -> None:
        """Nothing: the policy is read when it collects."""

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def arrivals(self) -> list[dict[str, Any]]:
        """Nothing: they follow from the settings."""
        return []

    def report(self, used: int) -> dict[str, float]:
        """Nothing."""
        return {}


def twin(policy: MlpPolicy) -> MlpPolicy:
    """Another policy of the same networks, for weights of its own; no random stream is touched."""
    kind, arguments = recipe(policy)
    with torch.random.fork_rng(devices=[]):
        other = kind(**arguments)
    return other.to(policy.device)


def stream(device: torch.device) -> torch.Generator:
    """A generator of actions, from where the networks' initialisation left torch's own.

    Stable-Baselines3's PPO draws its actions from there.
    """
    generator = torch.Generator(device)
    cuda = device.type == "cuda"
    generator.set_state(torch.cuda.get_rng_state(device) if cuda else torch.get_rng_state())
    return generator


def recipe(policy: MlpPolicy) -> tuple[type[MlpPolicy], dict[str, Any]]:
    """Class and arguments of such a twin, to be made in whatever process."""
    return type(policy), {
        **policy._get_constructor_parameters(),
        "lr_schedule": _no_lr,
        "optimizer_class": _NoOptimizer,
    }


class _NoOptimizer:
    """For a policy that only acts: one of torch's takes seconds to import."""

    def __init__(self, parameters: Any, **settings: Any) -> None: ...


def _no_lr(progress: float) -> float:
    return 0.0
