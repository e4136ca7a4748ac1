"""How actors are started, told and heard, wherever they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from gipo_cli.actors.worker import Begun, Ready
from gipo_cli.data.rollout import Rollout
from gipo_cli.learning.actor import Position

Weights = dict[str, np.ndarray[Any, Any]]
"""A policy's state by name."""


class Collected(NamedTuple):
    """A whole rollout, and where its actor is after it."""

    rollout: Rollout
    position: Position


class Failed(NamedTuple):
    """What an actor's environment or set-up raised; ``typed`` if the request was at fault."""

    reason: str
    typed: bool


class Died(NamedTuple):
    """An actor ended without a word, or was ended since it did not answer."""

    reason: str


class Event(NamedTuple):
    """What came from an actor."""

    actor: int
    what: Ready | Begun | Collected | Failed | Died


class Crew(Protocol):
    """Actors by number. One thread calls at a time, except for ``publish`` and ``wake``."""

    def hire(self, actor: int) -> None:
        """Start an actor, or start it again; ``Ready`` follows."""

    def begin(self, actor: int, position: Position | None) -> None:
        """Have it begin new episodes, or go on from a position; ``Begun`` follows."""

    def publish(self, version: int, weights: Weights) -> None:
        """Make a version the one that is collected with from now on."""

    def collect(self, actor: int) -> None:
        """Have it collect a rollout; ``Collected`` follows."""

    def events(self, seconds: float) -> Sequence[Event]:
        """Wait until something comes, ``wake`` is called or the time is over."""

    def wake(self) -> None:
        """End the wait of ``events``, from any thread."""

    def close(self) -> None:
        """End every actor."""
