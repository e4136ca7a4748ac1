"""Repeats the arrivals of a run whose actors were elsewhere, in this process."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gipo_cli.actors.positions import join, split
from gipo_cli.actors.worker import Part, Worker
from gipo_cli.data.rollout import Rollout
from gipo_cli.errors import RunFailed, StoppedError, UserError
from gipo_cli.learning.actor import Position
from gipo_cli.learning.learner import Learner


class Row(NamedTuple):
    """One rollout that arrived; see ``arrivals.csv``."""

    iteration: int
    actor: int
    version: int
    size: int
    fate: str


def read_arrivals(path: Path, total_steps: int) -> list[Row]:
    """The arrivals of a run, of at least so many steps.

    Raises: UserError if there are none, not enough, or they cannot be read.
    """
    try:
        with path.open(newline="") as file:
            rows = [_row(cells) for cells in csv.DictReader(file)]
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: only runs with actors=processes or actors=ray record arrivals"
        ) from error
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged or cannot be read: {error}") from error
    steps = sum(row.size for row in rows if row.fate != "dropped")
    if steps < total_steps:
        raise UserError(
            f"{path} covers {steps} of {total_steps} steps; finish that run first: "
            f"gipo train --resume {path.parent}"
        )
    return rows


def _row(cells: Mapping[str, str]) -> Row:
    iteration, actor, version, size = (int(cells[name]) for name in Row._fields[:4])
    return Row(iteration, actor, version, size, cells["fate"])


class Replayed(ExitStack):
    """A source that collects what was collected, each rollout with the version that made it.

    Args:
        parts: What each actor was told.
        learner: Whose versions they act with.
        rows: What arrived, in order.
    """

    def __init__(self, parts: Sequence[Part], learner: Learner, rows: Sequence[Row]) -> None:
        super().__init__()
        self._learner, self._rows = learner, rows
        self._workers = [self.enter_context(Worker(part)) for part in parts]
        self._held: dict[int, dict[str, torch.Tensor]] = {}
        self._positions: list[Position] = []
        self._done = self._dropped = 0
        self.sees, self.notes = self._workers[0].ready().sees, list[str]()

    def begin(self) -> None:
        """As :class:`Source`."""
        self._begin([None] * len(self._workers))

    def go_on(self, position: Position, tensors: dict[str, Any], state: dict[str, Any]) -> bool:
        """As :class:`Source`."""
        self._done = int(state["row"])
        self._held = dict(tensors.get("past", {}))
        return self._begin(split(position, len(self._workers)))

    def _begin(self, positions: Sequence[Position | None]) -> bool:
        begun = [worker.begin(there) for worker, there in zip(self._workers, positions, strict=True)]
        self._positions = [found.position for found in begun]
        self.notes = list(dict.fromkeys(note for found in begun for note in found.notes))
        return all(found.exact for found in begun)

    def publish(self) -> None:
        """Keep the learner's new version for as long as a rollout was made with it, and no longer."""
        policy, version = self._learner.snapshot()
        needed = {row.version for row in self._rows[self._done :]}
        self._held = {old: weights for old, weights in self._held.items() if old in needed}
        if version in needed:
            self._held[version] = {name: value.clone() for name, value in policy.state_dict().items()}

    def next(self, stop: Callable[[], bool] = lambda: False) -> Rollout:
        """Collect what arrived next.

        Raises:
            StoppedError: As :class:`Source`.
            RunFailed: The record does not fit this run.
        """
        positions, done = list(self._positions), self._done
        while True:
            row = self._rows[done] if done < len(self._rows) else None
            known = row is not None and row.iteration == self._learner.version
            if row is None or not known or row.version not in self._held or row.actor >= len(positions):
                raise RunFailed(f"arrivals.csv does not fit this run at its row {done + 1}")
            found = self._workers[row.actor].collect(row.version, self._held[row.version], stop)
            if found is None:
                raise StoppedError
            rollout, positions[row.actor] = found
            done += 1
            if row.fate != "dropped":
                self._positions, self._done = positions, done
                return replace(rollout, masked=row.fate == "masked")

    def position(self) -> Position:
        """As :class:`Source`."""
        return join(self._positions)

    def tensors(self) -> dict[str, Any]:
        """The versions that are still to be collected with."""
        return {"past": self._held}

    def state(self) -> dict[str, Any]:
        """How many rows are done."""
        return {"row": self._done}

    def arrivals(self) -> list[dict[str, Any]]:
        """Nothing: they are recorded."""
        return []

    def report(self, used: int) -> dict[str, float]:
        """Nothing: they were measured when it was recorded."""
        return {}
