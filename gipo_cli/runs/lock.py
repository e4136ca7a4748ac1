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
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gipo_cli.errors import UserError
from gipo_cli.runs.durable import open_own, remove_leftovers

BEAT_SECONDS = 4.0
# A foreign holder that misses this many beats in a row is taken for dead.
MISSED_BEATS = 3
_RETRY_SECONDS = 0.5
_RECORD_BYTES = 512


class RunLock:
    """Exclusive right to write to a run folder; a context manager.

    Raises:
        UserError: On entering, when a live process holds the lock or the folder cannot be written.
    """

    def __init__(self, path: Path, *, beat_seconds: float = BEAT_SECONDS) -> None:
        self._path = path
        self._beat_seconds = beat_seconds
        self._descriptor: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._owner = 0
        self._beats = 0

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, from a dead holder too, and clean up after that one."""
        try:
            descriptor = open_own(self._path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            shared = self._flock(descriptor)
            record = _parse(os.pread(descriptor, _RECORD_BYTES, 0))
            if record and not (shared and record.get("host") == socket.gethostname()):
                self._refuse_if_beating(descriptor, record)
            self._owner = os.getpid()
            self._write_beat(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise self._unwritable(error) from error
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        remove_leftovers(self._path.parent)
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._keep_beating, args=(descriptor,), name="run-lock", daemon=True
        )
        self._thread.start()

    def release(self) -> None:
        """Give the lock back; does nothing in a forked child or when it is not held."""
        if self._descriptor is None or os.getpid() != self._owner:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = None

    def _flock(self, descriptor: int) -> bool:
        """Whether the kernel gave us the lock; false where the file system knows none."""
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                # `holder` takes the lock for an instant only; a writer keeps it.
                if time.monotonic() > deadline:
                    raise self._refusal(_parse(os.pread(descriptor, _RECORD_BYTES, 0))) from None
                time.sleep(0.05)
            except OSError:
                return False

    def _refuse_if_beating(self, descriptor: int, record: dict[str, Any]) -> None:
        # Watching the beat rather than comparing clocks: two hosts' clocks may differ.
        time.sleep(self._beat_seconds * MISSED_BEATS)
        now = _parse(os.pread(descriptor, _RECORD_BYTES, 0))
        if now and now != record:
            raise self._refusal(now)

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"{self._path.parent} cannot be written: {error.strerror or error}")

    def _refusal(self, record: dict[str, Any]) -> UserError:
        known = {"pid", "host"} <= record.keys()
        who = f"process {record['pid']} on {record['host']}" if known else "another process"
        return UserError(
            f"{self._path.parent} is being written by {who}; stop that one first, or start another run under "
            f"another name"
        )

    def _keep_beating(self, descriptor: int) -> None:
        while not self._stop.wait(self._beat_seconds):
            # A full disk is reported by the writers; the lock itself is still held.
            with suppress(OSError):
                self._write_beat(descriptor)

    def _write_beat(self, descriptor: int) -> None:
        self._beats += 1
        record = {"host": socket.gethostname(), "pid": self._owner, "beat": self._beats}
        os.pwrite(descriptor, json.dumps(record).ljust(_RECORD_BYTES - 1).encode() + b"\n", 0)


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds a lock now, as far as this host can tell: ``host``, ``pid`` and ``beat``; None if it is free.

    A process on a host with which no ``flock`` is shared is reported as the holder, dead or alive.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        record = _parse(os.pread(descriptor, _RECORD_BYTES, 0))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return record
        return record if record and record.get("host") != socket.gethostname() else None
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


def _parse(data: bytes) -> dict[str, Any]:
    try:
        record = json.loads(data)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
