"""Who listens to a run. The CSV tables are the record; everything else is told what goes into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol

from gipo_cli.runs.catalog import DIAGNOSTIC_KEYS
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
        self._tell(row, {tag: tag for tag in row})

    def evaluation(self, row: Row) -> None:
        """Record one evaluation: values by column of ``eval.csv``; its tags are ``eval/<column>``."""
        self._tables.evaluations.append(row)
        self._tell(row, {tag: tag if "/" in tag else f"eval/{tag}" for tag in row})

    def diagnostics(self, rows: Sequence[Row]) -> None:
        """Record one bias-variance measurement, one row per estimator, by column of ``diagnostics.csv``.

        Tags are ``diagnostics/<reference>/<column>/<family>`` and, where the family has a knob,
        ``-<knob>=<value>``.
        """
        for row in rows:
            self._tables.diagnostics.append(row)
            estimator = f"{row['family']}-{row['knob']}={row['value']}" if row.get("knob") else row["family"]
            measured = [name for name in row if name not in DIAGNOSTIC_KEYS]
            self._tell(row, {name: f"diagnostics/{row['reference']}/{name}/{estimator}" for name in measured})

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
