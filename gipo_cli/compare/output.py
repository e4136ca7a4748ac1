"""Folders to be written: refused in one sentence if that is not possible, at best before any work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gipo_cli.errors import UserError


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn what the disk refuses into one sentence.

    Raises:
        UserError: an ``OSError`` in the body.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{out} cannot be written: {error.strerror or error}; choose another folder with --out."
        ) from error


def check_output(out: Path, kind: str, is_ours: Callable[[Path], bool], *, force: bool) -> None:
    """Refuse a folder that cannot be made, and anything there but an earlier one that may be replaced.

    Args:
        out: the folder to be written.
        kind: what it will hold, in a word.
        is_ours: whether a folder is an earlier one of that kind.
        force: earlier ones may be replaced.

    Raises:
        UserError: ``out`` exists and is in the way, or nothing can be made there.
    """
    with writing(out):
        above = next(folder for folder in (*out.parents, out) if folder.exists())
        if not above.is_dir():
            raise NotADirectoryError(None, f"{above} is no folder")
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(None, f"no permission to write to {above}")
        there = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if there and not is_ours(out):
        raise UserError(
            f"{out} exists and is no earlier {kind}, so it is left alone; choose another folder with --out."
        )
    if there and not force:
        raise UserError(
            f"{out} already holds an earlier {kind}; add --force to replace it, or choose another folder "
            "with --out."
        )


@contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which then becomes ``out``: an interruption leaves no half.

    Raises:
        UserError: the disk refuses.
    """
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
            # A folder of its own, since the temporary one is closed to all others.
            fresh = Path(scratch) / "fresh"
            fresh.mkdir()
            yield fresh
            if out.exists():
                os.replace(out, Path(scratch) / "earlier")
            os.replace(fresh, out)
