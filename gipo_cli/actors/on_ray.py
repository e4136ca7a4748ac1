"""Actors on Ray: of this machine for the run alone, or of a cluster."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from gipo_cli.actors.crew import Collected, Died, Event, Failed, Weights
from gipo_cli.actors.worker import Begun, Part, Ready, Worker
from gipo_cli.envs.calls import CALLS
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.learning.actor import Position
from gipo_cli.sweep.on_ray import check, connect

POLL_SECONDS = 0.05
LOOK_SECONDS = 1.0


class Remote:
    """What lives in Ray's process. Two calls at a time: one works, the other may ask how it gets on."""

    def ready(self, part: Part, directory: str) -> Ready:
        """Make the environments, whose modules are looked up in the run's directory, if it is there."""
        with suppress(OSError):
            os.chdir(directory)
        self._worker = Worker(part)
        return self._worker.ready()

    def begin(self, position: Position | None) -> Begun:
        """As :meth:`Worker.begin`."""
        return self._worker.begin(position)

    def collect(self, version: int, weights: Weights) -> Collected:
        """A rollout with that version."""
        # Copies: what lies in Ray's store cannot be written to.
        own = {name: torch.tensor(value) for name, value in weights.items()}
        found = self._worker.collect(version, own, lambda: False)
        if found is None:
            raise RunFailed("an actor was stopped")
        return Collected(*found)

    def calls(self) -> tuple[int, bool, str]:
        """Calls into environments so far, whether one is going on, and which in words."""
        return CALLS.begun, CALLS.going_on, CALLS.where()


class _Hand:
    """The driver's end of one actor."""

    def __init__(self, handle: Any) -> None:
        self.handle, self.task, self.question = handle, None, None
        self.answer: tuple[int, bool, str] = (-1, False, "an environment")
        self.silent, self.looked, self.made = 0.0, time.monotonic(), False


class OnRay:
    """Keeps one Ray actor of one core per part; see :class:`gipo_cli.actors.crew.Crew`.

    Args:
        parts: What each actor is told.
        call_seconds: Time that one call into an environment may take; None: any.
        address: Of the cluster, ``host:port``; None: one of this machine, which ends with the run.

    Raises:
        UserError: Ray is not installed, the cluster cannot be reached, or it has too few cores.
    """

    def __init__(self, parts: Sequence[Part], call_seconds: float | None, address: str | None) -> None:
        check(address)
        self._ray = connect(address, len(parts))
        self._parts, self._limit = parts, call_seconds
        self._hands: dict[int, _Hand] = {}
        self._version, self._weights = -1, None
        self._woken = threading.Event()
        cores = self._ray.cluster_resources().get("CPU", 0)
        if cores < len(parts):
            self._ray.shutdown()
            raise UserError(
                f"the Ray cluster has {cores:.0f} cores and {len(parts)} actors need one each; lower "
                "actors.n, or add nodes"
            )
        self._remote = self._ray.remote(num_cpus=1, max_restarts=0, max_concurrency=2)(Remote)

    def hire(self, actor: int) -> None:
        """Start an actor on any node that has room."""
        hand = _Hand(self._remote.remote())
        hand.task = hand.handle.ready.remote(self._parts[actor], os.getcwd())
        self._hands[actor] = hand

    def begin(self, actor: int, position: Position | None) -> None:
        """Have it begin."""
        self._hands[actor].task = self._hands[actor].handle.begin.remote(position)

    def publish(self, version: int, weights: Weights) -> None:
        """Put the weights into Ray's store, once for all."""
        self._version, self._weights = version, self._ray.put(weights)

    def collect(self, actor: int) -> None:
        """Have it collect."""
        hand = self._hands[actor]
        hand.task = hand.handle.collect.remote(self._version, self._weights)

    def events(self, seconds: float) -> list[Event]:
        """Wait for answers and deaths, and end what hangs."""
        end = time.monotonic() + seconds
        while True:
            tasks = {hand.task: actor for actor, hand in self._hands.items() if hand.task is not None}
            done = self._ray.wait(list(tasks), num_returns=len(tasks), timeout=0)[0] if tasks else []
            found = [Event(tasks[task], self._heard(tasks[task], task)) for task in done]
            found += self._hanging()
            if found or self._woken.wait(POLL_SECONDS) or time.monotonic() > end:
                self._woken.clear()
                return found

    def _heard(self, actor: int, task: Any) -> Any:
        errors = self._ray.exceptions
        hand = self._hands[actor]
        hand.task = None
        try:
            answer = self._ray.get(task)
            hand.made = True
            return answer
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, RunFailed | UserError):
                return Failed(str(cause), isinstance(cause, UserError))
            return Failed(f"{type(cause or error).__name__}: {str(cause or error).strip()}", typed=False)
        except errors.RayError as error:
            del self._hands[actor]
            said = [type(error).__name__, *str(error).strip().splitlines()]
            return Died(f"Ray lost it: {said[-1].strip()}")

    def _hanging(self) -> list[Event]:
        return [] if self._limit is None else [e for actor in list(self._hands) for e in self._look(actor)]

    def _look(self, actor: int) -> list[Event]:
        """Ask how an actor gets on; one that holds the interpreter does not even answer."""
        hand, now = self._hands[actor], time.monotonic()
        if hand.task is None or not hand.made or now - hand.looked < LOOK_SECONDS:
            return []
        before, hand.looked = hand.answer, now
        if hand.question is not None and self._ray.wait([hand.question], timeout=0)[0]:
            try:
                hand.answer, hand.question = self._ray.get(hand.question), None
            except self._ray.exceptions.RayError:
                return []  # its task tells
        begun, going_on, where = hand.answer
        same = hand.question is not None or (going_on and begun == before[0])
        hand.silent = hand.silent + LOOK_SECONDS if same else 0.0
        hand.question = hand.question or hand.handle.calls.remote()
        if self._limit is None or hand.silent <= self._limit:
            return []
        self._ray.kill(hand.handle)
        del self._hands[actor]
        reason = f"{where} did not answer within {self._limit:g} s (runtime.env_timeout_s)"
        return [Event(actor, Died(reason))]

    def wake(self) -> None:
        """End the wait of ``events``."""
        self._woken.set()

    def close(self) -> None:
        """End every actor and leave the cluster; one of this machine ends with its processes."""
        for hand in self._hands.values():
            self._ray.kill(hand.handle)
        self._ray.shutdown()
