"""What a run of a study is doing, read from its folder alone."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir, not_begun
from gipo_cli.runs.lock import holder
from gipo_cli.runs.status import Status, is_silent, read_status
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.plan import PlannedRun
from gipo_cli.text import printable

State = Literal["waiting", "running", "done", "failed", "interrupted"]
_TAIL_BYTES = 20_000


@dataclass(frozen=True)
class RunState:
    """How far a run is.

    Attributes:
        state: ``waiting``: never started; ``interrupted``: begun and not being worked on, or planned longer
            than it went.
        step: Environment steps done.
        total_steps: As planned.
        speed: Steps per second as last reported.
        success: Newest success rate, from an evaluation if there was one.
        result: Newest return, likewise.
        reason: Why it failed or stopped.
        seconds: Time that processes worked on it, without the pauses between attempts.
    """

    state: State
    step: int
    total_steps: int
    speed: float | None = None
    success: float | None = None
    result: float | None = None
    reason: str | None = None
    seconds: float = 0.0

    @property
    def left(self) -> int:
        """Environment steps to go."""
        return max(self.total_steps - self.step, 0)

    @property
    def seconds_left(self) -> float | None:
        """Time that a running run still needs at its present speed."""
        return self.left / self.speed if self.state == "running" and self.speed else None


def observe(folder: StudyDir, run: PlannedRun) -> RunState:
    """Look at a run's folder and at its attempts that are not published yet."""
    statuses = [(path, status) for path in places(folder, run.name) if (status := _status(path))]
    if lost := what_is_lost(folder.run(run.name)):
        return RunState("failed", 0, run.total_steps, reason=lost)
    if not statuses:
        return RunState("waiting", 0, run.total_steps)
    path, status = max(statuses, key=lambda pair: (_is_finished(pair[1], run), pair[1].heartbeat))
    latest = status.latest
    success, result = latest.get("eval_success"), latest.get("eval_return")
    return RunState(
        state=_state(folder, run, path, status),
        step=status.step,
        total_steps=run.total_steps,
        speed=status.steps_per_second,
        success=latest.get("success") if success is None else success,
        result=latest.get("return") if result is None else result,
        reason=status.reason and printable(status.reason),
        seconds=status.active_seconds,
    )


def observe_all(folder: StudyDir, runs: Iterable[PlannedRun]) -> dict[str, RunState]:
    """States of runs by name, in their order."""
    return {run.name: observe(folder, run) for run in runs}


def places(folder: StudyDir, name: str) -> list[Path]:
    """Folders in which a run's state may lie: the published one first, then its attempts."""
    attempts = folder.attempts(name)
    try:
        found = sorted(attempts.iterdir())
    except FileNotFoundError:  # there was none, or its run was finished just now
        found = []
    return [path for path in (folder.run(name), *found) if RunDir(path).exists()]


def what_is_lost(path: Path) -> str | None:
    """Say so if a folder holds a run's data without its configuration, which nobody may train over."""
    # In this order: its process may be making it meanwhile.
    if not_begun(path) or RunDir(path).exists() or not path.is_dir():
        return None
    return f"{RunDir(path).config} is missing; restore it, or move that folder away to train the run anew"


def finished_in(path: Path, run: PlannedRun) -> bool:
    """Whether the run's planned steps are done in this folder."""
    status = _status(path) if RunDir(path).exists() else None
    return status is not None and _is_finished(status, run)


def holder_of(folder: StudyDir, name: str) -> dict[str, Any] | None:
    """Lock record of the process that works on a run in its folder now, as far as this host can tell.

    A process of another host, or of this one before its name changed, may be dead: its beat tells.
    """
    records = map(holder, (folder.claim(name), RunDir(folder.run(name)).lock))
    return next((record for record in records if record is not None), None)


def last_words(folder: StudyDir, name: str, lines: int = 5) -> list[str]:
    """The end of what the run's newest process printed, else of the run's log."""
    logs = [RunDir(path).log for path in places(folder, name)]
    printed = [folder.output(name), *folder.attempts(name).glob("*.out")]
    for file in (*sorted(printed, key=_modified, reverse=True), *reversed(logs)):
        if not file.is_file():
            continue
        try:
            with file.open("rb") as handle:
                handle.seek(max(file.stat().st_size - _TAIL_BYTES, 0))
                text = handle.read().decode(errors="replace")
        except OSError:
            continue
        if said := [printable(line.rstrip()) for line in text.splitlines() if line.strip()]:
            return said[-lines:]
    return []


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _state(folder: StudyDir, run: PlannedRun, path: Path, status: Status) -> State:
    if status.state == "running":
        # A lock tells at once, a heartbeat only after a while; an attempt's process may be on any host.
        if path == folder.run(run.name):
            record = holder_of(folder, run.name)
            if record is None or record.get("host") == socket.gethostname():
                return "running" if record else "interrupted"
        return "interrupted" if is_silent(RunDir(path), status) else "running"
    return "interrupted" if status.state == "done" and not _is_finished(status, run) else status.state


def _is_finished(status: Status, run: PlannedRun) -> bool:
    return status.state == "done" and status.step >= run.total_steps


def _status(path: Path) -> Status | None:
    try:
        return read_status(RunDir(path).status)
    except UserError:
        return None
