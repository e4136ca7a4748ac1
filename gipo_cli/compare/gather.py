"""From what lies at some paths to a comparison, with the runs that studies planned and that are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from gipo_cli.compare.comparison import Comparison, build_comparison
from gipo_cli.compare.criterion import SHORT_NAMES, find_criterion
from gipo_cli.compare.filters import filter_runs, predicate
from gipo_cli.compare.load import LeftOut, Value, flat_settings, read_runs
from gipo_cli.compare.parallel import worth
from gipo_cli.compare.search import Found
from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir
from gipo_cli.sweep.folder import StudyDir, read_study
from gipo_cli.sweep.state import RunState, observe, places


def gather(
    found: Found,
    *,
    filters: Sequence[str] = (),
    metric: str | None = None,
    processes: int | None = None,
    console: Console | None = None,
    **options: Any,
) -> Comparison:
    """Read, filter and group runs.

    Args:
        found: as `search` finds it. Runs that a study there planned and that have no folder are left out
            with what they are doing.
        filters: ``key=value`` or ``key!=value``, all of which a run must pass.
        metric: ``success``, ``return``, or any column of ``eval.csv`` or ``metrics.csv``; by default success,
            or return if no run reports success.
        processes: how many to read with; by default as many as so many runs are worth.
        console: where to show progress.
        options: as for `build_comparison`.

    Raises:
        UserError: nothing to compare.
    """
    column = SHORT_NAMES.get(metric or "", metric or "")
    workers = processes or worth(len(found.runs), sum(map(_size, found.runs)))
    runs, damaged = read_runs(found.runs, extra_column=column, workers=workers, console=console)
    if not runs:
        raise UserError(
            f"None of {len(found.runs)} run folders can be read; {damaged[0].path}: {damaged[0].reason}."
        )
    kept = filter_runs(runs, filters)
    missing = _missing(found.studies, set(found.runs), predicate(filters, runs))
    return build_comparison(kept, find_criterion(metric, kept), unread=[*damaged, *missing], **options)


def _size(run: Path) -> int:
    try:
        return (run / "metrics.csv").stat().st_size
    except OSError:
        return 0


def _missing(
    studies: Sequence[Path], folders: set[Path], passes: Callable[[Mapping[str, Value]], bool]
) -> Iterator[LeftOut]:
    """Runs that studies planned and that have no folder, as far as their configuration passes."""
    for study in map(StudyDir, studies):
        try:
            planned = read_study(study, imports=False).runs
        except UserError as error:
            reason = f"which of its runs are missing is not known: {error}"
            yield LeftOut(study.manifest, reason, kind="plan")
            continue
        for run in planned:
            path = study.run(run.name)
            there = RunDir(path).exists() or not folders.isdisjoint(places(study, run.name))
            if not there and passes(flat_settings(run.config.model_dump(mode="json"))):
                yield _without_folder(path, observe(study, run))


def _without_folder(path: Path, seen: RunState) -> LeftOut:
    if seen.state == "waiting":
        return LeftOut(path, "not begun", kind="planned")
    if seen.state == "done":
        return LeftOut(path, "done, but not in its own folder yet")
    return LeftOut(path, f"{seen.state} at step {seen.step} of {seen.total_steps}")
