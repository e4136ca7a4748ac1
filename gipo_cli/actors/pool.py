"""Rollouts of several actors that collect while the learner learns."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gipo_cli.actors.crew import Collected, Crew, Died, Event, Failed
from gipo_cli.actors.pacing import Arrival, Pacing
from gipo_cli.actors.positions import join, split
from gipo_cli.actors.worker import Begun, Ready
from gipo_cli.data.rollout import Rollout
from gipo_cli.errors import RunFailed, StoppedError, UserError
from gipo_cli.learning.actor import Position
from gipo_cli.learning.learner import Learner
from gipo_cli.settings.schema import ActorsConfig

BEAT_SECONDS = 0.5
STOP_SECONDS = 0.1
DEATHS = 3
"""In a row without a rollout, after which the run ends."""
COUNTERS = ("dropped", "masked", "replaced", "collected", "used")


class Pool:
    """A source whose actors run elsewhere; a thread tells them what to do and hears what they did.

    An actor that dies is replaced, and its successor goes on from where its last whole rollout ended. Between
    two rollouts an actor's episodes, and so everything that it will collect, follow from the versions that
    it was given: what is random in a run is the order of arrivals alone.

    Args:
        crew: The actors.
        learner: Whose policy they act with.
        config: How many there are, and the bound on their lag.
        versions: Of the libraries that the learner runs on.

    Raises:
        UserError: An actor cannot be made, or is not like the learner.
        RunFailed: Actors died again and again.
    """

    def __init__(
        self, crew: Crew, learner: Learner, config: ActorsConfig, versions: dict[str, str | None]
    ) -> None:
        self._crew, self._learner, self._config, self._versions = crew, learner, config, versions
        self._pacing = Pacing(config.max_lag, config.overflow)
        self.sees, self.notes = "", self._warnings()
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._arrivals: list[tuple[Arrival, int]] = []
        self._finished: deque[Collected] = deque()
        self._deaths = dict.fromkeys(range(config.n), 0)
        self._exact = True
        # Of each actor: after its newest whole rollout, and after its newest that the learner took.
        self._newest: dict[int, Position | None] = dict.fromkeys(range(config.n))
        self._taken: dict[int, Position] = {}
        self._idle: dict[int, float] = {}
        """Since when actors that could begin a rollout wait."""
        self._waited, self._since, self._queue = 0.0, time.perf_counter(), 0
        self._learner_waited = 0.0
        self._ready: set[int] = set()
        self._told = self._begun = False
        self._failure: RunFailed | UserError | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="actors", daemon=True)
        try:
            for actor in range(config.n):
                crew.hire(actor)
            while len(self._ready) < config.n:
                self._hear()
        except BaseException:
            crew.close()
            raise

    def _warnings(self) -> list[str]:
        n, most, cores = self._config.n, self._config.max_lag + 1, len(os.sched_getaffinity(0))
        found = []
        if self._config.overflow == "pace" and n > most:
            found.append(
                f"with actors.max_lag={most - 1} only {most} of {n} actors can ever work at once; raise it "
                f"to {n - 1}, or lower actors.n"
            )
        if n + 1 > cores and self._config.kind == "processes":
            found.append(f"{n} actors and the learner share {cores} cores; more than that many do not help")
        return found

    def begin(self) -> None:
        """Begin new episodes."""
        self._begin(dict.fromkeys(range(self._config.n)))

    def go_on(self, position: Position, tensors: dict[str, Any], state: dict[str, Any]) -> bool:
        """Go on from a checkpoint, exactly or not as :meth:`Actor.go_on` says.

        Raises: ValueError if it is of another number of actors; RunFailed as ``next``.
        """
        self._counts |= state.get("counts", {})
        self._begin(dict(enumerate(split(position, self._config.n))))
        return self._exact

    def _begin(self, positions: dict[int, Position | None] | dict[int, Position]) -> None:
        self._newest.update(positions)
        self._told = True
        for actor in range(self._config.n):
            self._crew.begin(actor, self._newest[actor])
        while len(self._idle) < self._config.n:
            self._hear()
        self._taken = {actor: found for actor, found in self._newest.items() if found is not None}

    def publish(self) -> None:
        """Give the learner's version to the actors; the first time, let them collect."""
        policy, version = self._learner.snapshot()
        weights = {name: value.cpu().numpy().copy() for name, value in policy.state_dict().items()}
        with self._changed:
            self._crew.publish(version, weights)
            if not self._begun:
                self._begun = True
                self._pacing.next_version = version
                self._thread.start()
            self._pacing.publish(version)
        self._crew.wake()

    def next(self, stop: Callable[[], bool] = lambda: False) -> Rollout:
        """The rollout that waits longest, or the next one to come.

        Raises:
            StoppedError: ``stop`` said yes before there was one.
            RunFailed: An actor's environment failed, or an actor died again and again.
        """
        begun = time.perf_counter()
        with self._changed:
            while True:
                while not self._finished:
                    if self._failure is not None:
                        raise self._failure
                    if stop():
                        raise StoppedError
                    self._changed.wait(STOP_SECONDS)
                arrival, found = self._pacing.take(), self._finished.popleft()
                self._queue = len(self._finished)
                self._taken[arrival.actor] = found.position
                self._arrivals.append((arrival, len(found.rollout)))
                self._counts["collected"] += len(found.rollout)
                self._crew.wake()
                if arrival.fate != "used":
                    self._counts[arrival.fate] += 1
                if arrival.fate != "dropped":
                    self._learner_waited = time.perf_counter() - begun
                    return replace(found.rollout, masked=arrival.fate == "masked")

    def arrivals(self) -> list[dict[str, Any]]:
        """Rows of ``arrivals.csv`` since they were last asked for."""
        found, self._arrivals = self._arrivals, []
        return [
            {
                "iteration": arrival.version + arrival.lag,
                "actor": arrival.actor,
                "version": arrival.version,
                "lag": arrival.lag,
                "size": size,
                "fate": arrival.fate,
            }
            for arrival, size in found
        ]

    def position(self) -> Position:
        """Where the actors are after the newest rollouts that the learner took."""
        return join([self._taken[actor] for actor in range(self._config.n)])

    def tensors(self) -> dict[str, Any]:
        """Nothing: actors go on with the learner's policy."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the counters."""
        return {"counts": dict(self._counts)}

    def report(self, used: int) -> dict[str, float]:
        """Columns of ``metrics.csv`` since the last report, in which the learner used so many samples."""
        with self._changed:
            now = time.perf_counter()
            waiting = sum(now - max(since, self._since) for since in self._idle.values())
            waited, self._waited, self._since = self._waited + waiting, 0.0, now
            self._counts["used"] += used
            counts = self._counts
            return {
                "actors/queue": self._queue,
                **{f"actors/{fate}": counts[fate] for fate in ("dropped", "masked", "replaced")},
                "actors/reuse": counts["used"] / counts["collected"] if counts["collected"] else math.nan,
                "time/learner_wait": self._learner_waited,
                "time/actors_wait": waited / self._config.n,
            }

    def close(self) -> None:
        """End the actors."""
        self._closing.set()
        if self._begun:
            self._crew.wake()
            self._thread.join()
        self._crew.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                events = self._crew.events(BEAT_SECONDS)
                with self._changed:
                    for event in events:
                        self._handle(event)
                    self._dispatch()
                    self._changed.notify_all()
        except (RunFailed, UserError) as error:
            self._fail(error)
        except BaseException as error:
            self._fail(RunFailed(f"the actors cannot be reached any more: {type(error).__name__}: {error}"))

    def _fail(self, error: RunFailed | UserError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def _hear(self) -> None:
        for event in self._crew.events(BEAT_SECONDS):
            self._handle(event)

    def _dispatch(self) -> None:
        now = time.perf_counter()
        for actor, since in sorted(self._idle.items(), key=lambda item: item[1]):
            if self._pacing.may_begin(actor):
                self._waited += now - max(since, self._since)
                del self._idle[actor]
                self._pacing.begin(actor)
                self._crew.collect(actor)

    def _handle(self, event: Event) -> None:
        actor, what = event
        if isinstance(what, Collected):
            self._deaths[actor] = 0
            self._newest[actor] = what.position
            self._finished.append(what)
            self._pacing.finished(actor)
            self._idle[actor] = time.perf_counter()
        elif isinstance(what, Begun):
            self._exact &= what.exact
            self._newest[actor] = what.position
            self.notes += [note for note in what.notes if note not in self.notes]
            self._idle[actor] = time.perf_counter()
        elif isinstance(what, Ready):
            self._greet(actor, what)
        elif isinstance(what, Failed):
            raise UserError(what.reason) if what.typed and not self._begun else RunFailed(what.reason)
        else:
            self._replace(actor, what)

    def _greet(self, actor: int, ready: Ready) -> None:
        policy = self._learner.policy
        pairs: Sequence[tuple[str, Any, Any]] = (
            ("observations are", ready.observation_space, policy.observation_space),
            ("actions are", ready.action_space, policy.action_space),
            ("versions are", ready.versions, self._versions),
        )
        for what, theirs, ours in pairs:
            if theirs != ours:
                raise UserError(f"actor {actor} is not like the learner: its {what} {theirs} and not {ours}")
        self.sees = ready.sees
        self._ready.add(actor)
        if self._told:
            self._crew.begin(actor, self._newest[actor])

    def _replace(self, actor: int, died: Died) -> None:
        self._pacing.lost(actor)
        self._ready.discard(actor)
        self._idle.pop(actor, None)
        self._deaths[actor] += 1
        if self._deaths[actor] >= DEATHS:
            raise RunFailed(
                f"actor {actor} ended {DEATHS} times in a row without a rollout; the last time {died.reason}"
            )
        self._counts["replaced"] += 1
        self._crew.hire(actor)
