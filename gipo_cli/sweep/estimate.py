"""How long a study takes and how many of its runs fit into memory, from earlier runs or a short trial."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Self

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError

from gipo_cli import children
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.durable import read_sealed, write_sealed
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.plan import PlannedRun
from gipo_cli.sweep.state import RunState
from gipo_cli.sweep.worker import ONE_THREAD

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

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seconds: PositiveFloat
    steps: PositiveInt
    start: NonNegativeFloat
    evaluation: NonNegativeFloat
    bytes: PositiveInt

    def run_seconds(self, run: PlannedRun, steps: int) -> float:
        """Time that so many steps of a run take."""
        interval = run.config.eval.interval
        evaluations = 1 if interval is None else -(-steps // interval)
        return self.start + self.seconds * steps / self.steps + self.evaluation * evaluations


@dataclass(frozen=True)
class Estimate:
    """What is known of the speed of a study's runs, by environment.

    Attributes:
        trials: Measured beforehand.
        speeds: Steps per second, evaluations included, of runs that were worked on; counts more than a trial.
    """

    trials: Mapping[str, Trial] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)

    def learn(
        self,
        runs: Sequence[PlannedRun],
        states: Mapping[str, RunState],
        before: Mapping[str, RunState] | None = None,
    ) -> Self:
        """Add the speed of finished runs, or with ``before`` that of all the work done since then."""
        seen: dict[str, tuple[int, float]] = {}
        for run in runs:
            state = states[run.name]
            steps, seconds = state.step, state.seconds
            if before is not None:
                steps, seconds = steps - before[run.name].step, seconds - before[run.name].seconds
            elif state.state != "done":
                continue
            others = seen.get(subject(run), (0, 0.0))
            seen[subject(run)] = others[0] + steps, others[1] + seconds
        least = SETTLED_SECONDS if before is not None else 0.0
        new = {
            name: steps / seconds
            for name, (steps, seconds) in seen.items()
            if steps > 0 and seconds > 0 and seconds >= least
        }
        return replace(self, speeds={**self.speeds, **new})

    def run_seconds(self, run: PlannedRun, state: RunState) -> float | None:
        """Time that the rest of a run takes alone on a core; None if nothing is known."""
        name = subject(run)
        by_speed = {other: state.left / speed for other, speed in self.speeds.items()}
        by_trial = {other: trial.run_seconds(run, state.left) for other, trial in self.trials.items()}
        own = by_speed.get(name, by_trial.get(name))
        others = list((by_speed or by_trial).values())
        return own if own is not None else fmean(others) if others else None

    def seconds_left(
        self, runs: Sequence[PlannedRun], states: Mapping[str, RunState], at_once: int
    ) -> float | None:
        """Time until these runs have ended, so many at a time; None if it cannot be told."""
        left = [states[run.name].seconds_left or self.run_seconds(run, states[run.name]) for run in runs]
        known = [seconds for seconds in left if seconds is not None]
        if at_once < 1 or len(known) < len(left):
            return None
        return max(sum(known) / at_once, max(known, default=0.0))


def subject(run: PlannedRun) -> str:
    """What a run's speed depends on most: the environment."""
    return " ".join(run.config.env.names)


def measure(
    runs: Sequence[PlannedRun], folder: StudyDir, *, keep: bool, here: bool
) -> tuple[dict[str, Trial], list[str]]:
    """Try one run of each environment, the one with the largest buffer, unless that was done before.

    With ``keep`` trials are written to the study's folder. Returns them by environment, and what went wrong.

    Raises:
        UserError: The runs are done ``here``, and one is refused as it is configured; a node of a cluster may
            have what this machine lacks.
    """
    file = folder.private / "trials.json"
    known = _read(file)
    notes = []
    largest = {subject(run): run for run in sorted(runs, key=lambda run: run.config.buffer_size)}
    keys = {
        name: f"{name} {run.config.buffer_size} {run.config.agent.rollout_steps}"
        for name, run in largest.items()
    }
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


def _trial(run: PlannedRun) -> Trial:
    try:
        result = subprocess.run(
            children.command("sweep-worker", "--trial"),
            input=json.dumps(run.config.model_dump(mode="json")).encode(),
            capture_output=True,
            timeout=TRIAL_SECONDS,
            env=children.environment(**ONE_THREAD),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RunFailed(f"a trial of {run.name} took more than {TRIAL_SECONDS:.0f} s; no estimate") from None
    said = ["it said nothing", *result.stderr.decode(errors="replace").strip().splitlines()][-1]
    if result.returncode == 2:
        raise UserError(f"{run.name} cannot run: {said.removeprefix('error: ')}")
    try:
        return Trial.model_validate_json(result.stdout.splitlines()[-1])
    except (IndexError, ValidationError):
        raise RunFailed(f"a trial of {run.name} failed: {said}") from None


def _read(file: Path) -> dict[str, Trial]:
    try:
        return {key: Trial.model_validate(value) for key, value in read_sealed(file).items()}
    except (UserError, ValidationError):
        # Only a saving of time: measured again.
        return {}


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
        UserError: Not even one does.
    """
    fit = int(HEADROOM * free) // need
    if fit < 1:
        raise UserError(
            f"one run needs about {need / 2**30:.1f} GiB and {free / 2**30:.1f} GiB of memory are free; "
            f"lower buffer.size, or free some"
        )
    return fit
