"""The bound on arrival lag, as a state machine: without clocks, processes and random numbers."""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

Overflow = Literal["pace", "drop", "mask"]


class Arrival(NamedTuple):
    """A rollout's way into the buffer; ``lag`` is the learner's version then minus the one that made it."""

    actor: int
    version: int
    lag: int
    fate: Literal["used", "dropped", "masked"]


class Pacing:
    """Who may begin a rollout, and what becomes of one that arrives.

    The learner takes rollouts in the order in which they are finished, and each raises its version by one. A
    rollout that was begun may therefore be overtaken by all others that were. With ``pace`` one is begun only
    if none of those under way, the new one included, could then arrive with a lag above ``max_lag``: taken
    last, the oldest has the learner's version plus the number of the others. With ``drop`` and ``mask`` an
    actor waits only while one of its rollouts waits. What arrives with a larger lag is thrown away, or takes
    an iteration of its own and is masked.

    Args:
        max_lag: In versions.
        overflow: How the bound is kept.
        version: The learner's, which the actors have.
    """

    def __init__(self, max_lag: int, overflow: Overflow, version: int = 0) -> None:
        self.max_lag, self.overflow = max_lag, overflow
        self.newest = version
        """That actors can have."""
        self.next_version = version
        """Of the learner when it takes the next rollout: that of the update under way, once it is done."""
        self.running: dict[int, int] = {}
        """Version by actor."""
        self.waiting: deque[tuple[int, int]] = deque()
        """Actor and version of finished rollouts, in the order of their arrival."""

    def may_begin(self, actor: int) -> bool:
        """Whether an actor may begin a rollout with the newest version."""
        if actor in self.running:
            return False
        if self.overflow != "pace":
            return all(actor != other for other, _ in self.waiting)
        under_way = [*self.running.values(), *(version for _, version in self.waiting)]
        return self.next_version + len(under_way) <= self.max_lag + min([*under_way, self.newest])

    def begin(self, actor: int) -> int:
        """An actor begins; returns the version that it acts with."""
        self.running[actor] = self.newest
        return self.newest

    def lost(self, actor: int) -> None:
        """An actor ended; the rollout that it was at, if any, will not arrive."""
        self.running.pop(actor, None)

    def finished(self, actor: int) -> None:
        """An actor's rollout is whole."""
        self.waiting.append((actor, self.running.pop(actor)))

    def take(self) -> Arrival:
        """The learner takes the rollout that waits longest; its update makes the next version."""
        actor, version = self.waiting.popleft()
        lag = self.next_version - version
        if lag > self.max_lag and self.overflow != "mask":
            return Arrival(actor, version, lag, "dropped")
        self.next_version += 1
        return Arrival(actor, version, lag, "used" if lag <= self.max_lag else "masked")

    def publish(self, version: int) -> None:
        """The learner's update is done."""
        self.newest = version
