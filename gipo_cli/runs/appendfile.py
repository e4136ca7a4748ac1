"""A file that only grows, and that can be cut back to exactly an earlier length."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.durable import fsync_dir, writing

_CHUNK = 1 << 20


class AppendFile:
    """Appends whole records and keeps a running digest of all of them.

    Args:
        path: The file; made if missing.
        mark: Length and digest to go back to, as ``mark`` returned them; None empties the file.
        cut: Go back to it; else only look whether that would be possible.

    Raises:
        UserError: The file's beginning is not what it was at that mark.
        RunFailed: The file cannot be opened.
    """

    def __init__(self, path: Path, mark: Mapping[str, Any] | None = None, *, cut: bool = True) -> None:
        self.path = path
        self.size = 0
        self._digest = hashlib.sha256()
        with writing(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if mark is not None:
                self._replay(mark)
            if not cut:
                return
            with writing(path):
                os.ftruncate(self._descriptor, self.size)
                os.lseek(self._descriptor, 0, os.SEEK_END)
                os.fsync(self._descriptor)
                fsync_dir(path.parent)
        except BaseException:
            self.close()
            raise

    def _replay(self, mark: Mapping[str, Any]) -> None:
        end = int(mark["bytes"])
        while self.size < end:
            chunk = os.read(self._descriptor, min(_CHUNK, end - self.size))
            if not chunk:
                raise UserError(
                    f"{self.path} is shorter than the checkpoint says ({self.size} of {end} bytes); "
                    f"restore it, or start a new run"
                )
            self._digest.update(chunk)
            self.size += len(chunk)
        if self._digest.hexdigest() != mark["sha256"]:
            raise UserError(
                f"{self.path} was changed since the checkpoint was saved; restore it, or start a new run"
            )

    def starts_with(self, record: bytes) -> bool:
        """Whether this is the file's first record."""
        return os.pread(self._descriptor, len(record), 0) == record

    def append(self, record: bytes) -> None:
        """Add one record in a single write.

        Args:
            record: Its bytes.

        Raises:
            RunFailed: The disk took none or only part of it.
        """
        with writing(self.path):
            written = os.write(self._descriptor, record)
        if written != len(record):
            os.ftruncate(self._descriptor, self.size)
            raise RunFailed(f"could not write {self.path}: the disk took {written} of {len(record)} bytes")
        self._digest.update(record)
        self.size += written

    def mark(self) -> dict[str, Any]:
        """Make the file durable.

        Returns:
            Its length and digest.

        Raises:
            RunFailed: The disk refused.
        """
        with writing(self.path):
            os.fsync(self._descriptor)
        return {"bytes": self.size, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def check_mark(path: Path, mark: Mapping[str, Any]) -> None:
    """Refuse a file that cannot go back to a mark; nothing is changed.

    Args:
        path: The file.
        mark: As ``AppendFile.mark`` returned it.

    Raises:
        UserError: The file is missing, or its beginning is not what it was.
        RunFailed: It cannot be opened.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; restore it, or start a new run")
    AppendFile(path, mark, cut=False).close()
