"""Which configuration files there are: folders and names only, nothing is parsed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import gipo_cli
from gipo_cli.errors import UserError

STUDIES = "study"
"""Folder of the study files, which `gipo sweep` reads; no group that a run is composed of."""
IMPLIED = frozenset({"preset_objective", "tuned", "tuned_objective"})
"""Groups whose files follow from the preset and from other groups; nobody needs to type them."""


def shipped_dir() -> Path:
    """Folder of the configuration that comes with the package: inside a wheel, else the repository's."""
    package = Path(gipo_cli.__file__).resolve().parent
    packaged = package / "_conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def search_dirs(config_dirs: Sequence[Path] = ()) -> list[Path]:
    """Configuration folders in the order they are searched: the user's, then the shipped one.

    Raises: UserError if one of the user's folders does not exist.
    """
    for folder in config_dirs:
        if not folder.is_dir():
            raise UserError(f"there is no configuration folder {folder}; create it or drop --config-dir")
    return [folder.resolve() for folder in config_dirs] + [shipped_dir()]


def group_choices(config_dirs: Sequence[Path] = ()) -> dict[str, list[str]]:
    """Every group and its files' names, sorted; a name that begins with ``_`` is a building block."""
    found: dict[str, set[str]] = {}
    for root in search_dirs(config_dirs):
        for file in root.glob("*/**/*.yaml"):
            if not file.name.startswith("_"):
                found.setdefault(file.parent.relative_to(root).as_posix(), set()).add(file.stem)
    return {group: sorted(names) for group, names in sorted(found.items()) if group != STUDIES}


def names_in(group: str, config_dirs: Sequence[Path] = ()) -> list[str]:
    """The names of one group's files, or of the studies, sorted."""
    files = (file for root in search_dirs(config_dirs) for file in (root / group).glob("*.yaml"))
    return sorted({file.stem for file in files if not file.name.startswith("_")})


def header(file: Path) -> str:
    """The comment that heads a configuration file, without Hydra's package directive."""
    lines = []
    for line in read(file).splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def read(file: Path) -> str:
    """The text of a configuration file.

    Raises: UserError if it cannot be read, is not UTF-8 or begins with a byte-order mark.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file} is not UTF-8 text (line {line}); save it as UTF-8") from error
    if text.startswith("\ufeff"):
        cure = f"sed -i '1s/^\\xEF\\xBB\\xBF//' {shlex.quote(str(file))}"
        raise UserError(f"{file} begins with a byte-order mark; save it without one, or type {cure}")
    return text


def find_file(group: str, choice: str, config_dirs: Sequence[Path] = ()) -> Path | None:
    """The file that ``group=choice`` reads, or None."""
    files = (root / group / f"{choice}.yaml" for root in search_dirs(config_dirs))
    return next((file for file in files if file.is_file()), None)
