"""What all engines share, and the local one: one process per run, a few at a time, none left behind."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from gipo_cli.runs.lock import BEAT_SECONDS
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.state import holder_of
from gipo_cli.sweep.worker import Worker

HELD_SECONDS = 60.0
"""How long to wait, when nothing else is left to do, for a run that another process works on."""
SILENT_BEATS = 4
"""Beats that a lock of another host may miss until its holder counts as dead."""
Task = TypeVar("Task")


class Engine(Generic[Task]):
    """Works on every run at most once at a time.

    Args:
        folder: The study's folder.
        jobs: Runs at a time; None: as many as there is room for.

    Attributes:
        notes: What the user should know; whoever shows a note removes it.
    """

    def __init__(self, folder: StudyDir, jobs: int | None) -> None:
        self.notes: list[str] = []
        self.folder = folder
        self.jobs = jobs
        self.queue: list[str] = []
        self.tasks: dict[str, Task] = {}

    def submit(self, names: Sequence[str]) -> None:
        """Take over these runs, to be started in this order."""
        self.queue.extend(names)

    def poll(self) -> dict[str, str]:
        """Start what there is room for and tell which runs have ended since the last call.

        Returns:
            How each ended, in words; empty for a code of 0. What became of the run is read from its folder.
        """
        looked = {name: self._ended(name, task) for name, task in self.tasks.items()}
        ended = {name: how for name, how in looked.items() if how is not None}
        for name in ended:
            del self.tasks[name]
        for name in list(self.queue):
            if self.jobs is not None and len(self.tasks) >= self.jobs:
                break
            if self._free(name):
                self.queue.remove(name)
                self.tasks[name] = self._start(name)
        return ended

    def active(self) -> list[str]:
        """Runs taken over and not ended."""
        return [*self.tasks, *self.queue]

    def stop(self) -> None:
        """Start nothing more and ask everything running to save and end; ``poll`` keeps telling."""
        self.queue.clear()
        for task in self.tasks.values():
            self._end(task, at_once=False)

    def kill(self) -> None:
        """End everything at once; called again and again until nothing is active."""
        self.queue.clear()
        for task in self.tasks.values():
            self._end(task, at_once=True)

    def close(self) -> None:
        """Release what the engine holds."""

    # What an engine is made of:

    def _free(self, name: str) -> bool:
        """Whether a run may be started now."""
        return True

    def _start(self, name: str) -> Task:
        raise NotImplementedError

    def _ended(self, name: str, task: Task) -> str | None:
        """How a task ended, in words; None while it runs."""
        raise NotImplementedError

    def _end(self, task: Task, *, at_once: bool) -> None:
        """End a task: at once, or after it has saved."""
        raise NotImplementedError


class LocalEngine(Engine[Worker]):
    """Runs on this machine."""

    def __init__(self, folder: StudyDir, jobs: int) -> None:
        super().__init__(folder, jobs)
        self._held: dict[str, str] = {}
        self._held_since: float | None = None
        self._seen: dict[str, tuple[dict[str, Any], float]] = {}

    def poll(self) -> dict[str, str]:
        """Wait for runs that others hold, but not for ever once nothing else is left to do."""
        self._held = {}
        ended = super().poll()
        if self.tasks or not self._held:
            self._held_since = None
            return ended
        if self._held_since is None:
            self._held_since = time.monotonic()
            for name, who in self._held.items():
                self.notes.append(f"waiting for {who}, which works on {name}")
        if time.monotonic() - self._held_since < HELD_SECONDS:
            return ended
        self.queue.clear()
        return ended | {
            name: f"is being written by {who}; stop that one, then type this command again"
            for name, who in self._held.items()
        }

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self.tasks.clear()

    def _free(self, name: str) -> bool:
        """Whether no other process works on it; one of another host counts as long as its lock beats."""
        record = holder_of(self.folder, name)
        if record is None:
            return True
        now, own = time.monotonic(), record.get("host") in (None, socket.gethostname())
        if self._seen.get(name, ({}, 0.0))[0] != record:
            self._seen[name] = record, now
        if not own and now - self._seen[name][1] > SILENT_BEATS * BEAT_SECONDS:
            return True
        self._held[name] = f"process {record.get('pid')}" + ("" if own else f" on {record.get('host')}")
        return False

    def _start(self, name: str) -> Worker:
        return Worker(self.folder, name)

    def _ended(self, name: str, task: Worker) -> str | None:
        if task.running:
            return None
        task.kill()  # what it left of its group
        return task.how

    def _end(self, task: Worker, *, at_once: bool) -> None:
        if at_once:
            task.kill()
        else:
            task.stop()
