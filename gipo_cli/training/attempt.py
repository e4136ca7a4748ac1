"""What one process needs to work on a run, opened once and handed to the loop."""

from __future__ import annotations

import hashlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from gipo_cli.errors import RunFailed, StoppedError, UserError
from gipo_cli.loggers.base import Record, Writer
from gipo_cli.loggers.tensorboard import TensorBoard
from gipo_cli.loggers.terminal import Display
from gipo_cli.loggers.trackers import MLflow, Wandb
from gipo_cli.runs.checkpoint import Checkpoint
from gipo_cli.runs.durable import read_sealed
from gipo_cli.runs.run import Run
from gipo_cli.runs.signals import stop_signals
from gipo_cli.runs.status import StatusFile
from gipo_cli.runs.tables import Tables, last_row, last_step
from gipo_cli.text import flatten

HPARAM_METRICS = ("eval/success", "eval/return_mean", "train/return")


class Stop:
    """Which signal asked to stop, if any; the second stops at once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.signal: int | None = None
        self._say = say

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note the signal and say so; a second one unwinds as Ctrl-C does."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        # The main thread may be printing at this moment, and must not wait for itself.
        text = f"{signal.Signals(number).name}: stopping and saving; a second one stops at once"
        threading.Thread(target=self._say, args=(text,), daemon=True).start()


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
def attempt(
    run: Run, log: logging.Logger, saved: Checkpoint | None, display: Display, stop: Stop
) -> Iterator[Attempt]:
    """Open the records of a run, whose lock the caller holds, at step 0 or where a checkpoint left off.

    The status tells how it ended, come what may.

    Raises:
        UserError: The records are not what they were at the checkpoint.
        RunFailed: The disk refused.
        StoppedError: A second signal came.
    """
    step = saved.step if saved else 0
    with closing(_tables(run, saved)) as tables, stop_signals(stop):
        status = StatusFile(run.folder.status, total_steps=run.config.total_steps, step=step)
        try:
            with display, ExitStack() as writers:
                record = Record(tables, [display, *_listeners(run, saved, writers)])
                _show_newest(run, display)
                yield Attempt(run, log, status, record, display, stop)
        except KeyboardInterrupt:
            stop.signal = stop.signal or signal.SIGINT
            status.finish("interrupted", "stopped at once by a second signal")
            raise StoppedError from None
        except (RunFailed, UserError) as error:
            log.error("%s", error)
            status.finish("failed", str(error))
            raise
        except BaseException as error:
            log.exception("unexpected")
            status.finish("failed", f"{type(error).__name__}: {error}")
            raise
        else:
            if stop.signal is None:
                status.finish("done")
            else:
                name = signal.Signals(stop.signal).name
                status.finish("interrupted", f"stopped by {name}; resume it to go on")


def _tables(run: Run, saved: Checkpoint | None) -> Tables:
    arrivals = run.config.actors.elsewhere
    if saved is None:
        return Tables(run.folder, arrivals=arrivals)
    with saved.reading():
        return Tables(run.folder, saved.state["recorder"], arrivals=arrivals)


def _listeners(run: Run, saved: Checkpoint | None, closed: ExitStack) -> Iterator[Writer]:
    """Everything beside the tables that the configuration asks for."""
    wanted, settings = run.config.logging, flatten(run.config.model_dump(mode="json"))
    if wanted.tensorboard:
        board = TensorBoard(run.folder.tensorboard, saved.step if saved else None)
        if saved is None:
            board.hparams(settings, HPARAM_METRICS)
        yield closed.enter_context(closing(board))
    # The same for every attempt, whatever was changed since.
    created = read_sealed(run.folder.meta).get("created")
    run_id = hashlib.sha256(f"{run.folder.name} {created}".encode()).hexdigest()[:12]
    if wanted.wandb:
        yield closed.enter_context(closing(Wandb(run.folder.path, run_id, settings)))
    if wanted.mlflow is not None:
        tracker = MLflow(wanted.mlflow, run.folder.path, run_id, settings, resumed=saved is not None)
        yield closed.enter_context(closing(tracker))


def _show_newest(run: Run, display: Display) -> None:
    """Show the newest evaluation of a run that is resumed."""
    newest = last_row(run.folder.evaluations)
    known = {f"eval/{name}": newest.get(name) for name in ("return_mean", "success")}
    with suppress(ValueError):
        display.scalars({tag: float(text) for tag, text in known.items() if text}, last_step(newest))
