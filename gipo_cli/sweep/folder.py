"""The folder of a study: where everything lies, and ``study.json``, the sealed plan it was made for."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gipo_cli import __version__
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import read_sealed, write_sealed
from gipo_cli.runs.layout import check_name
from gipo_cli.settings.compose import validate
from gipo_cli.settings.explain import shown
from gipo_cli.sweep.plan import PlannedRun, Study
from gipo_cli.text import flatten

FORMAT = 1
_DIFFERENCES_SHOWN = 4


class StudyDir:
    """The folder of one study.

    Runs lie directly in it. What belongs to the sweep itself lies in ``.sweep``, which listings do not enter
    and from which comparisons learn only what became of runs that have no folder yet.

    Attributes:
        manifest: The sealed plan.
        lock: Held by the one sweep that works here.
        private: Claims, outputs and attempts.
        claims: Where only claims lie: the holder of a lock removes leftovers beside it.
        submitted: What submitit keeps, links among it; every sweep writes to a new folder there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = path / "study.json"
        self.lock = path / ".lock"
        self.private = path / ".sweep"
        self.claims = self.private / "claims"
        self.submitted = self.private / "slurm"

    def run(self, name: str) -> Path:
        """Folder of a run."""
        return self.path / name

    def claim(self, name: str) -> Path:
        """Lock held by the process that works on a run in its folder, from before the folder exists."""
        return self.claims / f"{name}.lock"

    def output(self, name: str) -> Path:
        """What the run's newest process on this machine printed."""
        return self.private / f"{name}.out"

    def attempts(self, name: str) -> Path:
        """Folders of a run's attempts that are not published yet."""
        return self.private / f"{name}.attempts"


def write_study(folder: StudyDir, study: Study, *, command: str) -> None:
    """Write or renew the plan; only the holder of the study's lock may call this.

    Raises:
        RunFailed: The disk refused.
    """
    folder.private.mkdir(parents=True, exist_ok=True)
    runs = [
        {
            "name": run.name,
            "overrides": list(run.overrides),
            "hash": run.hash,
            "config": run.config.model_dump(mode="json"),
        }
        for run in study.runs
    ]
    content = {
        "format": FORMAT,
        "gipo": __version__,
        "study": study.name,
        "written": time.time(),
        "command": command,
        "directory": str(Path.cwd()),
        "overrides": list(study.overrides),
        "allow_changes": study.allow_changes,
        "runs": runs,
    }
    write_sealed(folder.manifest, content)


def read_study(folder: StudyDir, only: str | None = None, *, imports: bool = True) -> Study:
    """Read the plan that a folder was made for, with one of its runs or all.

    Without ``imports`` the modules that it names are not imported, and it can only be looked at.

    Raises:
        UserError: There is no plan, it was edited or cut off, or it is of another version of gipo.
    """
    try:
        content = read_sealed(folder.manifest)
    except UserError as error:
        raise UserError(
            f"{error}; a study's plan is not edited by hand: restore it, or start another with --name"
        ) from error
    if content.get("format") != FORMAT:
        raise UserError(
            f"{folder.manifest} has format {content.get('format')} of gipo {content.get('gipo')}; this gipo "
            f"{__version__} reads format {FORMAT}"
        )
    try:
        name, overrides = content["study"], _words(content["overrides"])
        listed = [(run["name"], _words(run["overrides"]), dict(run["config"])) for run in content["runs"]]
        for own in (name, *(run[0] for run in listed)):
            check_name(own)  # one that leads elsewhere is never a folder
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder.manifest} is not a plan of this gipo: {error} is missing or odd") from error
    runs = tuple(
        PlannedRun(run, lines, validate(config, imports=imports))
        for run, lines, config in listed
        if only in (None, run)
    )
    if not runs:
        raise UserError(f"the study {name} has no run {only!r}; {folder.manifest} lists them")
    return Study(name, overrides, runs, content.get("allow_changes") is True)


def _words(lines: Any) -> tuple[str, ...]:
    """The texts in a list. Raises: TypeError if it is none, or holds something else."""
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise TypeError(f"overrides {str(lines)[:40]!r}")
    return tuple(lines)


def check_same(folder: StudyDir, study: Study) -> None:
    """Refuse a folder that was made for something else.

    More runs are welcome, and so are more steps unless the learning rate decays over them.

    Raises:
        UserError: Runs of the folder's plan are missing from this one, were planned longer, or would continue
            with another learning rate; says what differs.
    """
    if not folder.manifest.exists():
        # A sweep that was killed before it had written its plan leaves hidden files only.
        found = sorted(folder.path.iterdir()) if folder.path.is_dir() else []
        names = [path.name for path in found if not path.name.startswith(".")]
        strangers = [name for name in names if name not in {run.name for run in study.runs}]
        if folder.private.is_dir() and strangers:
            raise UserError(
                f"{folder.manifest} is missing, and {strangers[0]} is no run of this study; restore that "
                "file, or choose another folder with --name"
            )
        if names and not folder.private.is_dir():
            raise UserError(f"{folder.path} exists and is no study's folder; choose another with --name")
        return
    new = {run.key: run for run in study.runs}
    before = read_study(folder, imports=False).runs
    if not {run.key for run in before} <= new.keys():
        raise UserError(
            f"{folder.path} was made by a different study: {_difference(before, study.runs)}; choose "
            f"another folder with --name"
        )
    for run in before:
        steps, update = new[run.key].total_steps, run.config.agent.update
        if steps < run.total_steps:
            raise UserError(
                f"{folder.path} was planned with total_steps={run.total_steps}, which can only be raised "
                f"and not lowered to {steps}; choose another folder with --name"
            )
        if steps != run.total_steps and update.decays and not study.allow_changes:
            raise UserError(
                f"{folder.path} was planned with total_steps={run.total_steps}, where the learning rate of "
                f"agent.update.lr_schedule={update.lr_schedule} ends: {steps} steps are other "
                "runs; choose another folder with --name, or add --allow-changes"
            )


def _difference(old: Iterable[PlannedRun], new: Iterable[PlannedRun]) -> str:
    before, after = _values(old), _values(new)
    absent = {"(absent)": None}
    found = [
        f"{key} {','.join(before.get(key, absent))} there, {','.join(after.get(key, absent))} here"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    left = len(found) - _DIFFERENCES_SHOWN
    more = f" and {left} more setting{'s' if left > 1 else ''}" if left > 0 else ""
    return "; ".join(found[:_DIFFERENCES_SHOWN]) + more or "the same values in other combinations"


def _values(runs: Iterable[PlannedRun]) -> dict[str, dict[str, None]]:
    """Every value that a setting takes over the runs, in order."""
    values: dict[str, dict[str, None]] = {}
    for run in runs:
        for key, value in flatten(run.config.model_dump(mode="json")).items():
            values.setdefault(key, {})[shown(value)] = None
    return values
