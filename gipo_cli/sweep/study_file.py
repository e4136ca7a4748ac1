"""``conf/study/*.yaml``: a study that can be kept, shared and run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gipo_cli.errors import UserError
from gipo_cli.settings.checks import unknown_choice
from gipo_cli.settings.compose import UNHASHED, parse_overrides
from gipo_cli.settings.groups import STUDIES, find_file, search_dirs

FREE = tuple(key for key in UNHASHED if key != "seed")
"""Settings that may be typed beside a study file that has them too: how long and where, not what."""


class StudyFile(BaseModel):
    """Content of a study file; every entry is one override in Hydra's grammar."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(description="folder of the study, below the runs root")
    axes: Annotated[list[str], Field(min_length=1)]
    fixed: list[str] = Field(default_factory=list)


def split_study(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> tuple[str | None, list[str]]:
    """Take ``study=NAME`` out of the overrides.

    Raises:
        UserError: it is given twice, has no value or is a bare name.
    """
    for line in overrides:
        if "=" not in line and (stem := Path(line).stem) in _known(config_dirs):
            raise UserError(f"{line!r} is not an override; type study={stem}")
    names = [line.removeprefix("study=") for line in overrides if line.startswith("study=")]
    if len(names) > 1 or "" in names:
        raise UserError("name one study file, as in gipo sweep study=reach_buffers")
    rest = [line for line in overrides if not line.startswith("study=")]
    return (names[0] if names else None), rest


def read_study_file(name: str, config_dirs: Sequence[Path] = ()) -> StudyFile:
    """Read ``study/<name>.yaml`` of the first folder that has it.

    Raises:
        UserError: there is none of that name, or it is not a study.
    """
    import yaml

    file = find_file(STUDIES, name, config_dirs)
    if file is None:
        known = _known(config_dirs)
        if (stem := Path(name).stem) in known:
            raise UserError(f"{name!r} is not a study's name; type study={stem}")
        raise UserError(unknown_choice("study", name, known))
    try:
        return StudyFile.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{file}: {where}: {first['msg']}; a study has a name, and axes and fixed as lists of overrides"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read: {str(error).splitlines()[0]}") from error


def _known(config_dirs: Sequence[Path]) -> list[str]:
    folders = search_dirs(config_dirs)
    return sorted({path.stem for folder in folders for path in (folder / STUDIES).glob("*.yaml")})


def combine(study: StudyFile, typed: Sequence[str]) -> list[str]:
    """The study's overrides together with those typed beside it.

    A typed override may add a setting, or change one that says how long and where (``total_steps``,
    ``runtime``, ``logging``, ``checkpoint``, ``diagnostics``).

    Raises:
        UserError: a typed override contradicts the file.
    """
    lines = [*study.fixed, *study.axes]
    keys = [override.key_or_group for override in parse_overrides(lines)]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise UserError(f"the study {study.name} has {twice[0]} more than once; put its values into one axis")
    own = dict(zip(keys, lines, strict=True))
    for key, line in zip((o.key_or_group for o in parse_overrides(typed)), typed, strict=True):
        same = [mine for other, mine in own.items() if other == key or other.startswith(f"{key}.")]
        if key.split(".")[0] in FREE:
            own = {other: mine for other, mine in own.items() if mine not in same}
        elif same and same != [line]:
            raise UserError(
                f"{line!r} contradicts {same[0]!r} of the study {study.name}; leave it out, or copy the "
                f"study file and change it there"
            )
        own[key] = line
    return list(own.values())
