"""Who listens to a run. The CSV tables are the record; everything else is told what goes into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol

from gipo_cli.runs.catalog import CURVES, DIAGNOSTIC_CURVES
from gipo_cli.runs.tables import Row, Tables

if TYPE_CHECKING:
    import numpy as np


class Writer(Protocol):
    """Takes a run's numbers while they come. It never fails a run: what it cannot write it lets go."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Take named numbers of an environment step."""

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Take samples, of any shape, of one named quantity."""

    def close(self) -> None:
        """Write what is left."""


class Record:
    """Puts each row of a run into its table, and tells its numbers to all who listen.

    Every method raises RunFailed where the disk refuses a table.
    """

    def __init__(self, tables: Tables, writers: Sequence[Writer]) -> None:
        self._tables, self._writers = tables, writers

    def metrics(self, row: Row) -> None:
        """Record one iteration: values by column of ``metrics.csv``, which are the tags too."""
        self._tables.metrics.append(row)
        self._tell(row, {tag: tag for tag in CURVES & row.keys()})

    def evaluation(self, row: Row) -> None:
        """Record one evaluation: values by column of ``eval.csv``; its tags are ``eval/<column>``."""
        self._tables.evaluations.append(row)
        tags = {column: f"eval/{column}" for column in row if "/" not in column}
        self._tell(row, {column: tag for column, tag in tags.items() if tag in CURVES})

    def diagnostics(self, rows: Sequence[Row]) -> None:
        """Record one bias-variance measurement, one row per estimator, by column of ``diagnostics.csv``.

        Those who listen are told of the trained objective alone: ``diagnostics/<reference>/<column>``.
        """
        for row in rows:
            self._tables.diagnostics.append(row)
            if row.get("trained"):
                told = [name for name in DIAGNOSTIC_CURVES if name in row]
                self._tell(row, {name: f"diagnostics/{row['reference']}/{name}" for name in told})

    def arrivals(self, rows: Sequence[Row]) -> None:
        """Record rollouts that arrived, by column of ``arrivals.csv``; nobody is told."""
        for row in rows:
            if self._tables.arrivals is not None:
                self._tables.arrivals.append(row)

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Tell a distribution, which no table holds."""
        for writer in self._writers:
            writer.histogram(tag, values, step)

    def position(self) -> dict[str, Any]:
        """Make the tables durable; returns where they are now, to keep in a checkpoint."""
        return self._tables.marks()

    def _tell(self, row: Row, tags: Mapping[str, str]) -> None:
        values = {
            tag: float(value)
            for column, tag in tags.items()
            if column != "step" and isinstance(value := row[column], int | float | Real)
        }
        for writer in self._writers:
            writer.scalars(values, int(row["step"] or 0))
