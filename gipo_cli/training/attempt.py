"""What one process needs to work on a run, opened once and handed to the loop."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from types import FrameType

from gipo_cli.loggers.base import Record, Writer
from gipo_cli.loggers.tensorboard import TensorBoard
from gipo_cli.loggers.terminal import Display
from gipo_cli.runs.checkpoint import Checkpoint
from gipo_cli.runs.run import Run
from gipo_cli.runs.signals import stop_signals
from gipo_cli.runs.status import StatusFile
from gipo_cli.runs.tables import Tables, last_row, last_step
from gipo_cli.text import flatten

HPARAM_METRICS = ("eval/success", "eval/return_mean", "train/return")


@dataclass
class Stop:
    """Which signal asked to stop, if any; the second stops at once."""

    signal: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; a second one unwinds as Ctrl-C does."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number


@dataclass
class Attempt:
    """A run that this process works on: its records, its status, and whoever is told."""

    run: Run
    log: logging.Logger
    status: StatusFile
    record: Record
    display: Display
    stop: Stop

    def say(self, text: str) -> None:
        """Put one sentence into the log and before the user."""
        self.log.warning("%s", text)
        self.display.note(text)


@contextmanager
def attempt(run: Run, log: logging.Logger, saved: Checkpoint | None, *, quiet: bool) -> Iterator[Attempt]:
    """Open the records of a run, whose lock the caller holds, at step 0 or where a checkpoint left off.

    Raises:
        UserError: The records are not what they were at the checkpoint.
        RunFailed: The disk refused.
    """
    config, step = run.config, saved.step if saved else 0
    with ExitStack() as stack:
        marks = saved.state["recorder"] if saved else None
        tables = stack.enter_context(closing(Tables(run.folder, marks)))
        status = StatusFile(run.folder.status, total_steps=config.total_steps, step=step)
        title = f"{config.objective.name} on {config.env.subject}, seed {config.seed}"
        display = stack.enter_context(Display(title, config.total_steps, step=step, quiet=quiet))
        writers: list[Writer] = [display]
        if config.logging.tensorboard:
            board = TensorBoard(run.folder.tensorboard, step if saved else None)
            if saved is None:
                board.hparams(flatten(config.model_dump(mode="json")), HPARAM_METRICS)
            writers.append(stack.enter_context(closing(board)))
        newest = last_row(run.folder.evaluations)
        known = {f"eval/{name}": newest.get(name) for name in ("return_mean", "success")}
        display.scalars({tag: float(text) for tag, text in known.items() if text}, last_step(newest))
        stop = Stop()
        stack.enter_context(stop_signals(stop))
        yield Attempt(run, log, status, Record(tables, writers), display, stop)
