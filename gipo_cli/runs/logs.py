"""The run's own log file."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gipo_cli.runs.durable import open_own, writing

LOGGER = "gipo"


class _LogFile(logging.Handler):
    """Appends whole lines. A log that cannot be written is no reason for a run to fail."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        with writing(path):
            self._descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        formatter = logging.Formatter(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            os.write(self._descriptor, f"{self.format(record)}\n".encode(errors="backslashreplace"))

    def close(self) -> None:
        os.close(self._descriptor)
        super().close()


@contextmanager
def log_to(path: Path) -> Iterator[logging.Logger]:
    """Keep a log while the body runs, with times in UTC; yields the logger ``gipo``.

    It holds what that logger says, Python's warnings, and what threads of other packages fail with.

    Raises:
        RunFailed: The file cannot be opened.
    """
    handler = _LogFile(path)
    logger = logging.getLogger(LOGGER)
    sources = (logger, logging.getLogger("py.warnings"))
    logger.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for source in sources:
        source.addHandler(handler)
    hook, threading.excepthook = threading.excepthook, _log_thread
    try:
        yield logger
    finally:
        threading.excepthook = hook
        for source in sources:
            source.removeHandler(handler)
        logging.captureWarnings(False)
        handler.close()


def _log_thread(failed: threading.ExceptHookArgs) -> None:
    name = failed.thread.name if failed.thread else "a thread"
    logging.getLogger(LOGGER).warning("%s ended: %r", name, failed.exc_value)
