"""The local engine: one process per run, a few at a time, none left behind."""

from __future__ import annotations

import time

from gipo_cli.sweep.engine import Engine
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.state import holder_of
from gipo_cli.sweep.worker import Worker

HELD_SECONDS = 60.0
"""How long to wait, when nothing else is left to do, for a run that another process works on."""


class LocalEngine(Engine[Worker]):
    """Runs on this machine."""

    def __init__(self, folder: StudyDir, jobs: int) -> None:
        super().__init__(folder, jobs)
        self._held: dict[str, int] = {}
        self._held_since: float | None = None

    def poll(self) -> dict[str, str]:
        """Wait for runs that others hold, but not for ever once nothing else is left to do."""
        self._held = {}
        ended = super().poll()
        if self.tasks or not self._held:
            self._held_since = None
            return ended
        if self._held_since is None:
            self._held_since = time.monotonic()
            for name, pid in self._held.items():
                self.notes.append(f"waiting for process {pid}, which works on {name}")
        if time.monotonic() - self._held_since < HELD_SECONDS:
            return ended
        self.queue.clear()
        return ended | {
            name: f"is being written by process {pid}; stop that one, then type this command again"
            for name, pid in self._held.items()
        }

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self.tasks.clear()

    def free(self, name: str) -> bool:
        """Whether no other process works on it."""
        pid = holder_of(self.folder, name)
        if pid is not None:
            self._held[name] = pid
        return pid is None

    def start(self, name: str) -> Worker:
        """Start a process."""
        return Worker(self.folder, name)

    def ended(self, name: str, task: Worker) -> str | None:
        """How a process ended; what it left of its group is ended too."""
        if task.running:
            return None
        task.kill()
        return task.how

    def end(self, task: Worker, *, at_once: bool) -> None:
        """End a process."""
        if at_once:
            task.kill()
        else:
            task.stop()
