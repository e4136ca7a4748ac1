"""From overrides to the runs of a study, each with its checked configuration and its name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gipo_cli.errors import UserError
from gipo_cli.runs.layout import check_name
from gipo_cli.settings.compose import compose, config_hash, validate
from gipo_cli.settings.grid import expand
from gipo_cli.settings.groups import search_dirs
from gipo_cli.settings.schema import RunConfig
from gipo_cli.sweep.study_file import combine, read_study_file, split_study

SEED = "${seed}"
_NAME_LENGTH = 150
_ODD = re.compile(r"[^A-Za-z0-9._=+@-]+")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Attributes:
        name: Its folder inside the study's.
        overrides: What makes it, in Hydra's grammar.
        config: The same, composed and checked.
    """

    name: str
    overrides: tuple[str, ...]
    config: RunConfig

    @cached_property
    def hash(self) -> str:
        """What is learned, without seed and budget."""
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
        allow_changes: Go on with runs that other versions of libraries began.
    """

    name: str
    overrides: tuple[str, ...]
    runs: tuple[PlannedRun, ...]
    allow_changes: bool = False

    def __getitem__(self, name: str) -> PlannedRun:
        """The run of that name.

        Raises:
            UserError: there is none.
        """
        for run in self.runs:
            if run.name == name:
                return run
        raise UserError(
            f"the study {self.name} has no run {name!r}; gipo sweep --status {self.name} lists them"
        )


def plan(overrides: Sequence[str], *, name: str | None = None, config_dirs: Sequence[Path] = ()) -> Study:
    """Expand a grid, or a study file with further overrides, into its runs.

    Args:
        overrides: As typed; may hold ``study=NAME``.
        name: The study's name; default: the study file's, else one made from the runs themselves, so that
            the same command always means the same folder.
        config_dirs: The user's own configuration folders.

    Raises:
        UserError: a mistake in the overrides or the file, or two runs that differ in nothing that is learned.
    """
    file_name, typed = split_study(overrides, config_dirs)
    lines = typed
    if file_name is not None:
        file = read_study_file(file_name, config_dirs)
        name = name or file.name
        lines = combine(file, typed)
    if not lines:
        raise UserError("name what to sweep over, as in gipo sweep objective=gipo,ppo_clip seed='range(1,6)'")
    runs = _runs(expand(lines, config_dirs=config_dirs), config_dirs)
    name = name or f"sweep-{_digest(sorted(run.key for run in runs))}"
    check_name(name)
    return Study(name, tuple(lines), tuple(runs))


def _runs(grid: Sequence[Sequence[str]], config_dirs: Sequence[Path]) -> list[PlannedRun]:
    knobs = _swept_knobs(grid)
    compose_one = _Composer(config_dirs)
    runs: dict[tuple[str, int], PlannedRun] = {}
    for lines in grid:
        config = compose_one(lines)
        own = [line.removeprefix("objective.") for line in lines if line.partition("=")[0] in knobs]
        run = PlannedRun(run_name(config, own), tuple(lines), config)
        if run.key in runs:
            other = set(runs[run.key].overrides) ^ set(lines)
            if all(line.startswith("total_steps=") for line in other):
                raise UserError(
                    "total_steps is no axis: runs of one study that differ in nothing else would be the same "
                    "folder; give each length a study of its own with --name"
                )
            raise UserError(
                f"{' and '.join(sorted(other))} make the same run, for nothing that is learned differs; "
                f"leave that axis out"
            )
        runs[run.key] = run
    return list(runs.values())


class _Composer:
    """Composes the runs of a grid; those that differ in their seed only are composed once."""

    def __init__(self, config_dirs: Sequence[Path]) -> None:
        self._dirs = config_dirs
        self._known: dict[tuple[str, ...], RunConfig] = {}
        # A user's file, or what is typed, may derive other values from the seed.
        files = (file for folder in search_dirs(config_dirs) for file in folder.rglob("*.yaml"))
        self._derived = any(SEED in file.read_text(encoding="utf-8", errors="replace") for file in files)

    def __call__(self, lines: Sequence[str]) -> RunConfig:
        seeds = [line for line in lines if re.fullmatch(r"seed=\d+", line)]
        if self._derived or len(seeds) != 1 or any(SEED in line for line in lines):
            return self._checked(lines)
        rest = tuple(line for line in lines if line not in seeds)
        if rest not in self._known:
            self._known[rest] = self._checked(rest)
        data = self._known[rest].model_dump(mode="json") | {"seed": int(seeds[0].partition("=")[2])}
        return validate(data)

    def _checked(self, lines: Sequence[str]) -> RunConfig:
        from gipo_cli.envs.resolve import resolve

        config = compose(lines, config_dirs=self._dirs).config
        resolve(config.env)
        return config


def run_name(config: RunConfig, knobs: Sequence[str] = ()) -> str:
    """Name of a run inside its study, such as ``reach-v3-gipo-sigma=0.2-n5000-s1-1a2b3c4d``.

    Args:
        config: The run's configuration.
        knobs: Parameters of the objective that the study varies, ``name=value`` each.
    """
    tail = f"-n{config.buffer_size}-s{config.seed}-{config_hash(config)}"
    stem = _ODD.sub("-", "-".join([config.env.subject, config.objective.name, *knobs])).lstrip("._=+@-")
    return stem[: _NAME_LENGTH - len(tail)] + tail


def _swept_knobs(grid: Sequence[Sequence[str]]) -> set[str]:
    values: dict[str, set[str]] = {}
    for lines in grid:
        for line in lines:
            if line.startswith("objective."):
                key, _, value = line.partition("=")
                values.setdefault(key, set()).add(value)
    return {key for key, seen in values.items() if len(seen) > 1}


def _digest(keys: object) -> str:
    return hashlib.sha256(repr(keys).encode()).hexdigest()[:8]
