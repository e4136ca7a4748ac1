"""Folders to be written: refused in one sentence if that is not possible, at best before any work."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
def fresh_folder(out: Path, is_ours: Callable[[str], bool] = lambda name: True) -> Iterator[Path]:
    """Give an empty folder to fill, which then becomes ``out``: an interruption leaves no half.

    Of an earlier ``out``, files whose names below it are not ``is_ours`` are kept. What a killed process left
    is removed by the next one.

    Raises:
        UserError: the disk refuses.
    """
    prefix = f".{out.name}-"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        for leftover in out.parent.glob(f"{glob.escape(prefix)}*"):
            _remove(leftover, out)
        with (
            tempfile.TemporaryDirectory(prefix=prefix, dir=out.parent) as scratch,
            _held(Path(scratch)),
        ):
            # A folder of its own, since the temporary one is closed to all others.
            fresh, earlier = Path(scratch) / "fresh", Path(scratch) / "earlier"
            fresh.mkdir()
            yield fresh
            if out.exists():
                _keep(out, fresh, is_ours)
                os.replace(out, earlier)
            os.replace(fresh, out)


def _keep(out: Path, fresh: Path, is_ours: Callable[[str], bool]) -> None:
    """Copy what others put into the earlier folder."""
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if (path.is_symlink() or not path.is_dir()) and not is_ours(name) and not (fresh / name).exists():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, fresh / name, follow_symlinks=False)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder, so that others can see that it is in use."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove(leftover: Path, out: Path) -> None:
    """Remove the folder of a process that was killed; what it had taken away is put back."""
    if leftover.is_symlink() or not leftover.is_dir():
        return
    names = {path.name for path in leftover.iterdir()}
    if not names or names - {"fresh", "earlier"}:
        return
    with suppress(BlockingIOError), _held(leftover):
        if (leftover / "earlier").is_dir() and not out.exists():
            os.replace(leftover / "earlier", out)
        shutil.rmtree(leftover)
