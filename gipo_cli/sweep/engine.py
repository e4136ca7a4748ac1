"""What all engines share: they take over runs, start them as room allows, and say which have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from gipo_cli.sweep.folder import StudyDir

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
        looked = {name: self.ended(name, task) for name, task in self.tasks.items()}
        ended = {name: how for name, how in looked.items() if how is not None}
        for name in ended:
            del self.tasks[name]
        for name in list(self.queue):
            if self.jobs is not None and len(self.tasks) >= self.jobs:
                break
            if self.free(name):
                self.queue.remove(name)
                self.tasks[name] = self.start(name)
        return ended

    def active(self) -> list[str]:
        """Runs taken over and not ended."""
        return [*self.tasks, *self.queue]

    def stop(self) -> None:
        """Start nothing more and ask everything running to save and end; ``poll`` keeps telling."""
        self.queue.clear()
        for task in self.tasks.values():
            self.end(task, at_once=False)

    def kill(self) -> None:
        """End everything at once; called again and again until nothing is active."""
        self.queue.clear()
        for task in self.tasks.values():
            self.end(task, at_once=True)

    def close(self) -> None:
        """Release what the engine holds."""

    def free(self, name: str) -> bool:
        """Whether a run may be started now."""
        return True

    def start(self, name: str) -> Task:
        """Start a run."""
        raise NotImplementedError

    def ended(self, name: str, task: Task) -> str | None:
        """How a task ended, in words; None while it runs."""
        raise NotImplementedError

    def end(self, task: Task, *, at_once: bool) -> None:
        """End a task: at once, or after it has saved."""
        raise NotImplementedError
