"""What runs a study's runs: the contract of all engines, and the loop around one of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gipo_cli.children import command
from gipo_cli.sweep.manifest import StudyDir

ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
}
"""Environment of every worker: small networks lose by more threads, and the runs share the cores."""


@dataclass(frozen=True)
class Ended:
    """A process or task that is over. What became of the run is read from its folder.

    Attributes:
        name: The run.
        how: In words, if it did not end by itself with a code of 0.
    """

    name: str
    how: str | None = None


class Engine(Protocol):
    """Starts runs and says which have ended. Every run is worked on at most once at a time."""

    def submit(self, names: Sequence[str]) -> None:
        """Take over these runs, to be started in this order as room allows."""

    def poll(self) -> list[Ended]:
        """Runs that have ended since the last call; also the moment to start further ones."""

    def active(self) -> list[str]:
        """Runs started and not ended."""

    def notes(self) -> list[str]:
        """What the user should know, once each."""

    def stop(self) -> None:
        """Start nothing more and ask everything running to save and end; ``poll`` goes on telling."""

    def kill(self) -> None:
        """End everything at once; called again and again until nothing is active."""

    def close(self) -> None:
        """Release what the engine holds."""


def worker_command(folder: StudyDir, name: str, *options: str) -> list[str]:
    """The command that works on one run.

    Args:
        folder: The study's folder.
        name: The run.
        *options: ``--apart``, ``--lifeline``.
    """
    return command("sweep-worker", *options, str(folder.path.resolve()), name)


def printable_command(folder: StudyDir, name: str) -> str:
    """The same for another scheduler: one shell line that may be run anywhere the folder can be reached."""
    settings = " ".join(f"{key}={value}" for key, value in ONE_THREAD.items())
    words = shlex.join(worker_command(folder, name, "--apart"))
    return f"cd {shlex.quote(str(Path.cwd()))} && env {settings} {words}"
