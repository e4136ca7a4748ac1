"""A comparison where its reader sees it: the folder of a report, and the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from gipo_cli.compare.comparison import Comparison
from gipo_cli.compare.gains import HEADINGS as GAIN_HEADINGS
from gipo_cli.compare.gains import gain_texts
from gipo_cli.compare.gather import gather, search
from gipo_cli.compare.notes import notes
from gipo_cli.compare.output import check_output, write_folder
from gipo_cli.compare.report import is_report_file, report_files
from gipo_cli.compare.summary import Row, by_environment, plain_table, summarise, terminal_table
from gipo_cli.compare.verdict import verdicts
from gipo_cli.errors import UserError

LEFT_OUT_SHOWN, VERDICTS_SHOWN, WIDE = 10, 8, 160


def compare(
    paths: Sequence[str],
    *,
    out: Path,
    watch: float | None = None,
    command: str = "",
    console: Console | None = None,
    **options: Any,
) -> None:
    """Read runs, write the report folder and print the main table.

    ``paths`` and ``options`` are those of `search` and `gather`. An earlier report in ``out`` is replaced;
    with ``watch`` it is written every so many seconds until interrupted. The report repeats the command line.

    Raises:
        UserError: nothing to compare, or a request that cannot be met; nothing was written.
    """
    console = console or Console()
    # Nothing to compare is the first thing to be told, before a report that is in the way.
    found = search(paths) if watch is None else None
    check_output(out, "report", _is_report)
    if found is not None:
        _publish(gather(found, **options), out, command, console)
        return
    where = "no report was written"
    try:
        while True:
            now = f"{datetime.now():%H:%M:%S}"
            try:
                comparison = gather(search(paths), **options)
            except UserError as error:
                # Too little to compare yet is no mistake.
                console.print(f"{now} waiting: {escape(str(error))}", highlight=False)
            else:
                console.print(f"\n{now}", highlight=False)
                _publish(comparison, out, command, console)
                where = f"the last report is in [bold]{escape(str(out))}[/]"
            time.sleep(watch or 0)
    except KeyboardInterrupt:
        console.print(f"Stopped watching; {where}.")


def _is_report(out: Path) -> bool:
    return (out / "summary.json").is_file() and (out / "report.html").is_file()


def _publish(comparison: Comparison, out: Path, command: str, console: Console) -> None:
    rows = summarise(comparison)
    files = report_files(comparison, rows, command=command)
    write_folder(out, files, is_report_file)
    print_comparison(comparison, rows, out, console)


def print_comparison(comparison: Comparison, rows: Sequence[Row], out: Path | None, console: Console) -> None:
    """The main table, what to know before believing it, and where the rest is."""
    for environment, own in by_environment(rows).items():
        console.print(terminal_table(f"{environment}: {comparison.metric.title}", own, console.width))
        console.print()
    for environment, texts in gain_texts(comparison).items():
        title = f"{environment}: success before -> after, and the gain"
        columns = GAIN_HEADINGS if console.width >= WIDE else GAIN_HEADINGS[:4]
        console.print(plain_table(title, columns, [row[: len(columns)] for row in texts]))
        console.print()
    said = verdicts(comparison, rows)
    for text in said[:VERDICTS_SHOWN]:
        console.print(f"[bold]{escape(text)}[/]", highlight=False)
    if (more := len(said) - VERDICTS_SHOWN) > 0:
        console.print(f"and {more} more in the table above", highlight=False)
    console.print()
    for note in notes(comparison, whole=False):
        console.print(f"- {escape(note)}", highlight=False)
    print_left_out(comparison, console)
    if out is not None:
        console.print(f"\nReport: {escape(str(out / 'report.html'))}", highlight=False)


def print_left_out(comparison: Comparison, console: Console) -> None:
    """Some of the runs that are not in the numbers, and why."""
    # Of those that have not begun, a note tells the number.
    listed = [left_out for left_out in comparison.left_out if left_out.kind != "planned"]
    for left_out in listed[:LEFT_OUT_SHOWN]:
        console.print(f"  left out: {escape(f'{_near(left_out.path)}: {left_out.reason}')}", highlight=False)
    if (more := len(listed) - LEFT_OUT_SHOWN) > 0:
        console.print(f"  and {more} more", highlight=False)


def print_summary(paths: Sequence[str], console: Console) -> None:
    """The main table alone, without writing anything; for the end of a sweep.

    Everything is done in this process: a sweep has threads, beside which none may be forked.

    Raises:
        UserError: nothing to compare.
    """
    comparison = gather(search(paths), processes=1)
    print_comparison(comparison, summarise(comparison), None, console)


def _near(path: Path) -> Path:
    """A path as it would be typed from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
