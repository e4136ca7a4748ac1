"""How long a study takes and how many of its runs fit into memory, from earlier runs or a short trial."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean

from pydantic import BaseModel, ConfigDict, ValidationError

from gipo_cli.children import command, environment
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.durable import read_sealed, write_sealed
from gipo_cli.sweep.engine import ONE_THREAD
from gipo_cli.sweep.manifest import StudyDir
from gipo_cli.sweep.plan import PlannedRun
from gipo_cli.sweep.state import RunState

TRIAL_SECONDS = 120.0
TRIALS = 3
"""Environments tried at most; the others are taken to be like their mean."""
SETTLED_SECONDS = 30.0
"""Work of runs after which their speed says more than that of earlier ones, made under other conditions."""
CONTROL_GROUP = Path("/sys/fs/cgroup")
HEADROOM = 0.9
"""Share of the free memory that runs may take."""


class Trial(BaseModel):
    """What a trial of a few iterations measured, in seconds, steps and bytes of one run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float
    steps: int
    start: float
    evaluation: float
    bytes: int

    def run_seconds(self, run: PlannedRun, steps: int) -> float:
        """Time that so many steps of a run take."""
        interval = run.config.eval.interval
        evaluations = 1 if interval is None else -(-steps // interval)
        return self.start + self.seconds * steps / self.steps + self.evaluation * evaluations


def subject(run: PlannedRun) -> str:
    """What a run's speed depends on most: the environment."""
    return " ".join(run.config.env.names)


def measure(
    runs: Sequence[PlannedRun], folder: StudyDir, *, keep: bool, here: bool
) -> tuple[dict[str, Trial], list[str]]:
    """Try one run of each environment, that with the largest buffer, unless that was done before.

    Args:
        runs: Runs that are to be started.
        folder: The study's, where trials are kept.
        keep: Whether to write there.
        here: Whether the runs are done on this machine; a node of a cluster may have what this one lacks.

    Returns:
        Trials by environment, and what went wrong.

    Raises:
        UserError: A run is refused here as it is configured, so that starting it would be of no use.
    """
    file = folder.private / "trials.json"
    known = _read(file)
    notes = []
    largest: dict[str, PlannedRun] = {}
    for run in sorted(runs, key=lambda run: run.config.buffer_size):
        largest[subject(run)] = run
    keys = {name: _key(run) for name, run in largest.items()}
    for name, run in list(largest.items())[:TRIALS]:
        if keys[name] not in known:
            try:
                known[keys[name]] = _trial(run)
            except RunFailed as error:
                notes.append(str(error))
            except UserError as error:
                if here:
                    raise
                notes.append(f"no estimate, for here {error}")
    if keep:
        write_sealed(file, {key: trial.model_dump() for key, trial in known.items()})
    return {name: known[key] for name, key in keys.items() if key in known}, notes


def earlier_trials(folder: StudyDir) -> dict[str, Trial]:
    """Trials by environment that were done before; of several, the one that took the most memory."""
    known = sorted(_read(folder.private / "trials.json").items(), key=lambda item: item[1].bytes)
    return {key.rsplit(" ", 2)[0]: trial for key, trial in known}


def _key(run: PlannedRun) -> str:
    """What a trial is kept under: what memory and speed depend on most."""
    return f"{subject(run)} {run.config.buffer_size} {run.config.agent.rollout_steps}"


def _trial(run: PlannedRun) -> Trial:
    try:
        result = subprocess.run(
            command("sweep-worker", "--calibrate"),
            input=json.dumps(run.config.model_dump(mode="json")).encode(),
            capture_output=True,
            timeout=TRIAL_SECONDS,
            env=environment(**ONE_THREAD),
            check=False,
        )
        if result.returncode == 2:
            said = result.stderr.decode(errors="replace").strip().splitlines()
            raise UserError(f"{run.name} cannot run: {said[-1].removeprefix('error: ')}")
        return Trial.model_validate_json(result.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise RunFailed(f"a trial of {run.name} took more than {TRIAL_SECONDS:.0f} s; no estimate") from None
    except (IndexError, ValidationError):
        said = result.stderr.decode(errors="replace").strip().splitlines()
        raise RunFailed(f"a trial of {run.name} failed: {said[-1] if said else 'it said nothing'}") from None


def _read(file: Path) -> dict[str, Trial]:
    try:
        return {key: Trial.model_validate(value) for key, value in read_sealed(file).items()}
    except (UserError, ValidationError):
        # Only a saving of time: measured again.
        return {}


def seconds_of(
    run: PlannedRun, state: RunState, trials: Mapping[str, Trial], speeds: Mapping[str, float]
) -> float | None:
    """Time that the rest of a run takes alone on a core; None if nothing is known."""
    name = subject(run)
    if name in speeds:
        return state.left / speeds[name]
    if name in trials:
        return trials[name].run_seconds(run, state.left)
    guesses = [trial.run_seconds(run, state.left) for trial in trials.values()]
    return fmean(guesses) if guesses else None


def sweep_left(runs: Sequence[PlannedRun], states: Mapping[str, RunState], folder: StudyDir) -> float | None:
    """Time until a sweep that runs elsewhere has ended, at as many runs at a time as now; None: not known."""
    at_once = sum(state.state == "running" for state in states.values())
    trials, seen = earlier_trials(folder), speeds(runs, states)
    left = []
    for run in runs:
        state = states[run.name]
        if state.state in ("running", "interrupted", "waiting"):
            left.append(run_left(state) or seconds_of(run, state, trials, seen))
    known = [seconds for seconds in left if seconds is not None]
    return together(known, at_once) if at_once and len(known) == len(left) else None


def run_left(state: RunState) -> float | None:
    """Seconds that a running run still needs at its present speed."""
    return state.left / state.speed if state.state == "running" and state.speed else None


def speeds(runs: Sequence[PlannedRun], states: Mapping[str, RunState]) -> dict[str, float]:
    """Steps per second, evaluations included, that earlier runs of each environment came to."""
    seen: dict[str, list[float]] = {}
    for run in runs:
        state = states[run.name]
        if state.state == "done" and state.seconds > 0:
            seen.setdefault(subject(run), []).append(state.step / state.seconds)
    return {name: fmean(values) for name, values in seen.items()}


def speeds_since(
    runs: Sequence[PlannedRun], states: Mapping[str, RunState], before: Mapping[str, RunState]
) -> dict[str, float]:
    """Steps per second, evaluations included, that the runs of each environment came to since then."""
    seen: dict[str, tuple[int, float]] = {}
    for run in runs:
        state, begun = states[run.name], before[run.name]
        steps, seconds = seen.get(subject(run), (0, 0.0))
        seen[subject(run)] = steps + state.step - begun.step, seconds + state.seconds - begun.seconds
    return {
        name: steps / seconds
        for name, (steps, seconds) in seen.items()
        if steps > 0 and seconds >= SETTLED_SECONDS
    }


def together(seconds: Sequence[float], jobs: int) -> float:
    """Time that runs of these lengths take, so many at a time."""
    return max(sum(seconds) / jobs, max(seconds)) if seconds else 0.0


def free_memory() -> int:
    """Bytes that new processes can have: the machine's, or the control group's if that is less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):
        limit, used = ((CONTROL_GROUP / f"memory.{name}").read_text() for name in ("max", "current"))
        kept = dict(line.split() for line in (CONTROL_GROUP / "memory.stat").read_text().splitlines())
        # Pages of files that nobody reads at the moment are given up on demand.
        free = min(free, int(limit) - int(used) + int(kept["inactive_file"]))
    return max(free, 0)


def jobs_that_fit(need: int, free: int) -> int:
    """Runs of so many bytes that fit into the free memory.

    Raises:
        UserError: not even one does.
    """
    fit = int(HEADROOM * free) // need
    if fit < 1:
        raise UserError(
            f"one run needs about {need / 2**30:.1f} GiB and {free / 2**30:.1f} GiB of memory are free; "
            f"lower buffer.size, or free some"
        )
    return fit
