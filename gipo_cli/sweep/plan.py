"""Plan a study: from overrides or a study file to named runs, each with its checked configuration."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gipo_cli.errors import UserError
from gipo_cli.runs.layout import check_name
from gipo_cli.settings.compose import compose, config_hash, validate
from gipo_cli.settings.files import with_files
from gipo_cli.settings.grid import expand
from gipo_cli.settings.groups import STUDIES, find_file, names_in, read, search_dirs
from gipo_cli.settings.overrides import parse_overrides, unknown_choice
from gipo_cli.settings.schema import RunConfig, keys_that_change

FREE = keys_that_change("nothing", "budget")
"""Settings that may contradict a study file: how long and where, not what."""
SEED = "${seed}"
_SEED_LINE = re.compile(r"seed=(0|[1-9]\d*)")
_NAME_LENGTH = 150
_ODD = re.compile(r"[^A-Za-z0-9._=+@-]+")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study: its folder's name, the overrides that make it, and the composed configuration."""

    name: str
    overrides: tuple[str, ...]
    config: RunConfig

    @cached_property
    def hash(self) -> str:
        """Digest of what is learned, without seed and budget."""
        return config_hash(self.config)

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other run."""
        return self.hash, self.config.seed

    @property
    def total_steps(self) -> int:
        """Environment steps."""
        return self.config.total_steps


@dataclass(frozen=True)
class Study:
    """A named set of runs.

    Attributes:
        name: Its folder below the runs root.
        overrides: Fixed settings and axes.
        runs: In the order of the axes, the first varying slowest.
        allow_changes: Accept runs that other versions of libraries began.
    """

    name: str
    overrides: tuple[str, ...]
    runs: tuple[PlannedRun, ...]
    allow_changes: bool = False


class StudyFile(BaseModel):
    """Content of ``conf/study/*.yaml``; every entry of the lists is one override in Hydra's grammar."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(description="folder of the study, below the runs root")
    axes: Annotated[list[str], Field(min_length=1)]
    fixed: list[str] = Field(default_factory=list)


def plan(overrides: Sequence[str], *, name: str | None = None, config_dirs: Sequence[Path] = ()) -> Study:
    """Expand a grid, or a study file with further overrides, into its runs.

    Args:
        overrides: As typed; may hold ``study=NAME`` and YAML files of settings.
        name: The study's name; default: the study file's, else a digest of the runs, so that the same
            command always means the same folder.
        config_dirs: The user's own configuration folders.

    Raises:
        UserError: A mistake in the overrides or the file, or two runs that learn the same.
    """
    file_name, lines = _split_study(overrides, config_dirs)
    lines = with_files(lines)
    if file_name is not None:
        file = _read_study_file(file_name, config_dirs)
        name, lines = name or file.name, _combine(file, lines)
    if not lines:
        raise UserError("name what to sweep over, as in gipo sweep objective=gipo,ppo_clip seed='range(1,6)'")
    runs = planned_runs(expand(lines, config_dirs=config_dirs), config_dirs)
    digest = hashlib.sha256(repr(sorted(run.key for run in runs)).encode()).hexdigest()[:8]
    name = name or f"sweep-{digest}"
    check_name(name)
    return Study(name, tuple(lines), tuple(runs))


def planned_runs(grid: Sequence[Sequence[str]], config_dirs: Sequence[Path] = ()) -> list[PlannedRun]:
    """The runs of a grid, named and checked, from the overrides of each.

    Raises:
        UserError: A mistake in the overrides, or two runs that learn the same.
    """
    objective = {line for lines in grid for line in lines if line.startswith("objective.")}
    keys = [line.partition("=")[0] for line in objective]
    swept = {key for key in keys if keys.count(key) > 1}
    runs: dict[tuple[str, int], PlannedRun] = {}
    for lines, config in zip(grid, _composed(grid, config_dirs), strict=True):
        knobs = [line.removeprefix("objective.") for line in lines if line.partition("=")[0] in swept]
        run = PlannedRun(run_name(config, knobs), tuple(lines), config)
        if run.key in runs:
            other = set(runs[run.key].overrides) ^ set(lines)
            if all(line.startswith("total_steps=") for line in other):
                raise UserError(
                    "total_steps cannot be an axis: runs that differ in nothing else would share a folder; "
                    "give each length a study of its own with --name"
                )
            raise UserError(
                f"{' and '.join(sorted(other))} make the same run, since nothing that is learned differs; "
                f"leave that axis out"
            )
        runs[run.key] = run
    return list(runs.values())


def _composed(grid: Sequence[Sequence[str]], config_dirs: Sequence[Path]) -> Iterator[RunConfig]:
    """Configurations of a grid, composed once for all seeds unless a value may be derived from the seed."""
    from gipo_cli.envs.resolve import resolve

    files = (file for folder in search_dirs(config_dirs) for file in folder.rglob("*.yaml"))
    derived = any(SEED in file.read_text(encoding="utf-8", errors="replace") for file in files)
    known: dict[tuple[str, ...], RunConfig] = {}
    for lines in grid:
        seeds = [found.group(1) for line in lines if (found := _SEED_LINE.fullmatch(line))]
        alike = len(seeds) == 1 and not derived and not any(SEED in line for line in lines)
        base = tuple(line for line in lines if not (alike and _SEED_LINE.fullmatch(line)))
        if base not in known:
            known[base] = compose(base, config_dirs=config_dirs).config
            resolve(known[base].env)
        config = known[base]
        yield validate(config.model_dump(mode="json") | {"seed": int(seeds[0])}) if alike else config


def run_name(config: RunConfig, knobs: Sequence[str] = ()) -> str:
    """Name a run inside its study, such as ``reach-v3-gipo-sigma=0.2-n5000-s1-1a2b3c4d``.

    Args:
        config: The run's configuration.
        knobs: Parameters of the objective that the study varies, ``name=value`` each.
    """
    subject = config.env.subject
    tail = f"-n{config.buffer_size}-s{config.seed}-{config_hash(config)}"
    stem = _ODD.sub("-", "-".join([subject, config.objective.name, *knobs])).lstrip("._=+@-")
    return stem[: _NAME_LENGTH - len(tail)] + tail


def _split_study(overrides: Sequence[str], config_dirs: Sequence[Path]) -> tuple[str | None, list[str]]:
    """Take ``study=NAME`` out of the overrides."""
    for line in overrides:
        if "=" not in line and (stem := Path(line).stem) in names_in(STUDIES, config_dirs):
            raise UserError(f"{line!r} is not an override; type study={stem}")
    names = [line.removeprefix("study=") for line in overrides if line.startswith("study=")]
    if len(names) > 1 or "" in names:
        raise UserError("name one study file, as in gipo sweep study=reach_buffers")
    return next(iter(names), None), [line for line in overrides if not line.startswith("study=")]


def _read_study_file(name: str, config_dirs: Sequence[Path]) -> StudyFile:
    """Read ``study/<name>.yaml`` of the first folder that has it."""
    import yaml

    file = find_file(STUDIES, name, config_dirs)
    if file is None:
        known = names_in(STUDIES, config_dirs)
        if (stem := Path(name).stem) in known:
            raise UserError(f"{name!r} is not a study's name; type study={stem}")
        raise unknown_choice("study", name, known)
    try:
        return StudyFile.model_validate(yaml.safe_load(read(file)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{file}: {where}: {first['msg']}; a study has a name, and axes and fixed as lists of overrides"
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"{file} cannot be read: {str(error).splitlines()[0]}") from error


def _combine(study: StudyFile, typed: Sequence[str]) -> list[str]:
    """Join a study's overrides with those typed, which may add settings and replace ``FREE`` ones."""
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
