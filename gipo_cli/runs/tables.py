"""The record of a run: tables as CSV, without a duplicate or a gap after any kill."""

from __future__ import annotations

import csv
import hashlib
import io
import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.catalog import ARRIVAL_COLUMNS, DIAGNOSTIC_COLUMNS, EVALUATION_COLUMNS, METRIC_COLUMNS
from gipo_cli.runs.durable import fsync_dir, open_own, writing
from gipo_cli.runs.layout import RunDir

Cell = float | int | str | None
Row = Mapping[str, Cell]
Mark = Mapping[str, Any]
_CHUNK = 1 << 20
_LONGEST_ROW = 65_536


class Table:
    """A CSV file of fixed columns whose every line is complete.

    Args:
        path: The file; made if missing.
        columns: Its header.
        mark: Length and digest to go back to, as :meth:`mark` returned them; None starts the table anew.

    Raises:
        UserError: The file is not what it was at that mark, or has other columns.
        RunFailed: The disk refused.
    """

    def __init__(self, path: Path, columns: Sequence[str], mark: Mark | None = None) -> None:
        self.path, self.columns = path, tuple(columns)
        header = _line(self.columns)
        with writing(path):
            self._descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
        try:
            self._digest = hashlib.sha256() if mark is None else _verified(self._descriptor, path, mark)
            self._size = 0 if mark is None else int(mark["bytes"])
            if self._size and os.pread(self._descriptor, len(header), 0) != header:
                raise UserError(
                    f"{path} has other columns than this version of gipo writes; it cannot be continued"
                )
            with writing(path):
                os.ftruncate(self._descriptor, self._size)
                os.lseek(self._descriptor, 0, os.SEEK_END)
                os.fsync(self._descriptor)
                fsync_dir(path.parent)
            if not self._size:
                self._write(header)
        except BaseException:
            self.close()
            raise

    def append(self, row: Row) -> None:
        """Add one row in a single write; an absent or None value is an empty cell.

        Raises:
            RunFailed: The disk took none or only part of it.
            ValueError: A key is not a column.
        """
        unknown = row.keys() - set(self.columns)
        if unknown:
            raise ValueError(f"{self.path.name} has no column {', '.join(sorted(unknown))}")
        self._write(_line([cell(row.get(column)) for column in self.columns]))

    def mark(self) -> dict[str, Any]:
        """Make the table durable; returns its length and digest."""
        with writing(self.path):
            os.fsync(self._descriptor)
        return {"bytes": self._size, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _write(self, line: bytes) -> None:
        with writing(self.path):
            written = os.write(self._descriptor, line)
        if written != len(line):
            os.ftruncate(self._descriptor, self._size)
            raise RunFailed(f"could not write {self.path}: the disk took {written} of {len(line)} bytes")
        self._digest.update(line)
        self._size += written


class Tables:
    """``metrics.csv``, ``eval.csv`` and ``diagnostics.csv`` of a run, and the extent of its event files.

    Args:
        run: The run's folder.
        marks: Where to go back to, as :meth:`marks` returned it; None starts all of them anew.
        arrivals: Whether there is an ``arrivals.csv`` too.

    Raises:
        UserError: A table before that point is not what it was; nothing was changed.
        RunFailed: The disk refused.
    """

    def __init__(self, run: RunDir, marks: Mark | None = None, *, arrivals: bool = False) -> None:
        self._run = run
        layout = {
            "metrics": (run.metrics, METRIC_COLUMNS),
            "evaluations": (run.evaluations, EVALUATION_COLUMNS),
            "diagnostics": (run.diagnostics, DIAGNOSTIC_COLUMNS),
        }
        if arrivals:
            layout["arrivals"] = (run.arrivals, ARRIVAL_COLUMNS)
        # All before any is cut: a resume that is refused changes nothing.
        sizes: dict[str, int] = {}
        if marks is not None:
            sizes = {name: int(size) for name, size in marks["events"].items()}
            # A run may have got its actors elsewhere only now.
            marks = {"arrivals": None, **marks}
            for name, (path, _) in layout.items():
                if marks[name] is not None:
                    _check(path, marks[name])
        self._all = {
            name: Table(path, columns, marks and marks[name]) for name, (path, columns) in layout.items()
        }
        self.metrics, self.evaluations, self.diagnostics, *_ = self._all.values()
        self.arrivals = self._all.get("arrivals")
        with writing(run.tensorboard):
            for path in _events(run.tensorboard):
                if path.name not in sizes:
                    path.unlink()
                elif path.stat().st_size > (size := sizes[path.name]):
                    with open(open_own(path, os.O_RDWR), "r+b") as file:
                        file.truncate(size)

    def marks(self) -> dict[str, Any]:
        """Make the tables durable; returns where they are now, to keep in a checkpoint."""
        marks = {name: table.mark() for name, table in self._all.items()}
        events = {path.name: path.stat().st_size for path in _events(self._run.tensorboard)}
        return {**marks, "events": events}

    def close(self) -> None:
        """Close the files."""
        for table in self._all.values():
            table.close()


def last_row(path: Path) -> dict[str, str]:
    """A table's last whole row by column; empty where there is none that can be read."""
    try:
        with path.open("rb") as file:
            header = file.readline()
            file.seek(max(len(header), file.seek(0, os.SEEK_END) - _LONGEST_ROW))
            # What follows the last line end is being written.
            *lines, _ = file.read().split(b"\n")
            return next(csv.DictReader(line.decode() for line in (header, *lines[-1:])), {})
    except (OSError, ValueError, csv.Error):
        return {}


def last_step(row: Mapping[str, str]) -> int:
    """Environment step of a row that :func:`last_row` read; 0 where it has none."""
    step = row.get("step") or ""
    return int(step) if step.isdecimal() else 0


def cell(value: Any) -> str:
    """Text of one value with the fewest digits that read back as the same float64; a bool as 0 or 1."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Integral):
        return str(int(value))
    return repr(float(value))


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _check(path: Path, mark: Mark) -> None:
    """Refuse a table that cannot go back to a mark."""
    if not path.is_file():
        raise UserError(f"{path} is missing; restore it, or start a new run")
    with writing(path), path.open("rb", buffering=0) as file:
        _verified(file.fileno(), path, mark)


def _verified(descriptor: int, path: Path, mark: Mark) -> Any:
    """The running digest of a file's beginning, if that is what it was at the mark."""
    digest, size, end = hashlib.sha256(), 0, int(mark["bytes"])
    while size < end:
        chunk = os.read(descriptor, min(_CHUNK, end - size))
        if not chunk:
            raise UserError(
                f"{path} is shorter than the checkpoint says ({size} of {end} bytes); restore it, or start a "
                f"new run"
            )
        digest.update(chunk)
        size += len(chunk)
    if digest.hexdigest() != mark["sha256"]:
        raise UserError(f"{path} was changed since the checkpoint was saved; restore it, or start a new run")
    return digest


def _events(folder: Path) -> list[Path]:
    return sorted(folder.glob("events.out.tfevents.*"))
