"""What ``gipo sweep`` does: plan a study, say how long it takes, run what is not done, and sum up."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from gipo_cli.errors import UserError
from gipo_cli.runs.durable import fsync_dir, refuse_links, remove_leftovers
from gipo_cli.runs.lock import run_lock
from gipo_cli.runs.machine import typed_command
from gipo_cli.streams import lasting_console
from gipo_cli.sweep.drive import Sweep
from gipo_cli.sweep.estimate import Estimate, Trial, earlier_trials, free_memory, jobs_that_fit, measure
from gipo_cli.sweep.folder import StudyDir, check_same, read_study, write_study
from gipo_cli.sweep.options import Options
from gipo_cli.sweep.plan import PlannedRun, Study, plan
from gipo_cli.sweep.state import RunState, last_words, observe_all
from gipo_cli.sweep.view import View, counts, table
from gipo_cli.sweep.worker import printable_command
from gipo_cli.text import duration

Summary = Callable[[Sequence[str], Console], None]
"""Prints the results of a study's folder."""


def run_study(
    overrides: Sequence[str],
    *,
    root: Path,
    name: str | None,
    config_dirs: Sequence[Path],
    options: Options,
    dry_run: bool,
    print_commands: bool,
    summary: Summary,
) -> int:
    """Run a study of these overrides below ``root``, or continue it.

    With ``dry_run`` the plan is shown and nothing is written; with ``print_commands`` the plan is written and
    one command per unfinished run is printed.

    Returns:
        Exit code: 0 all finished, 1 some failed, 130 or 143 stopped by a signal.

    Raises:
        UserError: The sweep cannot be run as typed; nothing was started.
    """
    options.check()
    study = plan(overrides, name=name, config_dirs=config_dirs)
    study = replace(study, allow_changes=options.allow_changes)
    folder = StudyDir(root / study.name)
    session = Session(study, folder, options, lasting_console())
    check_same(folder, study)
    if dry_run:
        session.announce(keep=False)
        session.say(f"nothing was written; the study's folder would be {folder.path}")
        return 0
    with held(folder):
        # Looked at again: a sweep that ended just now may have left other runs.
        check_same(folder, study)
        if not folder.manifest.exists() and any(folder.run(run.name).exists() for run in study.runs):
            session.say(f"{folder.manifest} is missing; it is written anew for the runs that are here")
        write_study(folder, study, command=shlex.join(typed_command()))
        if print_commands:
            for run in session.unfinished(observe_all(folder, study.runs)):
                session.console.file.write(printable_command(folder, run.name) + "\n")
            return 0
        return session.run(summary)


@contextmanager
def held(folder: StudyDir) -> Iterator[None]:
    """Make a study's folder if it is not there, and hold its lock.

    Raises:
        UserError: It cannot be made, holds a link, or another sweep works there.
    """
    refuse_links(folder.path, but=folder.submitted)
    try:
        folder.private.mkdir(parents=True, exist_ok=True)
        fsync_dir(folder.path.parent)
    except OSError as error:
        raise UserError(
            f"cannot create {folder.path}: {error.strerror or error}; choose a folder with --runs"
        ) from error
    with run_lock(folder.lock):
        remove_leftovers(folder.private)
        yield


def show_status(ref: str, root: Path) -> None:
    """Print what the runs of a study are doing; it is named, below ``root``, or its folder is given.

    Raises:
        UserError: There is no such study.
    """
    found = [folder for folder in map(StudyDir, (root / ref, Path(ref))) if folder.manifest.exists()]
    if not found:
        for folder in map(StudyDir, (root / ref, Path(ref))):
            if folder.private.is_dir():
                raise UserError(
                    f"{folder.manifest} is missing; restore it, or write it anew with the study's command"
                )
        known = sorted(path.parent.name for path in root.glob("*/study.json"))
        raise UserError(f"there is no study {ref!r} in {root}; there are: {', '.join(known) or 'none'}")
    study = read_study(found[0], imports=False)
    states = observe_all(found[0], study.runs)
    going = [run for run in study.runs if states[run.name].state not in ("done", "failed")]
    at_once = sum(state.state == "running" for state in states.values())
    estimate = Estimate(earlier_trials(found[0])).learn(study.runs, states)
    console = Console(highlight=False)
    left = estimate.seconds_left(going, states, at_once)
    console.print(table(study.name, states, left, width=console.width))


@dataclass(frozen=True)
class Session:
    """One execution of a study, and what is said of it."""

    study: Study
    folder: StudyDir
    options: Options
    console: Console

    def say(self, text: str) -> None:
        """Print a line as it is."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def unfinished(self, states: Mapping[str, RunState]) -> list[PlannedRun]:
        """Runs that this sweep has to do."""
        over = ("done",) if self.options.retry_failed else ("done", "failed")
        return [run for run in self.study.runs if states[run.name].state not in over]

    def announce(self, *, keep: bool) -> tuple[list[PlannedRun], Estimate, int | None]:
        """Say what will be done, how long it may take and how many runs go at a time."""
        states = observe_all(self.folder, self.study.runs)
        todo = self.unfinished(states)
        self.console.print(table(self.study.name, states, width=self.console.width))
        kinds = [state.state for state in states.values()]
        if finished := kinds.count("done"):
            self.say(f"{finished} of {len(kinds)} runs are finished and skipped")
        if (failed := kinds.count("failed")) and not self.options.retry_failed:
            self.say(f"{failed} failed before and are left alone; try them again with --retry-failed")
        if not todo:
            return [], Estimate(), self.options.jobs
        trials, notes = measure(todo, self.folder, keep=keep, here=self.options.here)
        for note in notes:
            self.say(note)
        jobs = self._at_once(todo, trials)
        estimate = Estimate(trials).learn(self.study.runs, states)
        words = "as many at a time as the cluster grants" if jobs is None else f"{jobs} at a time"
        parts = [f"{len(todo)} runs to do", words]
        # Runs that somebody works on now are counted by what is known beforehand, like the others.
        states = {name: replace(state, speed=None) for name, state in states.items()}
        seconds = estimate.seconds_left(todo, states, jobs or 1)
        if seconds is not None:
            source = "earlier runs" if estimate.speeds else "a short trial"
            alone = " one after the other" if jobs is None else ""
            parts.append(f"about {duration(seconds)}{alone} (from {source})")
        self.say(", ".join(parts))
        return todo, estimate, jobs

    def work(self) -> tuple[int, Mapping[str, RunState]]:
        """Do what is not done and say how it ended; returns the exit code and the runs' states."""
        todo, estimate, jobs = self.announce(keep=True)
        sweep = Sweep(self.folder, self.study, View(self.study.name, self.console), estimate, jobs)
        if todo:
            sweep.run(self.options.start(self.folder, self.study, jobs), [run.name for run in todo])
        states = sweep.states or observe_all(self.folder, self.study.runs)
        failed = {name: state.reason or "failed" for name, state in states.items() if state.state == "failed"}
        failed |= sweep.failed
        self.say(f"\n{self.study.name}: {counts(states)}")
        for name, reason in failed.items():
            self.say("\n    ".join([f"{name}: {reason}", *last_words(self.folder, name)]))
        if sweep.signal is not None:
            self.say("stopped; type the same command again to go on")
            return 128 + sweep.signal, states
        return int(bool(failed)), states

    def run(self, summary: Summary) -> int:
        """Do what is not done and sum up; returns the exit code."""
        code, states = self.work()
        if code > 1:
            return code
        if code:
            self.say("type the same command again to go on, with --retry-failed to try failed runs again")
        if any(state.state == "done" for state in states.values()):
            path = str(self.folder.path)
            try:
                summary([path], self.console)
            except UserError as error:
                # A study of one run, for example, leaves nothing to compare.
                self.say(f"\n{error}\ngipo list runs --runs {shlex.quote(path)}")
            else:
                self.say(f"\ngipo compare {shlex.quote(path)}")
        return code

    def _at_once(self, todo: Sequence[PlannedRun], trials: Mapping[str, Trial]) -> int | None:
        """Runs at a time that there are cores and memory for; None: as many as the cluster grants."""
        options = self.options
        if not options.here:
            return options.jobs and min(options.jobs, len(todo))
        cores = max(options.cpus, *map(_cores, todo))
        jobs = min(options.jobs or max(len(os.sched_getaffinity(0)) // cores, 1), len(todo))
        if not trials:
            return jobs
        need, free = max(trial.bytes for trial in trials.values()), free_memory()
        fit = jobs_that_fit(need, free)
        if fit < jobs:
            self.say(
                f"{fit} at a time instead of {jobs}: each needs about {need / 2**30:.1f} GiB and "
                f"{free / 2**30:.1f} GiB of memory are free",
            )
        return min(fit, jobs)


def _cores(run: PlannedRun) -> int:
    """Cores that a run keeps busy here."""
    env, actors = run.config.env, run.config.actors
    stepping = env.n_envs if env.vector == "subproc" else 1
    if actors.kind == "processes":
        return run.config.runtime.torch_threads + actors.n * stepping
    return max(run.config.runtime.torch_threads, stepping)
