"""Ends a run whose environment does not answer.

A process of its own watches (see ``gipo_cli.children``), since a simulator that hangs in C code
may hold the interpreter. It first asks the run with a signal, which breaks off whatever Python can break off,
so that the run fails in the ordinary way. A run that cannot react is killed and its status written for it.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from gipo_cli.children import command, environment
from gipo_cli.envs.calls import BYTES, CALLS, Calls
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.durable import overwrite_sealed, read_sealed, write_sealed
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.logs import LOGGER

ASK = signal.SIGRTMIN + 7
"""A signal that nothing else uses."""
BEAT_SECONDS = 0.5
GRACE_SECONDS = 10.0
"""Time to fail in the ordinary way after being asked."""


class Watchdog:
    """Watches the calls of this process into environments; a context manager, for the main thread.

    Args:
        run: The run's folder.
        seconds: Time that one call may take; None: any.
    """

    def __init__(self, run: RunDir, seconds: float | None) -> None:
        self._run = run
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._seconds is None:
            return self
        descriptor = os.memfd_create("gipo-calls")
        try:
            os.ftruncate(descriptor, BYTES)
            CALLS.share(descriptor)
            self._before = signal.signal(ASK, self._asked)
            self._process = subprocess.Popen(
                command("watchdog", str(descriptor), repr(self._seconds), str(self._run.path)),
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[descriptor],
                # Ctrl-C is for the run.
                process_group=0,
            )
        finally:
            os.close(descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            signal.signal(ASK, self._before)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        # The call may have ended between the other process's look and its signal.
        if CALLS.going_on:
            where = "".join(traceback.format_stack(frame))
            logging.getLogger(LOGGER).warning("no answer from the environment; the run was here:\n%s", where)
            raise RunFailed(_reason(self._seconds or 0.0))


def _reason(seconds: float) -> str:
    return (
        f"the environment did not answer within {seconds:g} s (runtime.env_timeout_s); the last good "
        "checkpoint is kept"
    )


def watch(calls: Calls, seconds: float, run: RunDir, pid: int) -> None:
    """Watch a process until it closes our standard input or is killed.

    Args:
        calls: Its calls.
        seconds: Time that one may take.
        run: The folder of its run.
        pid: The process.
    """
    # Beats are counted, not seconds: a suspended machine must not look like a hung simulator.
    beats, seen = 0, -1
    while not select.select([0], [], [], BEAT_SECONDS)[0]:
        silent = calls.going_on and calls.begun == seen and not _stopped(pid)
        beats, seen = beats + 1 if silent else 0, calls.begun
        since = beats * BEAT_SECONDS
        if seconds <= since < seconds + BEAT_SECONDS:
            os.kill(pid, ASK)
        elif since >= seconds + GRACE_SECONDS:
            os.kill(pid, signal.SIGKILL)
            # It holds the other end for as long as it lives.
            select.select([0], [], [])
            _say_failed(run, f"{_reason(seconds)}; {calls.where()} hangs where it cannot be interrupted")
            return


def _stopped(pid: int) -> bool:
    """Whether the process is stopped, by a shell's Ctrl-Z or by a debugger."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    return False


def _say_failed(run: RunDir, reason: str) -> None:
    with suppress(OSError), run.log.open("a", encoding="utf-8") as log:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        log.write(f"{stamp}.000Z ERROR {reason}\n")
    with suppress(UserError, RunFailed):
        status = read_sealed(run.status)
        if status["state"] == "running":
            status |= {"state": "failed", "reason": reason, "ended": time.time()}
            try:
                write_sealed(run.status, status)
            except RunFailed:
                overwrite_sealed(run.status, status)
    sys.stderr.write(f"error: {reason}\n")


def main(arguments: Sequence[str]) -> None:
    """Watch the process that started this one.

    Args:
        arguments: The calls' file descriptor, the seconds that one may take, and the run's folder.
    """
    # What stops the run may signal every process of it; this one ends with the run.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor, seconds, run = arguments
    watch(Calls.shared(int(descriptor)), float(seconds), RunDir(Path(run)), os.getppid())
