"""The run's own log file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gipo_cli.runs.durable import writing

LOGGER = "gipo"


@contextmanager
def log_to(path: Path) -> Iterator[logging.Logger]:
    """Append what the package's logger says, and Python's warnings, to a file while the body runs.

    Args:
        path: The log file; times in it are UTC.

    Yields:
        The logger ``gipo``.

    Raises:
        RunFailed: The file cannot be opened.
    """
    with writing(path):
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger(LOGGER)
    sources = (logger, logging.getLogger("py.warnings"))
    logger.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for source in sources:
        source.addHandler(handler)
    try:
        yield logger
    finally:
        for source in sources:
            source.removeHandler(handler)
        logging.captureWarnings(False)
        handler.close()
