"""Actors as processes of this machine."""

from __future__ import annotations

import multiprocessing.connection as mp
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from gipo_cli import children
from gipo_cli.actors.crew import Collected, Died, Event, Failed, Weights
from gipo_cli.actors.worker import Part, Worker
from gipo_cli.envs.calls import BYTES, CALLS, Calls
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.learning.actor import Position
from gipo_cli.runs.signals import STOPPING

ROLE = "actor"
END_SECONDS = 3.0
LOOK_SECONDS = 1.0


class _Process:
    """One actor: its process, the pipe to it and the calls that it makes into its environments."""

    def __init__(self, part: Part) -> None:
        self.connection, other = mp.Pipe()
        descriptor = os.memfd_create("gipo-actor-calls")
        try:
            os.ftruncate(descriptor, BYTES)
            self.calls = Calls.shared(descriptor)
            self.process = subprocess.Popen(
                children.command(ROLE, str(other.fileno()), str(descriptor), str(os.getpid())),
                env=children.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno(), descriptor],
            )
        except OSError as error:
            self.connection.close()
            raise UserError(
                f"cannot start an actor's process: {error.strerror or error}; lower actors.n, use "
                "actors=inline, or raise the limit"
            ) from error
        finally:
            os.close(descriptor)
            other.close()
        self.version, self.silent, self.seen = -1, 0.0, -1
        self.looked = time.monotonic()
        _send(self.connection, part)

    def hangs(self, limit: float) -> bool:
        """Whether one call into an environment lasts longer than the limit."""
        now, begun = time.monotonic(), self.calls.begun
        # One that died in a call is dead and does not hang: its pipe will say so.
        same = self.calls.going_on and begun == self.seen and self.process.poll() is None
        # A machine that was suspended must not look like a simulator that hangs.
        self.silent = self.silent + min(now - self.looked, LOOK_SECONDS) if same else 0.0
        self.seen, self.looked = begun, now
        return self.silent > limit

    def how(self) -> str:
        """How it ended."""
        try:
            code = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "it fell silent"
        if code < 0:
            name = signal.Signals(-code).name
            return f"it was ended by {name}{': out of memory?' if name == 'SIGKILL' else ''}"
        return f"it ended by itself with exit code {code}; anything it printed is above"

    def end(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


class Processes:
    """Keeps one process per part; see :class:`gipo_cli.actors.crew.Crew`.

    Args:
        parts: What each actor is told.
        call_seconds: Time that one call into an environment may take; None: any.
    """

    def __init__(self, parts: Sequence[Part], call_seconds: float | None) -> None:
        self._parts, self._limit = parts, call_seconds
        self._processes: dict[int, _Process] = {}
        self._blob, self._version = b"", -1
        self._woken, self._waker = mp.Pipe(duplex=False)

    def hire(self, actor: int) -> None:
        """Start a process, and end the one that it replaces."""
        if actor in self._processes:
            self._processes.pop(actor).end()
        self._processes[actor] = _Process(self._parts[actor])

    def begin(self, actor: int, position: Position | None) -> None:
        """Have it begin."""
        self._send(actor, ("begin", position))

    def publish(self, version: int, weights: Weights) -> None:
        """Pickle the weights, once for all."""
        self._blob, self._version = pickle.dumps(weights, pickle.HIGHEST_PROTOCOL), version

    def collect(self, actor: int) -> None:
        """Have it collect; the weights go along unless it has them."""
        process = self._processes[actor]
        blob = None if process.version == self._version else self._blob
        process.version = self._version
        self._send(actor, ("collect", self._version, blob))

    def _send(self, actor: int, message: object) -> None:
        # That it is dead is heard when it is listened to.
        with suppress(OSError):
            _send(self._processes[actor].connection, message)

    def events(self, seconds: float) -> list[Event]:
        """Wait for messages and deaths, and end what hangs."""
        by_connection = {process.connection: actor for actor, process in self._processes.items()}
        ready = mp.wait([*by_connection, self._woken], seconds)
        if self._woken in ready:
            self._woken.recv_bytes()
        found = [self._heard(actor) for connection, actor in by_connection.items() if connection in ready]
        if self._limit is not None:
            hanging = [actor for actor, process in self._processes.items() if process.hangs(self._limit)]
            found += [self._ended(actor) for actor in hanging]
        return found

    def _heard(self, actor: int) -> Event:
        process = self._processes[actor]
        try:
            return Event(actor, _receive(process.connection))
        except (EOFError, OSError):
            reason = process.how()
            self._processes.pop(actor).end()
            return Event(actor, Died(reason))

    def _ended(self, actor: int) -> Event:
        process = self._processes.pop(actor)
        process.end()
        reason = f"{process.calls.where()} did not answer within {self._limit:g} s (runtime.env_timeout_s)"
        return Event(actor, Died(reason))

    def wake(self) -> None:
        """End the wait of ``events``."""
        self._waker.send_bytes(b".")

    def close(self) -> None:
        """End every process: they end when their pipe closes, and are killed if they do not."""
        for process in self._processes.values():
            process.connection.close()
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.process.wait(END_SECONDS)
        for process in self._processes.values():
            process.end()
        self._processes.clear()
        self._woken.close()
        self._waker.close()


def main(arguments: Sequence[str]) -> None:
    """Be an actor's process, until the pipe closes."""
    descriptor, calls, _ = map(int, arguments)
    # What stops the run may signal every process of it; this one ends with the run.
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    for own in (descriptor, calls):
        os.set_inheritable(own, False)
    CALLS.share(calls)
    os.close(calls)
    connection: mp.Connection[object, object] = mp.Connection(descriptor)
    with suppress(EOFError, ConnectionError):
        _serve(connection)


def _serve(connection: mp.Connection) -> None:
    part = _receive(connection)
    try:
        with Worker(part) as worker:
            _send(connection, worker.ready())
            while True:
                _send(connection, _done(worker, _receive(connection), connection))
    except (EOFError, ConnectionError):
        raise
    except (RunFailed, UserError) as error:
        _send(connection, Failed(str(error), isinstance(error, UserError)))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        _send(connection, Failed(f"{type(error).__name__}: {error}", typed=False))


def _send(connection: mp.Connection, message: object) -> None:
    # Not by its own ``send``, for which torch puts tensors into shared memory.
    connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def _receive(connection: mp.Connection) -> Any:
    return pickle.loads(connection.recv_bytes())


def _done(worker: Worker, message: tuple[Any, ...], connection: mp.Connection) -> object:
    """The answer to a message."""
    if message[0] == "begin":
        return worker.begin(message[1])
    _, version, blob = message
    weights = None if blob is None else {n: torch.from_numpy(w) for n, w in pickle.loads(blob).items()}
    found = worker.collect(version, weights, connection.poll)
    if found is None:
        raise EOFError
    return Collected(*found)
