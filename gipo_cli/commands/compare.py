"""`gipo compare`: run folders to a folder of figures and tables. Wiring only."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gipo_cli.compare.comparison import Comparison, build_comparison
from gipo_cli.compare.figures import FIGURES
from gipo_cli.compare.grouping import filter_runs, predicate
from gipo_cli.compare.load import LeftOut, Value, find_runs, find_studies, load_runs, settings
from gipo_cli.compare.metric import SHORT_NAMES, find_metric, usual_metric
from gipo_cli.compare.notes import notes
from gipo_cli.compare.output import check_writable, writing
from gipo_cli.compare.report import by_environment, write_report
from gipo_cli.compare.summary import Row, summarise
from gipo_cli.compare.table import terminal_table
from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir, runs_root
from gipo_cli.sweep.folder import StudyDir, read_study
from gipo_cli.sweep.state import RunState, observe, places

LEFT_OUT_SHOWN = 10
MANY_RUNS = 40


def compare(
    paths: Sequence[str],
    *,
    out: Path,
    group_by: Sequence[str] | None = None,
    filters: Sequence[str] = (),
    metric: str | None = None,
    baseline: str | None = None,
    threshold: float | None = None,
    force: bool = False,
    include_unfinished: bool = False,
    watch: float | None = None,
    command: str = "",
    console: Console | None = None,
) -> int:
    """Read runs, write the report folder and print the main table.

    Args:
        paths: run folders, folders that hold some, or globs.
        out: the folder to write; it appears whole or not at all.
        group_by: settings to group by; by default whatever differs.
        filters: ``key=value`` or ``key!=value``, all of which a run must pass.
        metric: ``success``, ``return``, or any column of ``eval.csv`` or ``metrics.csv``; by default success,
            or return where no run reports success.
        baseline: an objective or a group's label; by default ``ppo_clip`` where there is one.
        threshold: value that counts as having learned; by default the middle of the normalised scale.
        force: replace ``out`` if an earlier report is there.
        include_unfinished: keep unfinished and failed runs and those of another budget.
        watch: seconds between refreshes, until interrupted; None writes once.
        command: the command line, to be repeated in the report.
        console: where to print; standard output by default.

    Returns:
        Exit status 0.

    Raises:
        UserError: nothing to compare, or a request that cannot be met; nothing was written.
    """
    console = console or Console()
    if watch is not None and watch <= 0:
        raise UserError(
            f"--watch {watch:g} is no waiting time; write a number of seconds above 0, such as --watch 60."
        )
    if threshold is not None and not math.isfinite(threshold):
        raise UserError(
            f"--threshold {threshold:g} is no value to reach; write a number, such as --threshold 0.5."
        )
    if watch is None:
        # Nothing to compare is the first thing to be told, before a report that is in the way.
        find_runs(paths, runs_root())
    check_output(out, force=force)

    def read() -> Comparison:
        return read_runs(
            paths,
            group_by=group_by,
            filters=filters,
            metric=metric,
            baseline=baseline,
            threshold=threshold,
            include_unfinished=include_unfinished,
            console=console,
        )

    if watch is None:
        comparison = read()
        print_comparison(comparison, write(comparison, out, command=command, console=console), out, console)
        return 0
    written = False
    try:
        while True:
            written |= _refresh(read, out, command, console)
            time.sleep(watch)
    except KeyboardInterrupt:
        where = f"the last report is in [bold]{escape(str(out))}[/]" if written else "no report was written"
        console.print(f"Stopped watching; {where}.")
        return 0


def _refresh(read: Callable[[], Comparison], out: Path, command: str, console: Console) -> bool:
    """Whether a round of watching wrote a report; too little to compare yet is no mistake."""
    try:
        comparison = read()
    except UserError as error:
        console.print(f"{datetime.now():%H:%M:%S} waiting: {escape(str(error))}", highlight=False)
        return False
    rows = write(comparison, out, command=command, console=console)
    console.print(f"\n{datetime.now():%H:%M:%S}", highlight=False)
    print_comparison(comparison, rows, out, console)
    return True


def read_runs(
    paths: Sequence[str],
    *,
    group_by: Sequence[str] | None = None,
    filters: Sequence[str] = (),
    metric: str | None = None,
    baseline: str | None = None,
    threshold: float | None = None,
    include_unfinished: bool = False,
    processes: int | None = None,
    console: Console | None = None,
) -> Comparison:
    """Find, read, filter and group runs; arguments as for `compare`.

    They are read with so many ``processes``, by default as many as so many runs are worth. What a study
    among ``paths`` planned and has no folder of is left out with what it is doing.

    Raises:
        UserError: nothing to compare.
    """
    folders = find_runs(paths, runs_root())
    with _progress(console, "reading runs", len(folders)) as tick:
        column = SHORT_NAMES.get(metric or "", metric or "")
        runs, damaged = load_runs(
            folders, extra_column=column, workers=processes or workers(len(folders)), tick=tick
        )
    if not runs:
        raise UserError(
            f"None of {len(folders)} run folders can be read; {damaged[0].path}: {damaged[0].reason}."
        )
    kept = filter_runs(runs, filters)
    missing = _missing(find_studies(paths, runs_root()), set(folders), predicate(filters, runs))
    return build_comparison(
        kept,
        find_metric(metric or usual_metric(kept), kept),
        group_by=group_by,
        baseline=baseline,
        threshold=threshold,
        include_unfinished=include_unfinished,
        unread=[*damaged, *missing],
    )


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
            found = RunDir(path).exists() or not folders.isdisjoint(places(study, run.name))
            if not found and passes(settings(run.config.model_dump(mode="json"))):
                yield _without_folder(path, observe(study, run))


def _without_folder(path: Path, seen: RunState) -> LeftOut:
    if seen.state == "waiting":
        return LeftOut(path, "not begun", kind="planned")
    if seen.state == "done":
        return LeftOut(path, "done, but not in its own folder yet")
    return LeftOut(path, f"{seen.state} at step {seen.step} of {seen.total_steps}")


def check_output(out: Path, *, force: bool) -> None:
    """Refuse a place that cannot be written, and anything there but an earlier report that may be replaced.

    Raises:
        UserError: ``out`` exists and is in the way, or nothing can be made there.
    """
    check_writable(out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out.is_dir() and (out / "summary.json").is_file() and (out / "report.html").is_file()):
        raise UserError(
            f"{out} exists and is no earlier report, so it is left alone; choose another folder with --out."
        )
    if not force:
        raise UserError(
            f"{out} already holds a report; add --force to replace it, or choose another folder with --out."
        )


def write(
    comparison: Comparison, out: Path, *, command: str = "", console: Console | None = None
) -> list[Row]:
    """Write the report beside ``out`` and move it there once whole: an interruption leaves no half.

    Raises:
        UserError: the disk refuses.
    """
    with writing(out):
        return _write(comparison, out, command, console)


def _write(comparison: Comparison, out: Path, command: str, console: Console | None) -> list[Row]:
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        fresh = Path(scratch) / "report"
        fresh.mkdir()
        with _progress(console, "drawing figures", len(FIGURES)) as tick:
            rows = write_report(
                comparison, fresh, command=command, workers=workers(len(comparison.used)), tick=tick
            )
        if out.exists():
            out.rename(Path(scratch) / "earlier")
        fresh.rename(out)
    return rows


def workers(runs: int) -> int:
    """Processes for a comparison of so many runs: a few runs are read faster than a process starts."""
    return min(4, os.cpu_count() or 1) if runs >= MANY_RUNS else 1


@contextmanager
def _progress(console: Console | None, text: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress line that vanishes when done, and is not there at all without a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = console is not None and console.is_terminal
    # Without its own refreshing thread, so that worker processes may be forked meanwhile.
    with Progress(
        *columns, console=console, transient=True, disable=not shown, auto_refresh=False
    ) as progress:
        task = progress.add_task(text, total=total)
        progress.refresh()

        def tick() -> None:
            progress.advance(task)
            progress.refresh()

        yield tick


def print_comparison(comparison: Comparison, rows: Sequence[Row], out: Path | None, console: Console) -> None:
    """The main table, what to know before believing it, and where the rest is."""
    for environment, own in by_environment(rows).items():
        console.print(terminal_table(f"{environment}: {comparison.metric.title}", own, console.width))
        console.print()
    for note in notes(comparison, whole=False):
        console.print(f"- {escape(note)}", highlight=False)
    # Of those that have not begun, a note tells the number.
    listed = [left_out for left_out in comparison.left_out if left_out.kind != "planned"]
    for left_out in listed[:LEFT_OUT_SHOWN]:
        console.print(f"  left out: {escape(f'{_near(left_out.path)}: {left_out.reason}')}", highlight=False)
    if (more := len(listed) - LEFT_OUT_SHOWN) > 0:
        console.print(f"  and {more} more, all listed in the report", highlight=False)
    if out is not None:
        console.print(f"\nReport: {escape(str(out / 'report.html'))}", highlight=False)


def print_summary(paths: Sequence[str], console: Console) -> None:
    """The main table alone, without writing anything; for the end of a sweep.

    Everything is done in this process: a sweep has threads, beside which none may be forked.

    Raises:
        UserError: nothing to compare.
    """
    comparison = read_runs(paths, processes=1, console=console)
    print_comparison(comparison, summarise(comparison), None, console)


def _near(path: Path) -> Path:
    """A path as it would be typed from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
