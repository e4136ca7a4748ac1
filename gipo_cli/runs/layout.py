"""Where everything of a run lies, how runs are named, and how a run is found again."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gipo_cli.errors import UserError
from gipo_cli.runs.durable import TEMPORARY, fsync_dir

if TYPE_CHECKING:
    from gipo_cli.settings.schema import RunConfig

ROOT_VARIABLE = "GIPO_RUNS"
LATEST = "latest"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+@-]{0,149}")
_DEPTH = 6


@dataclass(frozen=True)
class RunDir:
    """The files of one run; see docs/run-folder.md for what is in them."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    @property
    def config(self) -> Path:
        """Resolved configuration."""
        return self.path / "config.yaml"

    @property
    def overrides(self) -> Path:
        """Overrides as typed, one per line."""
        return self.path / "overrides.txt"

    @property
    def command(self) -> Path:
        """The command line as typed."""
        return self.path / "command.txt"

    @property
    def meta(self) -> Path:
        """Versions, hardware, git state, seeds, protocol."""
        return self.path / "meta.json"

    @property
    def git_diff(self) -> Path:
        """Uncommitted changes, only if there were any."""
        return self.path / "git.diff"

    @property
    def status(self) -> Path:
        """State, step, heartbeat, reason."""
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        """One row per iteration."""
        return self.path / "metrics.csv"

    @property
    def evaluations(self) -> Path:
        """One row per evaluation."""
        return self.path / "eval.csv"

    @property
    def diagnostics(self) -> Path:
        """One row per estimator and measurement."""
        return self.path / "diagnostics.csv"

    @property
    def log(self) -> Path:
        """What was said while it ran."""
        return self.path / "log.txt"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files."""
        return self.path / "tb"

    @property
    def checkpoints(self) -> Path:
        """One folder per checkpoint, and best.json."""
        return self.path / "checkpoints"

    @property
    def lock(self) -> Path:
        """Held by the one process that writes here."""
        return self.path / ".lock"

    def exists(self) -> bool:
        """Whether there is a run here, finished or not."""
        return os.path.isfile(self.config)

    def is_import(self) -> bool:
        """Whether ``gipo import-tb`` made it from another program's records."""
        try:
            return "imported_from" in self.meta.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return False


def runs_root(given: Path | None = None) -> Path:
    """Folder that holds the runs.

    Args:
        given: What ``--runs`` says, if anything.

    Returns:
        That, else the environment variable ``GIPO_RUNS``, else ``runs`` below the current directory.
    """
    return given if given is not None else Path(os.environ.get(ROOT_VARIABLE) or "runs")


def default_name(config: RunConfig, now: datetime | None = None) -> str:
    """Name of a run that the user did not name.

    Args:
        config: The run's configuration.
        now: Time of its start, in any zone; default: this moment.

    Returns:
        ``<env>[-<task>]-<objective>-n<buffer>-s<seed>-<utc yyyymmdd-hhmmss>``.
    """
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

    Args:
        name: What the user typed.

    Raises:
        UserError: It is a path, reserved, too long or holds odd characters.
    """
    if _NAME.fullmatch(name) is None or name == LATEST:
        raise UserError(
            f"{name!r} cannot be a run's name: use at most 150 ASCII letters, digits and . _ = , + @ -, "
            f"starting with a letter or digit (not {LATEST!r}); a folder to put runs in is chosen with --runs"
        )


def create(root: Path, name: str, *, unique: bool = False) -> RunDir:
    """Make a run's folder.

    Args:
        root: Folder that holds the runs; made if missing.
        name: The run's name.
        unique: Append ``-2``, ``-3``, ... when the name is taken; for names that nobody chose.

    Returns:
        The new, empty folder.

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
            if not unique and _abandoned(path):
                RunDir(path).git_diff.unlink(missing_ok=True)
                return RunDir(path)
            if not unique:
                raise UserError(
                    f"{path} already exists and is not overwritten; give another name, or continue it with "
                    f"--resume {name}"
                ) from error
        except OSError as error:
            raise UserError(
                f"cannot create {path}: {error.strerror or error}; name a writable folder with --runs "
                f"or {ROOT_VARIABLE}"
            ) from error
        attempt += 1
        path = root / f"{name}-{attempt}"


def _abandoned(path: Path) -> bool:
    """Whether a start was killed here before its configuration was written: the next may have the name."""
    from gipo_cli.runs.lock import holder

    run = RunDir(path)
    before = {file.name for file in (run.lock, run.overrides, run.command, run.git_diff, run.meta)}
    names = {entry.name for entry in os.scandir(path)} if path.is_dir() else {""}
    leftover = all(name in before or name.startswith(TEMPORARY) for name in names)
    return leftover and holder(run.lock) is None


def list_runs(root: Path) -> list[RunDir]:
    """All runs below a folder.

    Args:
        root: Folder that holds runs, directly or in sub-folders (a sweep's, for example).

    Returns:
        The runs in order of their paths; none if the folder is missing. Links are not followed.
    """
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
    """Resolve what the user typed for RUN.

    Args:
        root: Folder that holds the runs.
        ref: A path, a name below ``root``, the unique beginning of one, or ``latest`` (started last).

    Returns:
        The run.

    Raises:
        UserError: No run, or more than one, is meant.
    """
    named = Path(ref).expanduser()
    for path in (root / ref, named):
        if ref and RunDir(path).exists():
            return _no_import(RunDir(path))
        if ref and os.path.isfile(RunDir(path).status):
            raise UserError(f"{path} holds no config.yaml, so it is no run any more; restore that file")
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
    near = difflib.get_close_matches(ref, names, n=1, cutoff=0.4)
    if not near and _names_a_folder(ref):
        raise UserError(f"there is no folder {ref}; `gipo list runs` prints the runs in {root}")
    hint = f"; did you mean {near[0]!r}?" if near else "; `gipo list runs` prints them all"
    raise UserError(f"no run {ref!r} in {root}{hint}")
