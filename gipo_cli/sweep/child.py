"""A worker under a cluster's task: watched, ended gently, never left behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from gipo_cli.children import environment
from gipo_cli.errors import RunFailed
from gipo_cli.sweep.engine import ONE_THREAD, worker_command
from gipo_cli.sweep.manifest import StudyDir

POLL_SECONDS = 0.1
SAVE_SECONDS = 60.0
"""Time for the last checkpoint once a task is told to end."""


class Child:
    """One attempt at a run, in a process group of its own.

    Args:
        folder: The study's folder.
        name: The run.
        directory: Where the sweep was typed; modules that it imports may lie there.
    """

    def __init__(self, folder: StudyDir, name: str, directory: str) -> None:
        self.name = name
        # What it prints belongs to this attempt alone, like its folder.
        folder.attempts(name).mkdir(parents=True, exist_ok=True)
        self.output = folder.attempts(name) / f"{secrets.token_hex(6)}.out"
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                worker_command(folder, name, "--apart", "--lifeline"),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=directory if Path(directory).is_dir() else None,
                env=environment(**ONE_THREAD),
            )

    def wait(self) -> None:
        """Wait until the run is finished.

        A task may be told to end by an exception at any point: the child then saves and ends first.

        Raises:
            RunFailed: It ended otherwise; a process ended by a signal is no success.
        """
        try:
            # A blocking wait could not be interrupted by the cluster.
            while self._process.poll() is None:
                time.sleep(POLL_SECONDS)
        finally:
            self.end()
        code = self._process.returncode
        if code:
            raise RunFailed(f"{self.name}: its process ended with code {code}")

    @property
    def stopped(self) -> bool:
        """Whether it saved and ended because it was told to by SIGTERM."""
        return self._process.returncode == 128 + signal.SIGTERM

    def end(self, seconds: float = SAVE_SECONDS) -> None:
        """Ask for a checkpoint, wait for it, and leave no process of the group."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
