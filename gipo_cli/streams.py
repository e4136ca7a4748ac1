"""Streams to which printing never fails."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

UNREAD = (errno.EPIPE, errno.EIO)
"""The reader has left, or the terminal is closed."""
_passing = False
"""Whether a line of `waiting` is on the terminal."""


class Lasting:
    """A stream whose reader may leave, whose terminal may close and whose disk may fill.

    What cannot be written is dropped, from then on silently; ``lost`` says why, unless nobody reads it.
    """

    def __init__(self, stream: TextIO | Lasting | None) -> None:
        if stream is None:  # closed by whoever started this process
            stream = open(os.devnull, "w")  # noqa: SIM115 - open to the end
        self._stream: TextIO = stream._stream if isinstance(stream, Lasting) else stream
        self.lost: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write in place of a line of `waiting`, or give up writing."""
        if _passing and text:
            waiting("")
        with self._give_up_where_it_fails():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or give up writing."""
        with self._give_up_where_it_fails():
            self._stream.flush()

    @contextmanager
    def _give_up_where_it_fails(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in UNREAD:
                self.lost = self.lost or str(error.strerror)
            # In place of the stream, so that what it still holds, and Python's last flush, end well.
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


def lasting_console() -> Console:
    """Standard output for training, which goes on whatever becomes of what is printed."""
    from rich.console import Console

    # FORCE_COLOR would draw the live panel into a file.
    terminal = None if sys.stdout.isatty() else False
    return Console(file=cast(TextIO, Lasting(sys.stdout)), highlight=False, force_terminal=terminal)


def waiting(text: str) -> None:
    """Say on a terminal what is being done; whatever is printed next takes its place."""
    global _passing
    _passing = False
    if sys.stderr.isatty():
        sys.stderr.write(f"\x1b[2K{text}\r")
        sys.stderr.flush()
        _passing = bool(text)


@contextmanager
def counting(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield what tells a terminal how many of ``total`` are done; nothing of it stays."""

    def told(done: int) -> None:
        waiting(f"{text} {done} of {total}")

    told(0)
    try:
        yield told
    finally:
        waiting("")
