"""The local engine: one process per run, a few at a time, none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from gipo_cli.children import environment
from gipo_cli.sweep.engine import ONE_THREAD, Ended, worker_command
from gipo_cli.sweep.manifest import StudyDir
from gipo_cli.sweep.state import holder_of

HELD_SECONDS = 60.0
"""How long to wait, when nothing else is left to do, for a run that another process works on."""


@dataclass
class LocalEngine:
    """Runs on this machine.

    A worker's standard input is a pipe that nobody writes to: when this process dies, however it dies, the
    pipe closes and the worker saves and ends.

    Attributes:
        folder: The study's folder.
        jobs: Runs at a time.
    """

    folder: StudyDir
    jobs: int
    _queue: deque[str] = field(default_factory=deque)
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _held: dict[str, int] = field(default_factory=dict)
    _held_since: float | None = None
    _notes: list[str] = field(default_factory=list)

    def submit(self, names: Sequence[str]) -> None:
        """Queue runs."""
        self._queue.extend(names)

    def poll(self) -> list[Ended]:
        """Reap, then start."""
        ended = []
        for name, child in list(self._children.items()):
            code = child.poll()
            if code is not None:
                self._children.pop(name)
                _close(child)
                ended.append(Ended(name, _how(code)))
        self._start()
        return ended + self._give_up()

    def active(self) -> list[str]:
        """Runs with a process, and those waited for."""
        return [*self._children, *self._queue]

    def notes(self) -> list[str]:
        """Notes since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def stop(self) -> None:
        """Start nothing more; children save and end."""
        self._queue.clear()
        for child in self._children.values():
            child.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End all children and theirs."""
        self._queue.clear()
        for child in self._children.values():
            # Each leads a session of its own, so its environments' processes go with it.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        for child in self._children.values():
            child.wait()
            _close(child)
        self._children.clear()

    def _start(self) -> None:
        self._held = {}
        for _ in range(len(self._queue)):
            if len(self._children) >= self.jobs:
                return
            name = self._queue.popleft()
            pid = holder_of(self.folder, name)
            if pid is None:
                self._children[name] = self._spawn(name)
                continue
            self._queue.append(name)
            self._held[name] = pid

    def _give_up(self) -> list[Ended]:
        """Runs that others hold are waited for, but not for ever once nothing else is left to do."""
        if self._children or not self._held:
            self._held_since = None
            return []
        if self._held_since is None:
            self._held_since = time.monotonic()
            for name, pid in self._held.items():
                self._notes.append(f"waiting for process {pid}, which works on {name}")
        if time.monotonic() - self._held_since < HELD_SECONDS:
            return []
        refused = [
            Ended(name, f"is being written by process {pid}; stop that one, then type this command again")
            for name, pid in self._held.items()
        ]
        self._queue.clear()
        return refused

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        output: IO[bytes]
        with self.folder.output(name).open("wb") as output:
            return subprocess.Popen(
                worker_command(self.folder, name, "--lifeline"),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A terminal's Ctrl-C reaches this process only, which then asks each child once.
                start_new_session=True,
                env=environment(**ONE_THREAD),
            )


def _how(code: int) -> str | None:
    if code == 0:
        return None
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with code {code}"


def _close(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()
