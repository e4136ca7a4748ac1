"""The one place that opens files of a run for writing.

A file is replaced as a whole, so that it is the old one or the new one and never half of each, or it grows.
No link is followed: nothing is written outside the folder. Sealed files carry a digest of their own content,
so that a changed byte is noticed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gipo_cli.errors import RunFailed, UserError

SEAL = "seal"
TEMPORARY = ".tmp-"
_TEXT_SEAL = "# sha256 of the lines above: "


def open_own(path: Path, flags: int) -> int:
    """Open a plain file that lies in its folder and nowhere else; returns the descriptor.

    Raises:
        UserError: It is a link, has a second name, or is a pipe or a device.
        OSError: As ``os.open``.
    """
    try:
        # Without waiting: a pipe that nobody reads would wait for ever.
        safe = flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        opened = os.open(path, safe, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise is_link(path) from error
        if error.errno == errno.ENXIO:
            raise _is_odd(path) from error
        raise
    found = os.fstat(opened)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(opened)
        raise is_link(path) if stat.S_ISREG(found.st_mode) else _is_odd(path)
    if flags & os.O_TRUNC:
        os.ftruncate(opened, 0)
    return opened


def refuse_links(folder: Path, but: Path | None = None) -> None:
    """Refuse a folder with a link anywhere inside, except inside ``but``; the folder itself may be one.

    Raises:
        UserError: The link, by name.
    """
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if os.path.islink(path := Path(parent, name)):
                raise is_link(path)
        folders[:] = [name for name in folders if Path(parent, name) != but]


def is_link(path: Path) -> UserError:
    """What is said of a link where something is to be written."""
    return UserError(f"{path} is a link, and gipo writes through none; put a copy of its target there")


def _is_odd(path: Path) -> UserError:
    return UserError(f"{path} is a pipe or a device and not a file; remove it")


def fsync_dir(path: Path) -> None:
    """Make the names inside a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the body (disk full, read-only, ...) into one sentence.

    Raises:
        RunFailed: ``path`` could not be written.
    """
    try:
        yield
    except OSError as error:
        raise RunFailed(f"could not write {path}: {error.strerror or error}") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably.

    Raises:
        RunFailed: It could not be written; the old content is still there.
    """
    aside = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    with writing(path):
        try:
            with open(open_own(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            aside.replace(path)
        except BaseException:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
        fsync_dir(path.parent)


def write_text(path: Path, text: str) -> None:
    """As :func:`write_bytes`, in UTF-8 whatever the locale."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON object, with a digest of itself under the key ``seal``.

    Raises:
        RunFailed: It could not be written.
        ValueError: It is not JSON: NaN and infinity are refused, since other readers cannot parse them.
    """
    write_text(path, _sealed_json(content))


def overwrite_sealed(path: Path, content: dict[str, Any]) -> None:
    """As :func:`write_sealed`, in place and without complaint: for last words on a disk without room.

    A reader may meet the file half-written; its seal then says so.
    """
    with suppress(OSError, UserError), open(open_own(path, os.O_RDWR), "r+b") as handle:
        handle.write(_sealed_json(content).encode())
        handle.truncate()


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what :func:`write_sealed` wrote, without its seal.

    Raises:
        UserError: The file is missing, unreadable or not what was written.
    """
    content = _json(path)
    if not isinstance(content, dict) or content.pop(SEAL, None) != _seal(content):
        raise UserError(f"{path} is damaged: its content does not match its seal")
    return content


def read_own(path: Path) -> bytes:
    """What a plain file holds.

    Raises:
        UserError: The file is missing, unreadable, or a pipe, which would be waited for without end.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _is_odd(path)
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(read_own(path).decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: it is not JSON") from error


def seal_text(text: str) -> str:
    """The text with the digest of its lines as its last one."""
    return f"{text}{_TEXT_SEAL}{_sha256(text.encode())}\n"


def unseal_text(content: bytes) -> bytes | None:
    """The text without its digest; None if it lacks one, or was changed since."""
    text, _, digest = content.rpartition(_TEXT_SEAL.encode())
    return text if digest == f"{_sha256(text)}\n".encode() else None


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed writers left; only the folder's one writer may call this."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


def _sealed_json(content: dict[str, Any]) -> str:
    return json.dumps({**content, SEAL: _seal(content)}, indent=2, allow_nan=False) + "\n"


def _seal(content: Any) -> str:
    return _sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
