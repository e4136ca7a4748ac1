"""Attempts: how a run survives a process that was given up for dead and goes on writing.

On a cluster nobody can be sure that the process before has ended, so no two processes ever share a folder.
Every attempt works in ``.sweep/<run>.attempts/<random id>``, which begins as a copy of the furthest state of
any earlier attempt (digests tell where the copy raced with its writer) and becomes the run by one rename when
it is finished: see docs/sweeps.md, "Why nothing is written twice".
"""

from __future__ import annotations

import errno
import secrets
import shutil
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.durable import TEMPORARY, fsync_dir
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.lock import last_beat, run_lock
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.plan import PlannedRun
from gipo_cli.sweep.state import finished_in, places, what_is_lost

OVERTAKEN_SECONDS = 600.0
"""Silence after which an attempt is not counted on any more once another one goes on."""
_COPIES = 10
_NOT_COPIED = (".lock", f"{TEMPORARY}*", ".old-*")


def new_attempt(folder: StudyDir, run: PlannedRun) -> Path:
    """Path for the next attempt, which does not exist until it is filled."""
    parent = folder.attempts(run.name)
    parent.mkdir(parents=True, exist_ok=True)
    return parent / secrets.token_hex(6)


def furthest(folder: StudyDir, run: PlannedRun) -> Path | None:
    """Folder with the furthest checkpoint; the published one if it is as far as any."""

    def step(path: Path) -> int:
        return max(CheckpointStore(RunDir(path).checkpoints).steps(), default=-1)

    return max(places(folder, run.name), key=step, default=None)


def continue_as(source: Path, attempt: Path) -> None:
    """Copy a state into a new attempt, from under a process that may still be writing there.

    Raises:
        RunFailed: It could not be copied.
    """
    saved = RunDir(source).checkpoints
    for _ in range(_COPIES):
        try:
            # Checkpoints first: a table that has grown since can be cut back to them, one that has yet to
            # grow cannot be gone on from.
            if saved.is_dir():  # there is none before the first is saved
                own = RunDir(attempt).checkpoints
                shutil.copytree(saved, own, ignore=shutil.ignore_patterns(*_NOT_COPIED))
            rest = shutil.ignore_patterns(saved.name, *_NOT_COPIED)
            shutil.copytree(source, attempt, ignore=rest, dirs_exist_ok=True)
            return
        except OSError as error:
            shutil.rmtree(attempt, ignore_errors=True)
            # `shutil` gathers what the single files met. A missing file is an old checkpoint that the writer
            # dropped meanwhile: what lies there now is newer.
            gathered = isinstance(error, shutil.Error)
            reasons = [str(why) for _, _, why in error.args[0]] if gathered else [str(error)]
            for reason in reasons:
                if not reason.startswith(f"[Errno {errno.ENOENT}]"):
                    raise RunFailed(f"could not copy {source}: {reason}") from error
    raise RunFailed(f"could not copy {source}: it kept changing")


def publish(folder: StudyDir, run: PlannedRun, attempt: Path) -> None:
    """Make an attempt the run, unless another one already finished it.

    Raises:
        UserError: A live process works in the run's own folder, or it has lost its configuration.
        RunFailed: The disk refused.
    """
    final = folder.run(run.name)
    if finished_in(final, run):
        return
    if lost := what_is_lost(final):
        raise UserError(lost)
    with ExitStack() as stack:
        if final.is_dir():
            stack.enter_context(run_lock(RunDir(final).lock))
            final.rename(folder.attempts(run.name) / f"replaced-{secrets.token_hex(6)}")
        try:
            attempt.rename(final)
        except OSError as error:
            if finished_in(final, run):
                return
            raise RunFailed(f"could not publish {attempt}: {error.strerror or error}") from error
    fsync_dir(folder.path)


def drop_older(folder: StudyDir, run: PlannedRun, *keep: Path) -> None:
    """Remove attempts that were silent for long, except ``keep``, so that they do not pile up."""
    for path in places(folder, run.name):
        if path.parent == folder.attempts(run.name) and path not in keep:
            with suppress(OSError):
                # Every iteration replaces a file of the folder, and the lock beats during a long one.
                heard = max(path.stat().st_ctime, last_beat(RunDir(path).lock))
                if time.time() - heard > OVERTAKEN_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)


def drop_attempts(folder: StudyDir, run: PlannedRun) -> None:
    """Remove what is left of a published run's attempts; a process that still writes there keeps its rest."""
    shutil.rmtree(folder.attempts(run.name), ignore_errors=True)
