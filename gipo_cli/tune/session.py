"""What ``gipo tune`` does: say the budget, run a search stage by stage, and write what it found."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from gipo_cli.compare.files import DamagedFile
from gipo_cli.compare.tables import read_csv
from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir, check_name
from gipo_cli.runs.machine import typed_command
from gipo_cli.settings.compose import compose
from gipo_cli.settings.grid import expand
from gipo_cli.settings.overrides import parse_overrides
from gipo_cli.streams import lasting_console
from gipo_cli.sweep.folder import StudyDir, check_same, read_study, write_study
from gipo_cli.sweep.options import Options
from gipo_cli.sweep.plan import PlannedRun, Study
from gipo_cli.sweep.session import Session, held
from gipo_cli.sweep.state import observe, observe_all
from gipo_cli.text import duration
from gipo_cli.tune.report import print_results, write_results
from gipo_cli.tune.search import Search, Walk
from gipo_cli.tune.space import Dimension, own_knob, split
from gipo_cli.tune.trials import Outcome

SEEDS = "seed=1,2"


def tune(
    overrides: Sequence[str],
    *,
    root: Path,
    name: str | None,
    config_dirs: Sequence[Path],
    options: Options,
    trials: int,
    batch: int,
    prune: bool,
    dry_run: bool,
) -> int:
    """Search for settings below ``root``, or continue a search; one after the other for several objectives.

    Returns:
        Exit code: 0 finished, 1 all trials of a stage failed, 130 or 143 stopped by a signal.

    Raises:
        UserError: The search cannot be run as typed; nothing was started.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UserError("Optuna is not installed; type: pip install optuna")
    options.check()
    searches = plan_searches(overrides, trials, batch, prune, config_dirs)
    typed = (*overrides, f"--batch={batch}", *([] if prune else ["--no-pruning"]))
    name = name or f"tune-{hashlib.sha256(repr(typed).encode()).hexdigest()[:8]}"
    check_name(name)
    folders = {one: StudyDir(root / (name if len(searches) == 1 else f"{name}-{one}")) for one in searches}
    console = lasting_console()
    executions = [
        _Execution(search, folders[one], typed, options, console) for one, search in searches.items()
    ]
    for execution in executions:
        execution.begin()
    codes = (execution.preview() if dry_run else execution.run() for execution in executions)
    return next(filter(None, codes), 0)


def plan_searches(
    words: Sequence[str], trials: int, batch: int, prune: bool = True, config_dirs: Sequence[Path] = ()
) -> dict[str, Search]:
    """A checked search for each objective, all with the same budget.

    Raises:
        UserError: A mistake in the settings or in a range.
    """
    fixed, space = split(words)
    parsed = {str(override.key_or_group): override for override in parse_overrides(fixed)}
    if "study" in parsed:
        raise UserError("a study names its runs and a search draws them; leave study= out")
    if deleted := [line for line in fixed if line.startswith("~")]:
        raise UserError(f"{deleted[0]!r} cannot be kept in a file of settings; set a value instead")
    if "seed" not in parsed:
        fixed.append(SEEDS)
    cells: dict[str, list[tuple[str, ...]]] = {}
    for cell in expand(fixed, config_dirs=config_dirs):
        objective = compose(cell, config_dirs=config_dirs).config.objective.name
        cells.setdefault(objective, []).append(tuple(cell))
    searches = {
        objective: Search(
            tuple(own), _space_of(objective, space, len(cells)), trials, batch, prune, tuple(config_dirs)
        )
        for objective, own in cells.items()
    }
    # Alike: where one has fewer values than trials, all make do with so many.
    trials = int(min(trials, *(search.size for search in searches.values())))
    searches = {objective: replace(search, trials=trials) for objective, search in searches.items()}
    for search in searches.values():
        search.check()
    return searches


def _space_of(objective: str, space: Sequence[Dimension], objectives: int) -> tuple[Dimension, ...]:
    """What is searched for an objective; of several, each has its own parameters alone, as in a sweep."""
    knobs = OBJECTIVES[objective].model_fields
    found = tuple(one for one in space if not one.knob or one.knob in knobs or objectives == 1)
    if space and not found:
        raise UserError(
            f"nothing that was typed can be searched for {objective}; add a setting, or leave it out"
        )
    return found or (own_knob(objective),)


@dataclass(frozen=True)
class _Execution:
    """One search, worked on in its folder."""

    search: Search
    folder: StudyDir
    lines: tuple[str, ...]
    options: Options
    console: Console

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begin(self) -> None:
        """Say what is spent, and refuse another search's folder."""
        self._check_same(self._walk())
        self.say(self._budget())

    def preview(self) -> int:
        """Say what would be done, without writing anything."""
        walk = self._walk()
        if walk.stage:
            session = self._session(walk)
            todo, estimate, jobs = session.announce(keep=False)
            states = observe_all(self.folder, todo)
            seconds = estimate.seconds_left(todo, states, jobs or 1)
            steps = sum(state.left for state in states.values())
            if seconds and steps:
                whole = duration(seconds / steps * self.search.steps)
                self.say(f"the whole search takes about {whole} at that speed")
        self.say(f"nothing was written; the search's folder would be {self.folder.path}")
        return 0

    def run(self) -> int:
        """Work on the search until it is over, and write what it found."""
        with held(self.folder):
            walk = self._walk()
            self._check_same(walk)
            while walk.stage:
                write_study(self.folder, self._study(walk), command=shlex.join(typed_command()))
                code, _ = self._session(walk).work()
                if code > 1:
                    return code
                before, walk = walk, self._walk()
                if walk.stage == before.stage:
                    self.say(
                        "the search stops here because runs ended early or a whole round failed; type the "
                        "same command again to go on, with --retry-failed to try failed runs again"
                    )
                    return 1
            write_results(self.folder.path, self.search, walk.over)
        print_results(self.folder.path, self.search, walk.over, self.console)
        return 0

    def _walk(self) -> Walk:
        return self.search.walk(lambda run: look(self.folder, run))

    def _session(self, walk: Walk) -> Session:
        runs = tuple(run for trial in walk.stage for run in trial.runs)
        study = replace(self._study(walk), runs=runs)
        return Session(study, self.folder, self.options, self.console)

    def _study(self, walk: Walk) -> Study:
        """Everything planned so far; what a deleted run had led to stays planned."""
        before = read_study(self.folder, imports=False).runs if self.folder.manifest.exists() else ()
        runs = {run.name: run for run in before} | walk.planned
        return Study(self.folder.path.name, self.lines, tuple(runs.values()), self.options.allow_changes)

    def _check_same(self, walk: Walk) -> None:
        """Refuse the folder of another search."""
        study = Study(self.folder.path.name, self.lines, tuple(walk.planned.values()))
        if not self.folder.manifest.exists():
            check_same(self.folder, study)
            return
        before = read_study(self.folder, imports=False)
        if before.overrides != self.lines:
            raise UserError(
                f"{self.folder.path} was made by another search: {shlex.join(before.overrides)} there, "
                f"{shlex.join(self.lines)} here; choose another folder with --name"
            )
        if any(old.name != new.name for old, new in zip(before.runs, study.runs, strict=False)):
            raise UserError(
                f"{self.folder.path} holds other trials than this search draws, as other versions, "
                "configuration files or changed runs make it; choose another folder with --name"
            )

    def _budget(self) -> str:
        """How much is spent, in words."""
        search = self.search
        n, last = len(search.cells), min(search.batch, search.trials)
        stages = ", ".join(f"{trials} to {steps:,}" for trials, steps in search.round(last))
        full = search.trials * n * search.round(1)[-1][1]
        return (
            f"{self.folder.path.name}: {search.trials} trials of {n} run{'s each' if n > 1 else ''} over "
            f"{', '.join(one.key for one in search.space)}\n"
            f"each round of {last} trials: {stages} steps; {search.steps:,} in all"
            + (f" ({full:,} without pruning)" if search.prune else "")
        )


def look(folder: StudyDir, run: PlannedRun) -> Outcome | None:
    """What a run came to at its planned steps: the evaluation that ended them, or a failure before that.

    Raises:
        UserError: Its evaluations cannot be read.
    """
    file = RunDir(folder.run(run.name)).evaluations
    if file.exists():
        try:
            table = read_csv(file, ("success", "return_mean"), still_written=True).numbers
        except DamagedFile as error:
            raise UserError(f"{file.parent}: {error}; restore it, or move that folder away") from error
        for step, success, returned in zip(
            table["step"], table["success"], table["return_mean"], strict=True
        ):
            if step >= run.total_steps:
                return Outcome(None if math.isnan(success) else float(success), float(returned))
    return Outcome() if observe(folder, run).state == "failed" else None
