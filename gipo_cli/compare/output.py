"""Folders to be written: refused in one sentence where that is not possible, at best before any work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gipo_cli.errors import UserError


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turns what the disk refuses into one sentence.

    Raises:
        UserError: an ``OSError`` in the body.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{out} cannot be written: {error.strerror or error}; choose another folder with --out."
        ) from error


def check_writable(out: Path) -> None:
    """Refuse a place where no folder can be made, without making one.

    Raises:
        UserError: the nearest folder above ``out`` is none, or may not be written to.
    """
    with writing(out):
        above = next(folder for folder in (*out.parents, out) if folder.exists())
        if not above.is_dir():
            raise NotADirectoryError(None, f"{above} is no folder")
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(None, f"no permission to write to {above}")
