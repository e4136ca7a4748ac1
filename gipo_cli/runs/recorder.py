"""A run's measurements as CSV rows and TensorBoard events, without a duplicate or a gap after any kill."""

from __future__ import annotations

import csv
import io
import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from gipo_cli.errors import UserError
from gipo_cli.runs.appendfile import AppendFile, check_mark
from gipo_cli.runs.layout import RunDir

if TYPE_CHECKING:
    import numpy as np

    from gipo_cli.loggers.tensorboard import EventWriter

Cell = float | int | str | None
Row = Mapping[str, Cell]
# Columns of diagnostics.csv that say what was measured; the others are measurements.
_DIAGNOSTIC_KEYS = ("step", "reference", "family", "knob", "value", "trained", "n", "batch_size")
_LONGEST_ROW = 65_536


class CsvTable:
    """A CSV file of fixed columns whose every line is complete.

    Args:
        path: The file.
        columns: Its header.
        mark: Where to go on, as ``mark`` returned it; None starts the table anew.

    Raises:
        UserError: The file is not what it was at that mark, or its header is another one.
    """

    def __init__(self, path: Path, columns: Sequence[str], mark: Mapping[str, Any] | None) -> None:
        self.columns = tuple(columns)
        self._file = AppendFile(path, mark)
        header = _line(self.columns)
        if self._file.size == 0:
            self._file.append(header)
        elif not self._file.starts_with(header):
            self._file.close()
            raise UserError(
                f"{path} has other columns than this version of gipo writes; it cannot be continued"
            )

    def append(self, row: Row) -> None:
        """Add one row in a single write.

        Args:
            row: Values by column; an absent or None value is an empty cell.

        Raises:
            RunFailed: The file could not be written.
            ValueError: A key is not a column.
        """
        unknown = row.keys() - set(self.columns)
        if unknown:
            raise ValueError(f"{self._file.path.name} has no column {', '.join(sorted(unknown))}")
        self._file.append(_line([cell(row.get(column)) for column in self.columns]))

    def mark(self) -> dict[str, Any]:
        """Durable position after the last row."""
        return self._file.mark()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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


class Sinks(TypedDict):
    """What a recorder writes.

    Attributes:
        columns: Of ``metrics.csv``.
        eval_columns: Of ``eval.csv``.
        diagnostics_columns: Of ``diagnostics.csv``.
        tensorboard: Whether TensorBoard events are written too.
    """

    columns: Sequence[str]
    eval_columns: Sequence[str]
    diagnostics_columns: Sequence[str]
    tensorboard: bool


class Recorder:
    """Writes a run's measurements; made by ``start`` or ``resume``."""

    def __init__(self, run: RunDir, position: Mapping[str, Any] | None, **sinks: Unpack[Sinks]) -> None:
        marks = position or {}
        # Where nothing is written, earlier curves stay what they are.
        self._earlier_events = marks.get("events", {})
        self._events: EventWriter | None = None
        if sinks["tensorboard"]:
            from gipo_cli.loggers.tensorboard import EventWriter

            self._events = EventWriter(run.tensorboard, marks.get("events"), step=marks.get("step", 0))
        self._metrics = CsvTable(run.metrics, sinks["columns"], marks.get("metrics"))
        self._evaluations = CsvTable(run.evaluations, sinks["eval_columns"], marks.get("evaluations"))
        self._diagnostics = CsvTable(run.diagnostics, sinks["diagnostics_columns"], marks.get("diagnostics"))
        self._step = int(marks.get("step", 0))

    @classmethod
    def start(cls, run: RunDir, **sinks: Unpack[Sinks]) -> Self:
        """Begin the records of a new run.

        Args:
            run: A run folder without records.
            **sinks: What to write.

        Raises:
            UserError: There are records already.
        """
        for path in (run.metrics, run.evaluations, run.diagnostics, run.tensorboard):
            if path.exists():
                raise UserError(
                    f"{path} already exists and is not overwritten; continue that run with --resume"
                )
        return cls(run, None, **sinks)

    @classmethod
    def resume(cls, run: RunDir, position: Mapping[str, Any] | None, **sinks: Unpack[Sinks]) -> Self:
        """Go back to exactly the records of a checkpoint, dropping what was written after it.

        Args:
            run: The run folder.
            position: What ``position`` returned then; None if there was no checkpoint yet: all rows are
                dropped.
            **sinks: What to write, as before.

        Raises:
            UserError: The records before that point are not what they were.
        """
        marks = position or {}
        # All before any is cut, the events by their writer: a resume that is refused changes nothing.
        tables = {"metrics": run.metrics, "evaluations": run.evaluations, "diagnostics": run.diagnostics}
        for name, path in tables.items():
            if name in marks:
                check_mark(path, marks[name])
        return cls(run, position, **sinks)

    def hparams(self, values: Mapping[str, Cell | bool], metrics: Sequence[str]) -> None:
        """Declare the hyperparameters; call it once, before the first row of a new run.

        Args:
            values: Flat hyperparameters, see ``flatten``.
            metrics: Tags that TensorBoard's table shows, such as ``eval/success``.
        """
        if self._events is not None:
            self._events.hparams(values, metrics)

    def metrics(self, row: Row) -> None:
        """Record one iteration.

        Args:
            row: Values by column of ``metrics.csv``, with ``step``.

        Raises:
            RunFailed: The disk refused.
        """
        self._metrics.append(row)
        self._scalars(row, {tag: tag for tag in row})

    def evaluation(self, row: Row) -> None:
        """Record one evaluation; TensorBoard shows it under ``eval/<column>``.

        Args:
            row: Values by column of ``eval.csv``, with ``step``.

        Raises:
            RunFailed: The disk refused.
        """
        self._evaluations.append(row)
        self._scalars(row, {tag: tag if "/" in tag else f"eval/{tag}" for tag in row})

    def diagnostics(self, rows: Sequence[Row]) -> None:
        """Record one bias-variance measurement.

        TensorBoard shows each number under ``diagnostics/<reference>/<column>/<family>`` and, where the
        family has a knob, ``-<knob>=<value>``.

        Args:
            rows: One row per estimator, by column of ``diagnostics.csv``, with ``step``.

        Raises:
            RunFailed: The disk refused.
        """
        for row in rows:
            self._diagnostics.append(row)
            estimator = f"{row['family']}-{row['knob']}={row['value']}" if row.get("knob") else row["family"]
            measured = [name for name in row if name not in _DIAGNOSTIC_KEYS]
            tags = {name: f"diagnostics/{row['reference']}/{name}/{estimator}" for name in measured}
            self._scalars(row, tags)

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Record a distribution, in TensorBoard only.

        Args:
            tag: Its name.
            values: Samples, any shape; those that are not finite are left out.
            step: Environment step.

        Raises:
            RunFailed: The disk refused.
        """
        if self._events is not None:
            self._events.histogram(tag, values, step)

    def position(self) -> dict[str, Any]:
        """Make everything durable and say where the records are now.

        Returns:
            A JSON object to keep in the checkpoint and to hand to ``resume``.

        Raises:
            RunFailed: The disk refused.
        """
        return {
            "step": self._step,
            "metrics": self._metrics.mark(),
            "evaluations": self._evaluations.mark(),
            "diagnostics": self._diagnostics.mark(),
            "events": self._events.mark() if self._events is not None else self._earlier_events,
        }

    def close(self) -> None:
        """Close all files."""
        for table in (self._metrics, self._evaluations, self._diagnostics):
            table.close()
        if self._events is not None:
            self._events.close()

    def _scalars(self, row: Row, tags: Mapping[str, str]) -> None:
        self._step = int(row["step"] or 0)
        if self._events is not None:
            values = {
                tag: float(value)
                for column, tag in tags.items()
                if column != "step" and isinstance(value := row[column], int | float | numbers.Real)
            }
            self._events.scalars(values, self._step)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Cell | bool]:
    """Hyperparameters as one flat table.

    Args:
        config: Nested configuration of plain values.
        prefix: Put before every key.

    Returns:
        Values by dotted key; lists and None as text, since TensorBoard knows neither.
    """
    flat: dict[str, Cell | bool] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat


def cell(value: Any) -> str:
    """Text of one CSV value that reads back as the same number.

    Args:
        value: A number, text or None.

    Returns:
        Shortest digits that round-trip (of the float64 value); a bool as 0 or 1; None as nothing.
    """
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
