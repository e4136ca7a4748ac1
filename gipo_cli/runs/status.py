"""The one small file that says how a run is doing."""

from __future__ import annotations

import math
import os
import socket
import time
from collections import deque
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.durable import overwrite_sealed, read_sealed, write_sealed
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.lock import SILENT_SECONDS, last_beat

State = Literal["running", "done", "failed", "interrupted"]
BEAT_SECONDS = 3.0
_RATE_WINDOW = 30


class Status(BaseModel):
    """Content of ``status.json``; times are Unix seconds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1] = 1
    state: State = "running"
    reason: str | None = None
    step: int = Field(0, ge=0)
    total_steps: int = Field(ge=1)
    attempt: int = Field(1, ge=1)
    pid: int = Field(default_factory=os.getpid)
    host: str = Field(default_factory=socket.gethostname)
    started: float = Field(default_factory=time.time)
    heartbeat: float = Field(default_factory=time.time)
    ended: float | None = None
    active_seconds: float = Field(0.0, ge=0)
    steps_per_second: float | None = None
    latest: dict[str, float | None] = Field(default_factory=dict)

    @property
    def share(self) -> float:
        """Progress from 0 to 1; the last rollout may reach beyond the budget."""
        return min(1.0, self.step / self.total_steps)


def read_status(path: Path) -> Status:
    """Read a run's status as last written.

    Raises:
        UserError: The file is missing, damaged or of another version.
    """
    try:
        return Status.model_validate(read_sealed(path))
    except ValidationError as error:
        raise UserError(f"{path} is not a status of this version of gipo") from error


def status_or_none(path: Path) -> Status | None:
    """As :func:`read_status`; None where it cannot be read."""
    try:
        return read_status(path)
    except UserError:
        return None


def is_silent(run: RunDir, status: Status) -> bool:
    """Whether nothing was heard of a run for a minute: no iteration ended, and its lock did not beat."""
    return time.time() - max(status.heartbeat, last_beat(run.lock)) > SILENT_SECONDS


def state_now(run: RunDir, status: Status) -> str:
    """Return the state of a run: ``lost`` if it claims to run and has been silent for a minute."""
    return "lost" if status.state == "running" and is_silent(run, status) else status.state


class Rate:
    """Steps per second over the last few reports, pauses for evaluation included."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)

    def report(self, step: int) -> float | None:
        """Take note of a step count; returns steps per second, once there are two different moments."""
        self._points.append((time.monotonic(), step))
        (first, start), (last, end) = self._points[0], self._points[-1]
        return (end - start) / (last - first) if last > first else None


class StatusFile:
    """Keeps ``status.json`` up to date while a run goes on from ``step``."""

    def __init__(self, path: Path, *, total_steps: int, step: int = 0) -> None:
        self._path = path
        self.status = Status(total_steps=total_steps, step=step)
        # The checkpoints, not this file, say what the run is: a damaged status is replaced.
        before = status_or_none(path)
        if before is not None:
            self.status.attempt = before.attempt + 1
            self.status.started = before.started
            self.status.active_seconds = before.active_seconds
            self.status.latest = before.latest
        self._begun, self._active_before = time.monotonic(), self.status.active_seconds
        self._rate = Rate()
        self._rate.report(step)
        self._write()

    def beat(self, step: int, *, latest: dict[str, float | None] | None = None, force: bool = False) -> None:
        """Say that the run is alive; written at most every few seconds.

        Args:
            step: Environment steps done.
            latest: Newest ``return``, ``success``, ``eval_return``, ``eval_success``; kept where absent.
            force: Write now.

        Raises:
            RunFailed: The file could not be written.
        """
        if step != self.status.step:
            self.status.step = step
            self.status.steps_per_second = self._rate.report(step)
        for key, value in (latest or {}).items():
            self.status.latest[key] = _finite(value)
        if force or time.monotonic() - self._written >= BEAT_SECONDS:
            self._write()

    def finish(self, state: State, reason: str | None = None) -> None:
        """Say how it ended, when everything else is on disk."""
        self.status.state = state
        self.status.reason = reason
        self.status.ended = time.time()
        try:
            self._write()
        except RunFailed:
            # A full disk is a likely reason for ending: the old file's own blocks still take a new content.
            overwrite_sealed(self._path, self.status.model_dump(mode="json"))

    def _write(self) -> None:
        # Monotonic, so that a changed clock neither silences nor floods the heartbeat.
        now = time.monotonic()
        self.status.heartbeat = time.time()
        self.status.active_seconds = self._active_before + now - self._begun
        write_sealed(self._path, self.status.model_dump(mode="json"))
        self._written = now


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
