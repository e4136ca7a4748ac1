"""One writer per run folder.

``flock`` decides between processes that share it: the kernel drops it when its holder dies, however it dies.
A file system that does not carry it from host to host is caught by the heartbeat inside the lock file.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gipo_cli.errors import UserError
from gipo_cli.runs.durable import open_own, remove_leftovers

BEAT_SECONDS = 4.0
# A foreign holder that misses this many beats in a row is taken for dead.
MISSED_BEATS = 3
SILENT_SECONDS = 60.0
_RETRY_SECONDS = 0.5
_RECORD_BYTES = 512


@contextmanager
def run_lock(path: Path, *, beat_seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Hold the exclusive right to write to a folder, by a file in it; a dead holder's is taken over.

    Raises:
        UserError: A live process holds it, or the folder cannot be written.
    """
    descriptor = _acquire(path, beat_seconds)
    owner, stop = os.getpid(), threading.Event()
    beats = (descriptor, beat_seconds, stop)
    thread = threading.Thread(target=_keep_beating, args=beats, name="run-lock", daemon=True)
    thread.start()
    try:
        remove_leftovers(path.parent)
        yield
    finally:
        # A forked child holds nothing.
        if os.getpid() == owner:
            stop.set()
            thread.join()
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


def _acquire(path: Path, beat_seconds: float) -> int:
    descriptor = -1
    try:
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
        shared = _flock(descriptor, path)
        record = _read(descriptor)
        if record and not (shared and record.get("host") == socket.gethostname()):
            # Watching the beat rather than comparing clocks: two hosts' clocks may differ.
            time.sleep(beat_seconds * MISSED_BEATS)
            now = _read(descriptor)
            if now and now != record:
                raise _refusal(path, now)
        _write_beat(descriptor, 1)
        return descriptor
    except BaseException as error:
        if descriptor >= 0:
            os.close(descriptor)
        if isinstance(error, OSError):
            raise UserError(f"{path.parent} cannot be written: {error.strerror or error}") from error
        raise


def _flock(descriptor: int, path: Path) -> bool:
    """Whether the kernel gave us the lock; false where the file system knows none."""
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            # `holder` takes the lock for an instant only; a writer keeps it.
            if time.monotonic() > deadline:
                raise _refusal(path, _read(descriptor)) from None
            time.sleep(0.05)
        except OSError:
            return False


def _refusal(path: Path, record: dict[str, Any]) -> UserError:
    known = {"pid", "host"} <= record.keys()
    who = f"process {record['pid']} on {record['host']}" if known else "another process"
    return UserError(
        f"{path.parent} is being written by {who}; stop that one first, or start another run under another "
        "name"
    )


def _keep_beating(descriptor: int, seconds: float, stop: threading.Event) -> None:
    beat = 1
    while not stop.wait(seconds):
        beat += 1
        # A full disk is reported by the writers; the lock itself is still held.
        with suppress(OSError):
            _write_beat(descriptor, beat)


def _write_beat(descriptor: int, beat: int) -> None:
    record = {"host": socket.gethostname(), "pid": os.getpid(), "beat": beat}
    os.pwrite(descriptor, json.dumps(record).ljust(_RECORD_BYTES - 1).encode() + b"\n", 0)


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds a lock now, as far as this host can tell: ``host``, ``pid`` and ``beat``; None if it is free.

    A process on a host with which no ``flock`` is shared is reported as the holder until it was silent for a
    minute. (A container may have another host name at every start.)
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        record = _read(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return record
        foreign = record.get("host") not in (None, socket.gethostname())
        return record if foreign and time.time() - last_beat(path) < SILENT_SECONDS else None
    finally:
        os.close(descriptor)


def last_beat(path: Path) -> float:
    """When the holder of a lock last said that it lives, in Unix seconds; 0 where nobody holds it.

    A thread says so, also during an evaluation of many minutes.
    """
    try:
        found = path.stat()
    except OSError:
        return 0.0
    return found.st_mtime if found.st_size else 0.0


def _read(descriptor: int) -> dict[str, Any]:
    try:
        record = json.loads(os.pread(descriptor, _RECORD_BYTES, 0))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
