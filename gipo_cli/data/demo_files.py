"""Where demonstrations lie, and how they are found again."""

from __future__ import annotations

import re
from pathlib import Path

from gipo_cli.errors import UserError, suggest

FOLDER = "demos"
SUFFIX = ".npz"
FILES = (SUFFIX, ".hdf5", ".h5")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+@-]{0,149}")


def folder_of(root: Path) -> Path:
    """Where the demonstrations of a folder of runs lie."""
    return root / FOLDER


def listed(root: Path) -> list[Path]:
    """All files of demonstrations below a folder of runs, in order."""
    return sorted(path for path in folder_of(root).glob(f"*{SUFFIX}") if path.is_file())


def check_name(name: str) -> None:
    """Refuse what cannot name demonstrations.

    Raises: UserError.
    """
    if _NAME.fullmatch(name) is None:
        raise UserError(
            f"{name!r} cannot name demonstrations: use at most 150 ASCII letters, digits and . _ = , + @ -, "
            "starting with a letter or digit"
        )


def found(root: Path, ref: str) -> Path | None:
    """The demonstrations that are called ``ref``, exactly; None if none are, or a run is."""
    own = folder_of(root) / f"{ref.removesuffix(SUFFIX)}{SUFFIX}"
    named = Path(ref).expanduser()
    if ref and named.suffix in FILES and named.is_file():
        return named
    return own if ref and own.is_file() and not (root / ref).exists() else None


def find(root: Path, ref: str) -> Path:
    """The file or folder that the user means: a path, or a name below ``root``/demos.

    Raises: UserError if there is none.
    """
    own = folder_of(root) / f"{ref.removesuffix(SUFFIX)}{SUFFIX}"
    for path in (Path(ref).expanduser(), own):
        if ref and path.exists():
            return path
    known = [path.stem for path in listed(root)]
    begins = [name for name in known if ref and name.startswith(ref)]
    if len(begins) == 1:
        return folder_of(root) / f"{begins[0]}{SUFFIX}"
    raise UserError(
        f"there are no demonstrations {ref!r}{suggest(ref, known)}; name an .npz or .hdf5 file, or one that "
        "`gipo list demos` prints"
    )
