"""Ends a run whose environment does not answer.

A process of its own watches, since a simulator that hangs in C code may hold the interpreter. It first asks
the run with a signal, which breaks off whatever Python can break off, so that the run fails in the ordinary
way. A run that cannot react is killed and its status written for it.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from gipo_cli import children
from gipo_cli.envs.calls import BYTES, CALLS, Calls
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.durable import open_own, overwrite_sealed, read_sealed, write_sealed
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.logs import LOGGER

ROLE = "watchdog"
ASK = signal.SIGRTMIN + 7
"""A signal that nothing else uses."""
BEAT_SECONDS = 0.5
GRACE_SECONDS = 10.0
"""Time to fail in the ordinary way after being asked."""


@contextmanager
def watched(run: RunDir, seconds: float | None) -> Iterator[None]:
    """Have the calls of this process into environments watched; for the main thread.

    Args:
        run: The run's folder.
        seconds: Time that one call may take; None: any.
    """
    if seconds is None:
        yield
        return

    def asked(number: int, frame: FrameType | None) -> None:
        # The call may have ended between the other process's look and its signal.
        if CALLS.going_on:
            where = "".join(traceback.format_stack(frame))
            logging.getLogger(LOGGER).warning("no answer from the environment; the run was here:\n%s", where)
            raise RunFailed(_reason(seconds))

    before = signal.signal(ASK, asked)
    try:
        process = _start(run, seconds)
    except OSError as error:
        raise UserError(
            f"the watchdog cannot start: {error.strerror}; free some resources, or set "
            "runtime.env_timeout_s=null"
        ) from error
    try:
        yield
    finally:
        # Its standard input closes.
        process.communicate()
        signal.signal(ASK, before)


def _start(run: RunDir, seconds: float) -> subprocess.Popen[bytes]:
    descriptor = os.memfd_create("gipo-calls")
    try:
        os.ftruncate(descriptor, BYTES)
        CALLS.share(descriptor)
        return subprocess.Popen(
            children.command(ROLE, str(descriptor), repr(seconds), str(run.path)),
            env=children.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[descriptor],
            # Ctrl-C is for the run.
            process_group=0,
        )
    finally:
        os.close(descriptor)


def _reason(seconds: float) -> str:
    return (
        f"the environment did not answer within {seconds:g} s (runtime.env_timeout_s); the last good "
        "checkpoint is kept"
    )


def watch(calls: Calls, seconds: float, run: RunDir, pid: int) -> None:
    """Watch a process until it closes our standard input or is killed."""
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
    with suppress(OSError, UserError), open(open_own(run.log, os.O_WRONLY | os.O_APPEND), "a") as log:
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
    with suppress(OSError):
        sys.stderr.write(f"error: {reason}\n")


def main(arguments: Sequence[str]) -> None:
    """Be the process that watches its parent."""
    descriptor, seconds, folder = arguments
    # What stops the run may signal every process of it; this one ends with the run.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(Calls.shared(int(descriptor)), float(seconds), RunDir(Path(folder)), os.getppid())
