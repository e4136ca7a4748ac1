"""The call into a simulator that is going on, in numbers that another process can read.

A simulator may hang in C code that holds the interpreter, so nothing in this process could notice.
"""

from __future__ import annotations

import mmap
from array import array
from typing import Self

BYTES = 5 * 8
PROCESS = -1
"""Index of a call that waits for environment processes."""


class Calls:
    """How many calls began and ended, and which environment, episode and step the newest is about."""

    def __init__(self) -> None:
        self._numbers = memoryview(array("q", [0] * 5))

    @classmethod
    def shared(cls, descriptor: int) -> Self:
        """The numbers in a file of ``BYTES`` bytes that several processes map."""
        calls = cls()
        calls.share(descriptor)
        return calls

    def share(self, descriptor: int) -> None:
        """Keep the numbers in a file of ``BYTES`` zero bytes from now on."""
        self._numbers = memoryview(mmap.mmap(descriptor, BYTES)).cast("q")

    def begin(self, index: int, episode: int, step: int) -> None:
        """A call begins; it costs less than a microsecond."""
        numbers = self._numbers
        numbers[2], numbers[3], numbers[4] = index, episode, step
        numbers[0] += 1

    def end(self) -> None:
        """It is over, well or not."""
        self._numbers[1] = self._numbers[0]

    @property
    def begun(self) -> int:
        """Calls so far."""
        return self._numbers[0]

    @property
    def going_on(self) -> bool:
        """Whether one has not ended."""
        return self._numbers[0] != self._numbers[1]

    def where(self) -> str:
        """The newest call, in words."""
        _, _, index, episode, step = self._numbers
        if index == PROCESS:
            return "an environment process"
        return f"environment {index} (episode {episode}, step {step})"


CALLS = Calls()
"""Those of this process."""
