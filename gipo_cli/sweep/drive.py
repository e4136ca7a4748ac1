"""The loop around an engine: watches, shows, stops on a signal, and says how every run ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from gipo_cli.runs.signals import stop_signals
from gipo_cli.sweep.engine import Ended, Engine
from gipo_cli.sweep.estimate import Trial, run_left, seconds_of, speeds_since, together
from gipo_cli.sweep.manifest import StudyDir
from gipo_cli.sweep.plan import PlannedRun
from gipo_cli.sweep.state import RunState, observe
from gipo_cli.sweep.view import View

POLL_SECONDS = 0.1
LOOK_SECONDS = 0.5
STOP_SECONDS = 150.0
"""Time that runs have for their last checkpoint once they were asked to stop."""


@dataclass
class Sweep:
    """One sweep while it goes on.

    Attributes:
        folder: The study's folder.
        runs: All runs of the study.
        engine: What runs them.
        view: Where the states are shown.
        jobs: Runs at a time, for the time left; None: as many as run.
        trials: What was measured of each environment beforehand.
        speeds: Steps per second that earlier runs of each environment came to.
        failed: Why runs failed or were broken off, by name; those stopped by the user are not among them.
        signal: Which signal asked to stop.
    """

    folder: StudyDir
    runs: Sequence[PlannedRun]
    engine: Engine
    view: View
    jobs: int | None
    trials: Mapping[str, Trial]
    speeds: Mapping[str, float]
    failed: dict[str, str] = field(default_factory=dict)
    signal: int | None = None
    _states: dict[str, RunState] = field(default_factory=dict)
    _before: dict[str, RunState] = field(default_factory=dict)
    _stopping_since: float | None = None
    _at_once: bool = False
    _looked: float = 0.0

    def run(self, names: Sequence[str]) -> None:
        """Work until these runs have ended, or until a signal.

        Args:
            names: Runs to work on.
        """
        by_name = {run.name: run for run in self.runs}
        self._states = {run.name: observe(self.folder, run) for run in self.runs}
        self._before = dict(self._states)
        pending = set(names)
        with stop_signals(self._stop), self.view:
            try:
                self.view.update(self._states, None)
                self.engine.submit(names)
                while pending:
                    for ended in self.engine.poll():
                        pending.discard(ended.name)
                        self._take(by_name[ended.name], ended)
                    for note in self.engine.notes():
                        self.view.note(note)
                    if self.signal is not None:
                        self._hurry()
                        pending &= set(self.engine.active())
                    self._look(by_name, pending)
                    time.sleep(POLL_SECONDS)
            finally:
                self.engine.close()
                self._states = {run.name: observe(self.folder, run) for run in self.runs}
                self.view.update(self._states, None)

    @property
    def states(self) -> Mapping[str, RunState]:
        """As last seen."""
        return self._states

    def _take(self, run: PlannedRun, ended: Ended) -> None:
        state = observe(self.folder, run)
        self._states[run.name] = state
        if state.state == "done" or (self.signal is not None and state.state != "failed"):
            return
        # One that was refused before it began leaves the failure of the time before.
        new = state.state == "failed" and state != self._before.get(run.name)
        reason = state.reason if new else ended.how
        self.failed[run.name] = reason or "ended without finishing"
        self.view.note(f"{run.name} failed: {self.failed[run.name]}")

    def _look(self, by_name: Mapping[str, PlannedRun], pending: set[str]) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for name in pending:
            if self._states[name].state != "waiting" or name in self.engine.active():
                self._states[name] = observe(self.folder, by_name[name])
        speeds = {**self.speeds, **speeds_since(self.runs, self._states, self._before)}
        left = [self._run_left(by_name[name], speeds) for name in pending]
        known = [seconds for seconds in left if seconds is not None]
        at_once = self.jobs or sum(state.state == "running" for state in self._states.values()) or 1
        self.view.update(self._states, together(known, at_once) if len(known) == len(left) else None)

    def _run_left(self, run: PlannedRun, speeds: Mapping[str, float]) -> float | None:
        state = self._states[run.name]
        return run_left(state) or seconds_of(run, state, self.trials, speeds)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._at_once = self.signal is not None
        self.signal = self.signal or number

    def _hurry(self) -> None:
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            self.view.note("stopping: the running runs save and end; once more to end them at once")
            self.engine.stop()
        elif self._at_once or time.monotonic() - self._stopping_since > STOP_SECONDS:
            self.engine.kill()
