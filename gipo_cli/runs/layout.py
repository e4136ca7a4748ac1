"""Where everything of a run lies, how runs are named, and how a run is found again."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gipo_cli.errors import UserError, suggest
from gipo_cli.runs.durable import TEMPORARY, fsync_dir, is_link, read_own

if TYPE_CHECKING:
    from gipo_cli.settings.schema import RunConfig

ROOT_VARIABLE = "GIPO_RUNS"
LATEST = "latest"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+@-]{0,149}")
_DEPTH = 6


class _Entry:
    """A path in a run folder, by its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: RunDir, owner: type) -> Path:
        return run.path / self._name


@dataclass(frozen=True)
class RunDir:
    """The files of one run; see docs/run-folder.md for what is in them."""

    path: Path

    config = _Entry("config.yaml")  # resolved configuration
    overrides = _Entry("overrides.txt")  # as typed, one per line
    command = _Entry("command.txt")  # the command line as typed
    meta = _Entry("meta.json")  # versions, hardware, git state, seeds, protocol
    git_diff = _Entry("git.diff")  # uncommitted changes, only if there were any
    status = _Entry("status.json")  # state, step, heartbeat, reason
    metrics = _Entry("metrics.csv")  # one row per iteration
    evaluations = _Entry("eval.csv")  # one row per evaluation
    diagnostics = _Entry("diagnostics.csv")  # one row per estimator and measurement
    arrivals = _Entry("arrivals.csv")  # one row per rollout of actors in other processes
    log = _Entry("log.txt")  # what was said while it ran
    tensorboard = _Entry("tb")  # event files
    checkpoints = _Entry("checkpoints")  # one folder per checkpoint, and best.json
    clone = _Entry("clone.json")  # of a clone only: demonstrations, fit and success
    initial = _Entry("init")  # with init only: own copy of the initial policy and of demonstrations
    success = _Entry("success.json")  # with init only: success before and after training
    lock = _Entry(".lock")  # held by the one process that writes here

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    def exists(self) -> bool:
        """Whether there is a run here, finished or not."""
        return os.path.isfile(self.config)

    def is_import(self) -> bool:
        """Whether ``gipo import-tb`` made it from another program's records, which hold no checkpoints."""
        try:
            facts = json.loads(read_own(self.meta))
        except (UserError, ValueError, RecursionError):
            return False
        return isinstance(facts, dict) and "imported_from" in facts and not self.checkpoints.exists()


def runs_root(given: Path | None = None) -> Path:
    """Folder that holds the runs: what ``--runs`` gives, else ``GIPO_RUNS``, else ``./runs``."""
    # No shell expands the ~ of a variable that comes from a file.
    return Path(given or os.environ.get(ROOT_VARIABLE) or "runs").expanduser()


def check_out(out: Path) -> None:
    """Refuse to write where a link leads: at ``out`` itself, or between it and the run that it lies in.

    Raises:
        UserError: The link, by name.
    """
    above = out.absolute().parents
    run = next((folder for folder in above if RunDir(folder).exists()), None)
    for path in (out, *(folder for folder in above if run in folder.parents)):
        if path.is_symlink():
            raise is_link(path)


def default_name(config: RunConfig, now: datetime | None = None) -> str:
    """Name a run as ``<env>[-<task>]-<objective>-n<buffer>-s<seed>-<utc yyyymmdd-hhmmss>``."""
    subject = "-".join(config.env.names)
    stamp = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%d-%H%M%S")
    tail = f"-n{config.buffer_size}-s{config.seed}-{stamp}"
    stem = re.sub(r"[^A-Za-z0-9._=+@-]+", "-", f"{subject}-{config.objective.name}").lstrip("._=+@-")
    return stem[: 150 - len(tail)] + tail


def _names_a_folder(ref: str) -> bool:
    return os.sep in ref


def _no_import(run: RunDir) -> RunDir:
    if run.is_import():
        raise UserError(f"{run.path} is an import, which only `gipo compare` reads")
    return run


def check_name(name: str) -> None:
    """Refuse what cannot be a run's name.

    Raises:
        UserError: It is a path, reserved, too long or holds odd characters.
    """
    if _NAME.fullmatch(name) is None or name == LATEST:
        raise UserError(
            f"{name!r} cannot be a run's name: use at most 150 ASCII letters, digits and . _ = , + @ -, "
            f"starting with a letter or digit (not {LATEST!r}); a folder to put runs in is chosen with --runs"
        )


def create(root: Path, name: str, *, unique: bool = False) -> RunDir:
    """Make a run's new, empty folder below ``root``, which is made if missing.

    Args:
        root: Folder that holds the runs.
        name: The run's name.
        unique: Append ``-2``, ``-3``, ... when the name is taken; for names that nobody chose.

    Raises:
        UserError: The name is odd or taken, or nothing can be written there.
    """
    check_name(name)
    path = root / name
    attempt = 1
    while True:
        try:
            root.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            fsync_dir(root)
            return RunDir(path)
        except FileExistsError as error:
            if not root.is_dir():
                raise UserError(
                    f"{root} is not a folder; name another with --runs or {ROOT_VARIABLE}"
                ) from error
            if not unique and abandoned(path):
                RunDir(path).git_diff.unlink(missing_ok=True)
                return RunDir(path)
            if not unique:
                there, cure = "already exists and is not overwritten", f"continue it with --resume {name}"
                if is_starting(RunDir(path)):
                    there, cure = "is just being started by another process", "wait for that one"
                raise UserError(f"{path} {there}; give another name, or {cure}") from error
        except OSError as error:
            raise UserError(
                f"cannot create {path}: {error.strerror or error}; name a writable folder with --runs "
                f"or {ROOT_VARIABLE}"
            ) from error
        attempt += 1
        path = root / f"{name}-{attempt}"


def not_begun(path: Path) -> bool:
    """Whether a folder holds nothing that comes after a run's configuration, or is not there.

    Its start is under way or was killed. What else lies there was written later: whoever then finds no
    configuration knows that it was lost.
    """
    run = RunDir(path)
    own = (run.lock, run.arrivals, run.overrides, run.command, run.git_diff, run.meta, run.initial)
    before = {file.name for file in own}
    try:
        names = {entry.name for entry in os.scandir(path)}
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return all(name in before or name.startswith(TEMPORARY) for name in names)


def abandoned(path: Path) -> bool:
    """Whether a start was killed here before its configuration was written: the next may have the name."""
    from gipo_cli.runs.lock import holder

    if path.is_symlink() or not not_begun(path) or not path.is_dir():
        return False
    record = holder(RunDir(path).lock)
    # One of another host may be dead; taking the lock will tell.
    return record is None or record.get("host") != socket.gethostname()


def is_starting(run: RunDir) -> bool:
    """Whether a live process makes this run and has not said yet how it is doing."""
    from gipo_cli.runs.lock import holder

    # In this order: its process goes on meanwhile.
    there = not_begun(run.path) or run.exists()
    return there and holder(run.lock) is not None and not run.status.exists()


def list_runs(root: Path) -> list[RunDir]:
    """All runs below a folder and its sub-folders (a sweep's, for example), in order; follows no links."""
    return [RunDir(path) for path in _walk(root, _DEPTH)]


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    try:
        children = sorted(Path(entry) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for child in children:
        if RunDir(child).exists():
            yield child
        elif depth > 1 and not child.name.startswith("."):
            yield from _walk(child, depth - 1)


def find(root: Path, ref: str) -> RunDir:
    """Find the run that the user typed: a path, a name below ``root``, its unique beginning, or ``latest``.

    Raises:
        UserError: No run, or more than one, is meant.
    """
    named = Path(ref).expanduser()
    for path in (root / ref, named) if ref else ():
        # First: whoever writes a run writes its configuration before this.
        begun = os.path.isfile(RunDir(path).status)
        if RunDir(path).exists():
            return _no_import(RunDir(path))
        if begun:
            raise UserError(f"{path} holds no config.yaml, so it is no run any more; restore that file")
        if os.path.isfile(RunDir(path).lock) and is_starting(RunDir(path)):
            raise UserError(f"{path} is just being started; type this again in some seconds")
    runs = list_runs(root)
    if not runs and not _names_a_folder(ref):
        raise UserError(
            f"there are no runs in {root}; start one with `gipo train`, or name the folder with --runs"
        )
    if ref == LATEST:
        own = [run for run in runs if not run.is_import()] or runs
        return _no_import(max(own, key=lambda run: run.config.stat().st_mtime_ns))
    names = {run.path.relative_to(root).as_posix(): run for run in runs}
    found = [run for run in runs if run.name == ref] or [
        run for name, run in names.items() if ref and (name.startswith(ref) or run.name.startswith(ref))
    ]
    if len(found) == 1:
        return _no_import(found[0])
    if found:
        shown = ", ".join(run.path.relative_to(root).as_posix() for run in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise UserError(
            f"{ref!r} is the beginning of {len(found)} runs: {shown}{more}; type more of the name"
        )
    if ref and os.path.isdir(named):
        inside = next(_walk(named, _DEPTH), None)
        if inside is not None:
            raise UserError(f"{ref} is a folder of runs; name one of them, such as {inside}")
        raise UserError(f"{ref} is not a run folder: it holds no config.yaml")
    near = suggest(ref, names)
    if not near and _names_a_folder(ref):
        raise UserError(f"there is no folder {ref}; `gipo list runs` prints the runs in {root}")
    raise UserError(f"no run {ref!r} in {root}{near}; `gipo list runs` prints them all")
