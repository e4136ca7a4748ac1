"""From what lies at some paths to a comparison, with the runs that studies planned and that are missing."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gipo_cli.compare.comparison import Comparison, build_comparison
from gipo_cli.compare.load import LeftOut, Value, flat_settings, read_runs
from gipo_cli.compare.parallel import worth
from gipo_cli.compare.selection import SHORT_METRICS, filter_runs, find_criterion, read_filters
from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir, runs_root
from gipo_cli.sweep.folder import StudyDir, read_study
from gipo_cli.sweep.state import RunState, observe, places

MARKS = frozenset(("config.yaml", "status.json", "metrics.csv", "eval.csv"))
PLAN = "study.json"


@dataclass(frozen=True)
class Found:
    """What lies at the given paths: folders of runs and of studies, each once, sorted by path."""

    runs: list[Path]
    studies: list[Path]


def search(paths: Sequence[str], root: Path | None = None) -> Found:
    """Find the runs and studies named by, or lying below, the given folders and globs.

    What is not there from the current directory is looked for below ``root``, by default the folder of runs.
    Hidden folders and those inside a run are not searched.

    Raises:
        UserError: a path does not exist, or no run was found; the message says what was searched.
    """
    if not paths:
        raise UserError("No path was given; name run folders, a folder that holds runs, or a glob.")
    runs: set[Path] = set()
    studies: set[Path] = set()
    for top in _tops(paths, root or runs_root()):
        if top.name == PLAN:
            studies.add(top.parent.resolve())
        for folder, below, files in os.walk(top):
            if is_run := len(MARKS.intersection(files)) >= 2:
                runs.add(Path(folder).resolve())
            if PLAN in files:
                studies.add(Path(folder).resolve())
            below[:] = [] if is_run else [name for name in below if not name.startswith(".")]
    if not runs:
        hint = " A study's runs on a cluster appear once they are finished: see gipo sweep --status STUDY."
        raise UserError(
            f"No runs found in {', '.join(map(repr, paths))}: no folder there or below holds a config.yaml "
            f"with a status.json or CSV files.{hint if studies else ''}"
        )
    return Found(sorted(runs), sorted(studies))


def _tops(paths: Iterable[str], root: Path) -> Iterator[Path]:
    for text in paths:
        found = _existing(text) or _existing(str(root / text))
        if not found:
            raise UserError(
                f"Nothing is at {text!r} (searched from {Path.cwd()} and {root}); name run folders or "
                "folders of runs."
            )
        yield from map(Path, found)


def _existing(text: str) -> list[str]:
    return [text] if Path(text).exists() else sorted(glob.glob(text, recursive=True))


def gather(
    found: Found,
    *,
    filters: Sequence[str] = (),
    metric: str | None = None,
    processes: int | None = None,
    **options: Any,
) -> Comparison:
    """Read, filter and group runs.

    Runs that a study planned and that have no folder are left out with what they are doing. ``processes`` are
    by default as many as so many runs are worth reading with; ``options`` are those of `build_comparison`.

    Raises:
        UserError: nothing to compare.
    """
    column = SHORT_METRICS.get(metric or "", metric or "")
    workers = processes or worth(len(found.runs), sum(map(_size, found.runs)))
    runs, damaged = read_runs(found.runs, extra_column=column, workers=workers)
    if not runs:
        raise UserError(
            f"None of {len(found.runs)} run folders can be read; {damaged[0].path}: {damaged[0].reason}."
        )
    chosen = read_filters(filters, runs)
    kept = filter_runs(runs, chosen)
    missing = _missing(found, lambda config: all(one.passes(config) for one in chosen))
    return build_comparison(kept, find_criterion(metric, kept), unread=[*damaged, *missing], **options)


def _size(run: Path) -> int:
    try:
        return (run / "metrics.csv").stat().st_size
    except OSError:
        return 0


def _missing(found: Found, passes: Callable[[Mapping[str, Value]], bool]) -> Iterator[LeftOut]:
    """Runs that studies planned and that have no folder, as far as their configuration passes."""
    folders = set(found.runs)
    for study in map(StudyDir, found.studies):
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
