"""What a search found: the best settings as a file to train with, every trial, and what mattered."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gipo_cli.runs.durable import write_text
from gipo_cli.settings.compose import as_yaml
from gipo_cli.settings.overrides import value_of
from gipo_cli.tune.search import Search, importance
from gipo_cli.tune.trials import Trial, ranked

BEST, TRIALS, IMPORTANCE = "best.yaml", "trials.csv", "importance.csv"
SHOWN = 10


def write_results(folder: Path, search: Search, over: Sequence[Trial]) -> None:
    """Write ``best.yaml``, ``trials.csv`` and ``importance.csv`` into the search's folder.

    Raises:
        RunFailed: The disk refused.
    """
    order = ranked(over)
    keys = [dimension.key for dimension in search.space]
    header = ["rank", "trial", "steps", "success", "return", *keys, "runs"]
    rows = [
        [rank, one.number, one.steps, one.success, one.returned, *(one.settings[key] for key in keys),
         " ".join(run.name for run in one.runs)]
        for rank, one in enumerate(order, 1)
    ]  # fmt: skip
    _write_csv(folder / TRIALS, [header, *rows])
    shares = importance(over, search.space)
    _write_csv(folder / IMPORTANCE, [["setting", "importance"], *shares.items()])
    write_text(
        folder / BEST,
        f"# The best of {len(over)} trials of {folder.name}.\n{as_yaml(_best(search, order[0]))}",
    )


def print_results(folder: Path, search: Search, over: Sequence[Trial], console: Console) -> None:
    """Print the best trials, what mattered, and how to train with the best settings."""
    table = Table(title=f"{folder.name}: the best of {len(over)} trials", box=None, title_justify="left")
    for heading in ("trial", "steps", "success", "return"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("settings", overflow="fold")
    for trial in ranked(over)[:SHOWN]:
        numbers = [_number(trial.success, ".2f"), _number(trial.returned, ".4g")]
        settings = (f"{key.rpartition('.')[2]}={value}" for key, value in trial.settings.items())
        table.add_row(str(trial.number), f"{trial.steps:,}", *numbers, escape(" ".join(settings)))
    console.print(table)
    shares = importance(over, search.space)
    if not shares:
        console.print("too few trials to tell which setting matters: ten at least")
    for key, share in shares.items():
        console.print(f"importance of {key}: {share:.0%}", markup=False, highlight=False, soft_wrap=True)
    line = f"gipo train {shlex.quote(str(folder / BEST))}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _best(search: Search, trial: Trial) -> dict[str, object]:
    """What is the same in all runs of a trial but the seed, and its own settings."""
    shared = [line for line in search.cells[0] if all(line in cell for cell in search.cells)]
    lines = [*shared, *(f"{key}={value}" for key, value in trial.settings.items())]
    return {key: value for key, value in map(value_of, lines) if key != "seed"}


def _write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
