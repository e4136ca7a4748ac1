"""The process that works on one run: how it is started, watched, ended gently and never left behind."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from gipo_cli import children
from gipo_cli.errors import RunFailed
from gipo_cli.runs.durable import open_own
from gipo_cli.sweep.folder import StudyDir

POLL_SECONDS = 0.1
SAVE_SECONDS = 60.0
"""Time for the last checkpoint once a worker is told to end."""
ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
}
"""Environment of every worker: small networks lose by more threads, and the runs share the cores."""


class Worker:
    """A process that works on a run, in a process group of its own.

    Its standard input is a pipe that nobody writes to: when this process dies, however it dies, the pipe
    closes and the worker saves and ends. With ``apart`` it works in a folder of this attempt alone, as on a
    cluster. The directory is where the sweep was typed: modules that it imports may lie there.
    """

    def __init__(
        self, folder: StudyDir, name: str, *, apart: bool = False, directory: str | None = None
    ) -> None:
        self.name = name
        output = folder.output(name)
        if apart:
            # What it prints belongs to this attempt alone, like its folder.
            folder.attempts(name).mkdir(parents=True, exist_ok=True)
            output = folder.attempts(name) / f"{secrets.token_hex(6)}.out"
        with open(open_own(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as printed:
            self._process = subprocess.Popen(
                worker_command(folder, name, "--lifeline", *(["--apart"] if apart else [])),
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=subprocess.STDOUT,
                # A terminal's Ctrl-C reaches the sweep only, which then asks each worker once.
                start_new_session=True,
                cwd=directory if directory and Path(directory).is_dir() else None,
                env=children.environment(**ONE_THREAD),
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def how(self) -> str:
        """How it ended, in words; empty for a code of 0."""
        code = self._process.returncode
        if not code:
            return ""
        if code > 0:
            return f"its process ended with code {code}"
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"its process was ended by {signal.Signals(-code).name}{hint}"

    def stop(self) -> None:
        """Ask it to save and end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once, with the processes of its environments; later calls do nothing."""
        lifeline = self._process.stdin
        if lifeline is None or lifeline.closed:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        lifeline.close()

    def end(self) -> None:
        """Ask it to save and end, wait for that, and leave no process of its group."""
        self.stop()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SAVE_SECONDS)
        self.kill()

    def wait(self) -> None:
        """Wait until it has finished the run.

        A cluster may tell its task to end by an exception at any point: the worker then saves and ends first.

        Raises:
            RunFailed: It ended otherwise.
        """
        try:
            # A blocking wait could not be interrupted by the cluster.
            while self.running:
                time.sleep(POLL_SECONDS)
        finally:
            self.end()
        if self.how:
            raise RunFailed(f"{self.name}: {self.how}")


def worker_command(folder: StudyDir, name: str, *options: str) -> list[str]:
    """The command that works on one run; options: ``--apart`` and ``--lifeline``."""
    return children.command("sweep-worker", *options, str(folder.path.resolve()), name)


def printable_command(folder: StudyDir, name: str) -> str:
    """The same for another scheduler: a shell line that may be run anywhere the folder can be reached."""
    settings = " ".join(f"{key}={value}" for key, value in ONE_THREAD.items())
    words = shlex.join(worker_command(folder, name, "--apart"))
    return f"cd {shlex.quote(str(Path.cwd()))} && env PYTHONSAFEPATH=1 {settings} {words}"
