"""The loop around an engine: watches, shows, stops on a signal, and says how every run ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from gipo_cli.runs.signals import stop_signals
from gipo_cli.sweep.engine import Engine
from gipo_cli.sweep.estimate import Estimate
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.plan import Study
from gipo_cli.sweep.state import RunState, observe, observe_all
from gipo_cli.sweep.view import View

POLL_SECONDS = 0.1
LOOK_SECONDS = 0.5
STOP_SECONDS = 150.0
"""Time that runs have for their last checkpoint once they were asked to stop."""


@dataclass
class Sweep:
    """One execution of a study.

    Attributes:
        folder: The study's folder.
        study: Its plan.
        view: Where the states are shown.
        estimate: What is known of the runs' speed beforehand.
        jobs: Runs at a time, for the time left; None: as many as run.
        states: Of all runs, as last seen.
        failed: Why runs failed or were broken off, by name; those stopped by the user are not among them.
        signal: Which signal asked to stop.
    """

    folder: StudyDir
    study: Study
    view: View
    estimate: Estimate
    jobs: int | None = None
    states: dict[str, RunState] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    signal: int | None = None
    _before: dict[str, RunState] = field(default_factory=dict)
    _stopping_since: float | None = None
    _at_once: bool = False
    _looked: float = 0.0

    def run(self, engine: Engine[Any], names: Sequence[str]) -> None:
        """Work until these runs have ended, or until a signal."""
        self.states = self._before = observe_all(self.folder, self.study.runs)
        pending = set(names)
        with stop_signals(self._stop), self.view.live():
            try:
                self.view.update(self.states, None)
                engine.submit(names)
                while pending:
                    for name, how in engine.poll().items():
                        pending.discard(name)
                        self._take(name, how)
                    while engine.notes:
                        self.view.note(engine.notes.pop(0))
                    if self.signal is not None:
                        self._hurry(engine)
                        pending &= set(engine.active())
                    if time.monotonic() - self._looked >= LOOK_SECONDS:
                        self._looked = time.monotonic()
                        self._look(pending)
                    time.sleep(POLL_SECONDS)
            finally:
                engine.close()
                self.states = observe_all(self.folder, self.study.runs)
                self.view.update(self.states, None)

    def _take(self, name: str, how: str) -> None:
        state = observe(self.folder, next(run for run in self.study.runs if run.name == name))
        self.states = {**self.states, name: state}
        if state.state == "done" or (self.signal is not None and state.state != "failed"):
            return
        # One that was refused before it began leaves the failure of the time before.
        new = state.state == "failed" and state != self._before[name]
        self.failed[name] = (state.reason if new else how) or "ended without finishing"
        self.view.note(f"{name} failed: {self.failed[name]}")

    def _look(self, pending: set[str]) -> None:
        """Show how far the pending runs are."""
        runs = [run for run in self.study.runs if run.name in pending]
        self.states = {**self.states, **observe_all(self.folder, runs)}
        at_once = self.jobs or sum(state.state == "running" for state in self.states.values()) or 1
        estimate = self.estimate.learn(self.study.runs, self.states, self._before)
        self.view.update(self.states, estimate.seconds_left(runs, self.states, at_once))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._at_once = self.signal is not None
        self.signal = self.signal or number

    def _hurry(self, engine: Engine[Any]) -> None:
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            self.view.note("stopping: the running runs save and end; once more to end them at once")
            engine.stop()
        elif self._at_once or time.monotonic() - self._stopping_since > STOP_SECONDS:
            engine.kill()
