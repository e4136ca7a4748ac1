"""TensorBoard events, written record by record so that their length is known at every moment."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gipo_cli.errors import UserError
from gipo_cli.runs.appendfile import AppendFile, check_mark
from gipo_cli.runs.durable import fsync_dir, writing

if TYPE_CHECKING:
    import numpy as np

_PREFIX = "events.out.tfevents."
_BINS = 64
_LARGEST = 1e38


class EventWriter:
    """Writes event files, one for each attempt at the run, in the order of their names.

    Args:
        folder: Where they lie; made if missing.
        marks: Lengths and digests of the files to keep, as ``mark`` returned them; None keeps none.
        step: Environment step of that state; a TensorBoard that is watching drops what it saw beyond it.

    Raises:
        UserError: A file to keep is not what it was.
        RunFailed: The disk refused.
    """

    def __init__(self, folder: Path, marks: Mapping[str, Any] | None = None, *, step: int = 0) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        # Deleting the folder is how a user gives up damaged curves, see the message below.
        kept = dict(marks or {}) if folder.exists() else {}
        with writing(folder):
            folder.mkdir(exist_ok=True)
        _check(folder, kept)
        for name, mark in kept.items():
            AppendFile(folder / name, mark).close()
        self._earlier = kept
        with writing(folder):
            for path in folder.glob(f"{_PREFIX}*"):
                if path.name not in kept:
                    path.unlink()
            fsync_dir(folder)
        self._name = f"{_PREFIX}{len(kept) + 1:010d}"
        self._file = AppendFile(folder / self._name)
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if kept:
            restart = SessionLog(status=SessionLog.START)
            self._append(Event(wall_time=time.time(), step=step + 1, session_log=restart))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add one event of named numbers.

        Args:
            values: Numbers by tag.
            step: Environment step.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._summary(
            Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()]), step
        )

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Add a histogram of the values below 1e38 in size; nothing if there are none.

        Args:
            tag: Its name.
            values: Samples, any shape.
            step: Environment step.
        """
        import numpy as np
        from torch.utils.tensorboard.summary import histogram

        finite = np.asarray(values, dtype=np.float64).ravel()
        finite = finite[np.abs(finite) < _LARGEST]
        if finite.size:
            self._summary(histogram(tag, finite, _BINS), step)  # type: ignore[no-untyped-call]

    def hparams(self, values: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Declare hyperparameters and the tags that measure them.

        Args:
            values: Flat hyperparameters.
            metrics: Tags of scalars.
        """
        from torch.utils.tensorboard.summary import hparams

        experiment, session, _ = hparams(dict(values), dict.fromkeys(metrics, 0))  # type: ignore[no-untyped-call]
        self._summary(experiment, 0)
        self._summary(session, 0)

    def mark(self) -> dict[str, Any]:
        """Make the events durable.

        Returns:
            Length and digest of every file, by name.
        """
        return {**self._earlier, self._name: self._file.mark()}

    def close(self) -> None:
        """Close the current file."""
        self._file.close()

    def _summary(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._append(Event(wall_time=time.time(), step=step, summary=summary))

    def _append(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        self._file.append(record.getvalue())


def _check(folder: Path, marks: Mapping[str, Any]) -> None:
    try:
        for name, mark in marks.items():
            check_mark(folder / name, mark)
    except UserError as error:
        raise UserError(f"{error}; or delete {folder} to go on without its earlier curves") from error
