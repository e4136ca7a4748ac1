"""Files that are either the old one or the new one, never half of each.

A sealed JSON file also carries a digest of its own content, so that a changed byte is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gipo_cli.errors import RunFailed, UserError

SEAL = "seal"
TEMPORARY = ".tmp-"


def fsync_dir(path: Path) -> None:
    """Make the names inside a folder durable.

    Args:
        path: The folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failing disk into one sentence.

    Args:
        path: What is being written, for the message.

    Raises:
        RunFailed: The body raised an ``OSError`` (disk full, read-only, too many open files, ...).
    """
    try:
        yield
    except OSError as error:
        raise RunFailed(f"could not write {path}: {error.strerror or error}") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file's content atomically and durably.

    Args:
        path: Destination; its folder must exist.
        data: The whole new content.

    Raises:
        RunFailed: The file could not be written; the old content is still there.
    """
    aside = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    with writing(path):
        try:
            with aside.open("wb") as handle:
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
    """Replace a text file atomically and durably, in UTF-8 whatever the locale.

    Args:
        path: Destination.
        text: The whole new content.

    Raises:
        RunFailed: The file could not be written.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file atomically and durably.

    Args:
        path: Destination.
        content: A JSON object; NaN and infinity are refused, since other readers cannot parse them.

    Raises:
        RunFailed: The file could not be written.
        ValueError: The content is not JSON.
    """
    write_text(path, _json_text(content))


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object together with a digest of itself under the key ``seal``.

    Args:
        path: Destination.
        content: A JSON object without the key ``seal``.

    Raises:
        RunFailed: The file could not be written.
        ValueError: The content is not JSON.
    """
    write_json(path, {**content, SEAL: _seal(content)})


def overwrite_sealed(path: Path, content: dict[str, Any]) -> None:
    """As ``write_sealed``, in place and without complaint: for last words on a disk without room.

    Args:
        path: An existing file; a reader can meet it half-written, and its seal then says so.
        content: A JSON object without the key ``seal``.
    """
    with suppress(OSError), path.open("r+b") as handle:
        handle.write(_json_text({**content, SEAL: _seal(content)}).encode())
        handle.truncate()


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what ``write_sealed`` wrote.

    Args:
        path: The file.

    Returns:
        The content without its seal.

    Raises:
        UserError: The file is missing, unreadable or not what was written.
    """
    try:
        content = json.loads(path.read_bytes().decode())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: it is not JSON") from error
    if not isinstance(content, dict) or content.pop(SEAL, None) != _seal(content):
        raise UserError(f"{path} is damaged: its content does not match its seal")
    return content


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed writers left; only the folder's one writer may call this.

    Args:
        folder: The run folder.
    """
    for leftover in folder.glob(f"{TEMPORARY}*"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


def _json_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _seal(content: Any) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
