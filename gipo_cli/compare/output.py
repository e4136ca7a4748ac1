"""Folders to be written: refused in one sentence if that is not possible, at best before any work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gipo_cli.errors import UserError
from gipo_cli.runs.layout import check_out


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


def check_output(out: Path, kind: str, is_ours: Callable[[Path], bool], *, force: bool = True) -> None:
    """Refuse a folder that cannot be made, and anything there but an earlier ``kind``.

    Without ``force`` that is refused too.

    Raises:
        UserError: ``out`` exists and is in the way, is a link, or nothing can be made there.
    """
    check_out(out)
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


def write_folder(out: Path, files: Mapping[str, bytes], is_ours: Callable[[str], bool]) -> None:
    """Write files by their names below ``out``: all of them, or none of a new folder.

    Of an earlier ``out``, files whose names below it are ``is_ours`` go, and all others stay. Only here is
    the disk written to, so that a process which is killed while it computes leaves nothing.

    Raises:
        UserError: the disk refuses, or a folder inside ``out`` is a link.
    """
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        earlier = out.exists()
        with tempfile.TemporaryDirectory(
            prefix=f".{out.name}-", dir=out if earlier else out.parent
        ) as scratch:
            # A folder of its own, since the temporary one is closed to all others.
            fresh = Path(scratch) / "fresh"
            for name, content in files.items():
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                (fresh / name).write_bytes(content)
            if earlier:
                _replace(out, fresh, files, is_ours)
            else:
                os.replace(fresh, out)


def _replace(out: Path, fresh: Path, names: Mapping[str, bytes], is_ours: Callable[[str], bool]) -> None:
    for folder in {(out / name).parent for name in names} - {out}:
        if folder.is_symlink():
            raise UserError(f"{folder} is a link, and gipo writes through none; put a folder there")
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.replace(fresh / name, out / name)
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if is_ours(name) and name not in names:
            path.unlink()
