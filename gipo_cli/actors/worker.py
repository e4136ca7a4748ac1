"""What an actor does, wherever it runs: environments and a policy of its own, one rollout at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from gymnasium import spaces

from gipo_cli.data.rollout import Rollout
from gipo_cli.envs.make import make_vec_env
from gipo_cli.learning.actor import Actor, Position, Snapshot
from gipo_cli.learning.policies import MlpPolicy
from gipo_cli.settings.schema import EnvConfig


@dataclass(frozen=True)
class Part:
    """What an actor is told before it begins.

    Attributes:
        env: The environments, of which it has ``env.n_envs``.
        seed: The run's.
        index: Which actor it is; its environments count on from those of the actors before it.
        steps: Of each environment in a rollout.
        keeps_distribution: Whether rollouts hold the behaviour distribution.
        policy: Class and arguments of the learner's networks.
        stream: State of the stream of actions; None: one of its own, by the seed.
        threads: Of one matrix product.
    """

    env: EnvConfig
    seed: int
    index: int
    steps: int
    keeps_distribution: bool
    policy: tuple[type[MlpPolicy], dict[str, Any]]
    stream: torch.Tensor | None
    threads: int


class Ready(NamedTuple):
    """What an actor answers once its environments are made."""

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    versions: dict[str, str | None]
    sees: str


class Begun(NamedTuple):
    """Whether it goes on exactly, where it is, and what the user should know of its environments."""

    exact: bool
    position: Position
    notes: list[str]


class Worker(ExitStack):
    """An actor's environments, policy and random stream.

    Raises:
        UserError: The environments cannot be made.
    """

    def __init__(self, part: Part) -> None:
        super().__init__()
        torch.set_num_threads(part.threads)
        first = part.index * part.env.n_envs
        self.env = self.enter_context(closing(make_vec_env(part.env, part.seed, first=first)))
        # As Stable-Baselines3 does with the environments of an agent.
        self.env.seed(part.seed + first)
        kind, arguments = part.policy
        self.policy = kind(**arguments)
        generator = torch.Generator()
        if part.stream is None:
            generator.manual_seed(part.seed * 1_000_003 + part.index)
        else:
            generator.set_state(part.stream)
        self.actor = Actor(self.env, part.steps, generator, keeps_distribution=part.keeps_distribution)
        self.version = -1

    def ready(self) -> Ready:
        """What is here."""
        from gipo_cli.runs.machine import versions

        space = self.env
        return Ready(space.observation_space, space.action_space, versions(), self.env.get_attr("sees")[0])

    def begin(self, position: Position | None) -> Begun:
        """Begin new episodes, or go on from where another was."""
        exact = True
        if position is None:
            self.actor.restart()
        else:
            exact = self.actor.go_on(position)
        notes = [note for notes in self.env.get_attr("notes") for note in notes]
        return Begun(exact, self.actor.position(), list(dict.fromkeys(notes)))

    def collect(
        self, version: int, weights: dict[str, torch.Tensor] | None, stop: Callable[[], bool]
    ) -> tuple[Rollout, Position] | None:
        """A rollout with that version, whose weights come along unless they are here; None if stopped."""
        if weights is not None:
            self.policy.load_state_dict(weights)
            self.version = version
        rollout = self.actor.collect(Snapshot(self.policy, self.version), lambda _: not stop())
        return None if rollout is None else (rollout, self.actor.position())
