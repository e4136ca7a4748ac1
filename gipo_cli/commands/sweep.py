"""``gipo sweep``: a study as one command that can be broken off anywhere and typed again. Wiring only."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from gipo_cli.errors import UserError
from gipo_cli.runs.durable import fsync_dir, remove_leftovers
from gipo_cli.runs.lock import RunLock
from gipo_cli.runs.manifest import typed_command
from gipo_cli.sweep import estimate
from gipo_cli.sweep.drive import Sweep
from gipo_cli.sweep.engine import Engine, printable_command
from gipo_cli.sweep.estimate import Trial
from gipo_cli.sweep.local import LocalEngine
from gipo_cli.sweep.manifest import StudyDir, check_same, read_study, write_study
from gipo_cli.sweep.options import Options
from gipo_cli.sweep.plan import PlannedRun, Study, plan
from gipo_cli.sweep.state import RunState, last_words, observe
from gipo_cli.sweep.view import View, counts, duration, failures, table


def sweep(
    overrides: Sequence[str],
    *,
    root: Path,
    name: str | None,
    config_dirs: Sequence[Path],
    options: Options,
    dry_run: bool,
    print_commands: bool,
    console: Console | None = None,
) -> int:
    """Run a study, or go on with it.

    Args:
        overrides: Hydra's sweep grammar, and ``study=NAME``.
        root: Folder that holds the runs.
        name: The study's name.
        config_dirs: The user's own configuration folders.
        options: How to run it.
        dry_run: Show the plan and stop; nothing is written.
        print_commands: Write the plan, print one command per unfinished run, and stop.
        console: Where to; default: standard output.

    Returns:
        Exit code: 0 all finished, 1 some failed, 130 or 143 stopped by a signal.

    Raises:
        UserError: The sweep cannot be run as typed; nothing was started.
    """
    console = console or Console(highlight=False)
    options.check()
    study = plan(overrides, name=name, config_dirs=config_dirs)
    study = replace(study, allow_changes=options.allow_changes)
    folder = StudyDir(root / study.name)
    check_same(folder, study)
    if dry_run:
        todo = _todo(study, _observed(folder, study), options)
        _announce(console, study, folder, todo, options, kept=False)
        _say(console, f"nothing was written; the study's folder would be {folder.path}")
        return 0
    _make(folder)
    with RunLock(folder.lock):
        remove_leftovers(folder.private)
        # Looked at again: a sweep that ended just now may have left other runs.
        check_same(folder, study)
        write_study(folder, study, command=shlex.join(typed_command()))
        todo = _todo(study, _observed(folder, study), options)
        if print_commands:
            for run in todo:
                console.file.write(printable_command(folder, run.name) + "\n")
            return 0
        trials, jobs = _announce(console, study, folder, todo, options, kept=True)
        return _run(console, study, folder, todo, options, trials, jobs)


def show_status(ref: str, *, root: Path, console: Console | None = None) -> int:
    """Print what the runs of a study are doing, from any terminal.

    Args:
        ref: The study's name below ``root``, or its folder.
        root: Folder that holds the runs.
        console: Where to; default: standard output.

    Returns:
        Exit code 0.

    Raises:
        UserError: There is no such study.
    """
    console = console or Console(highlight=False)
    folder = next(
        (StudyDir(path) for path in (root / ref, Path(ref)) if StudyDir(path).manifest.exists()), None
    )
    if folder is None:
        known = sorted(path.parent.name for path in root.glob("*/study.json"))
        raise UserError(f"there is no study {ref!r} in {root}; there are: {', '.join(known) or 'none'}")
    study = read_study(folder, imports=False)
    states = _observed(folder, study)
    left = estimate.sweep_left(study.runs, states, folder)
    console.print(table(study.name, states, left, width=console.width))
    return 0


def _make(folder: StudyDir) -> None:
    try:
        folder.private.mkdir(parents=True, exist_ok=True)
        fsync_dir(folder.path.parent)
    except OSError as error:
        raise UserError(
            f"cannot create {folder.path}: {error.strerror or error}; choose a folder with --runs"
        ) from error


def _observed(folder: StudyDir, study: Study) -> dict[str, RunState]:
    return {run.name: observe(folder, run) for run in study.runs}


def _todo(study: Study, states: Mapping[str, RunState], options: Options) -> list[PlannedRun]:
    over = ("done",) if options.retry_failed else ("done", "failed")
    return [run for run in study.runs if states[run.name].state not in over]


def _announce(
    console: Console,
    study: Study,
    folder: StudyDir,
    todo: Sequence[PlannedRun],
    options: Options,
    *,
    kept: bool,
) -> tuple[Mapping[str, Trial], int | None]:
    """Say what will be done, how long it may take and how many runs go at a time."""
    states = _observed(folder, study)
    console.print(table(study.name, states, width=console.width))
    finished = sum(state.state == "done" for state in states.values())
    failed = sum(state.state == "failed" for state in states.values())
    if finished:
        _say(console, f"{finished} of {len(study.runs)} runs are finished and skipped")
    if failed and not options.retry_failed:
        _say(console, f"{failed} failed before and are left alone; try them again with --retry-failed")
    if not todo:
        return {}, options.jobs
    trials, notes = estimate.measure(todo, folder, keep=kept, here=options.here)
    for note in notes:
        _say(console, note)
    jobs = _at_once(console, options, trials, len(todo), max(options.cpus, *map(_cores, todo)))
    speeds = estimate.speeds(study.runs, states)
    each = [estimate.seconds_of(run, states[run.name], trials, speeds) for run in todo]
    known = [seconds for seconds in each if seconds is not None]
    parts = [
        f"{len(todo)} runs to do",
        "as many at a time as the cluster grants" if jobs is None else f"{jobs} at a time",
    ]
    if len(known) == len(each):
        source = "earlier runs" if speeds else "a short trial"
        alone = " one after the other" if jobs is None else ""
        parts.append(f"about {duration(estimate.together(known, jobs or 1))}{alone} (from {source})")
    _say(console, ", ".join(parts))
    return trials, jobs


def _cores(run: PlannedRun) -> int:
    """Cores that a run keeps busy here."""
    env = run.config.env
    return max(run.config.runtime.torch_threads, env.n_envs if env.vector == "subproc" else 1)


def _at_once(
    console: Console, options: Options, trials: Mapping[str, Trial], most: int, cores: int
) -> int | None:
    """Runs at a time that there are cores and memory for; None: as many as the cluster grants."""
    if not options.here:
        return options.jobs and min(options.jobs, most)
    jobs = min(options.jobs or max(len(os.sched_getaffinity(0)) // cores, 1), most)
    return _fitting(console, jobs, max(trial.bytes for trial in trials.values())) if trials else jobs


def _fitting(console: Console, jobs: int, need: int) -> int:
    free = estimate.free_memory()
    fit = estimate.jobs_that_fit(need, free)
    if fit < jobs:
        _say(
            console,
            f"{fit} at a time instead of {jobs}: each needs about {need / 2**30:.1f} GiB and "
            f"{free / 2**30:.1f} GiB of memory are free",
        )
    return min(fit, jobs)


def _run(
    console: Console,
    study: Study,
    folder: StudyDir,
    todo: Sequence[PlannedRun],
    options: Options,
    trials: Mapping[str, Trial],
    jobs: int | None,
) -> int:
    states = _observed(folder, study)
    going = Sweep(
        folder,
        study.runs,
        _engine(folder, options, jobs),
        View(study.name, console),
        jobs,
        trials,
        estimate.speeds(study.runs, states),
    )
    if todo:
        going.run([run.name for run in todo])
        states = dict(going.states)
    return _conclude(console, study, folder, states, going)


def _engine(folder: StudyDir, options: Options, jobs: int | None) -> Engine:
    if options.engine == "ray":
        from gipo_cli.sweep.on_ray import RayEngine

        return RayEngine(folder, address=options.address, cpus=options.cpus, gpus=options.gpus, jobs=jobs)
    if options.engine == "slurm":
        from gipo_cli.sweep.on_slurm import SlurmEngine

        return SlurmEngine(folder, cpus=options.cpus, gpus=options.gpus, jobs=jobs, options=options.slurm)
    return LocalEngine(folder, jobs or 1)


def _conclude(
    console: Console, study: Study, folder: StudyDir, states: Mapping[str, RunState], going: Sweep
) -> int:
    failed = dict(going.failed)
    for name, state in states.items():
        if state.state == "failed":
            failed.setdefault(name, state.reason or "failed")
    _say(console, f"\n{study.name}: {counts(states)}")
    for line in failures(failed, {name: last_words(folder, name) for name in failed}):
        _say(console, line)
    if going.signal is not None:
        _say(console, "stopped; type the same command again to go on")
        return 128 + going.signal
    if failed:
        _say(console, "type the same command again to go on, with --retry-failed to try failed runs again")
    if any(state.state == "done" for state in states.values()):
        _results(console, folder)
    return 1 if failed else 0


def _results(console: Console, folder: StudyDir) -> None:
    from gipo_cli.commands.compare import print_summary

    try:
        print_summary([str(folder.path)], console)
    except UserError as error:
        # A study of one run, for example, leaves nothing to compare.
        _say(console, f"\n{error}\ngipo list runs --runs {shlex.quote(str(folder.path))}")
    else:
        _say(console, f"\ngipo compare {shlex.quote(str(folder.path))}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
