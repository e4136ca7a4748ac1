"""TensorBoard's event files: one per attempt at a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gipo_cli.runs.logs import LOGGER

if TYPE_CHECKING:
    import numpy as np

_BINS = 64
_LARGEST = 1e38


class TensorBoard:
    """Writes the curves of one attempt; a disk that refuses them ends them and not the run.

    Args:
        folder: Where the event files lie; made if missing.
        step: Environment step that the attempt goes on from, None at the start of a run. A TensorBoard that
            is watching drops what it saw beyond it.
    """

    def __init__(self, folder: Path, step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = None
        try:
            self._writer = SummaryWriter(str(folder), purge_step=None if step is None else step + 1)
        except OSError as error:
            self._give_up(error)

    def hparams(self, values: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Declare flat hyperparameters and the tags that measure them; once, at the start of a run."""
        from torch.utils.tensorboard.summary import hparams

        # Lists and None as text, since TensorBoard knows neither.
        plain = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in values.items()
        }
        for summary in hparams(plain, dict.fromkeys(metrics, 0))[:2]:  # type: ignore[no-untyped-call]
            self._add(summary, 0)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add named numbers in one event."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._add(Summary(value=points), step)

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Add a histogram of the values below 1e38 in size; nothing if there are none."""
        import numpy as np
        from torch.utils.tensorboard.summary import histogram

        finite = np.asarray(values, dtype=np.float64).ravel()
        finite = finite[np.abs(finite) < _LARGEST]
        if finite.size:
            self._add(histogram(tag, finite, _BINS), step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                self._give_up(error)

    def _add(self, summary: Any, step: int) -> None:
        if self._writer is not None:
            try:
                self._writer.file_writer.add_summary(summary, step)
                # At once: the next checkpoint notes how long the file is.
                self._writer.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._writer = None
        logging.getLogger(LOGGER).warning("TensorBoard's curves end here: %s", error.strerror or error)
