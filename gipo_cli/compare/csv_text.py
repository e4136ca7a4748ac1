"""Reading the run folder's CSV files: numeric columns by name, fast, and never a guess about damage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
COMMA, NEWLINE, QUOTE = b',\n"'


class DamagedFile(Exception):  # noqa: N818 - says what a file is, and never leaves this package
    """A file that cannot be read as what it should be; the message names the file and the fault."""


@dataclass(frozen=True)
class CsvText:
    """One CSV file with its cell borders found; a column is converted only when it is asked for.

    Finding borders for the whole file at once and converting a tenth of the columns is several times faster
    than parsing every cell, which is what makes hundreds of runs load in seconds.
    """

    path: Path
    names: tuple[str, ...]
    body: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def cells(self, name: str) -> list[bytes]:
        """Raw cells of one column, top to bottom; an absent value is ``b""``."""
        column = self.names.index(name)
        borders = zip(self.starts[:, column].tolist(), self.ends[:, column].tolist(), strict=True)
        return [self.body[start:end] for start, end in borders]

    def numbers(self, name: str) -> FloatArray:
        """One column as float64 ``[rows]``; an empty cell becomes NaN.

        Raises:
            DamagedFile: a cell holds text that is no number.
        """
        try:
            return np.array([float(cell or b"nan") for cell in self.cells(name)], dtype=np.float64)
        except ValueError as error:
            raise DamagedFile(f"{self.path.name}, column {name}: {error}") from None

    def texts(self, name: str) -> NDArray[np.str_]:
        """One column as text ``[rows]``."""
        return np.array([cell.decode("utf-8", "replace") for cell in self.cells(name)], dtype=np.str_)

    def recorded_not_finite(self, name: str) -> int:
        """How many cells of a column hold NaN or infinity, as opposed to nothing."""
        return sum(cell != b"" and not np.isfinite(float(cell)) for cell in self.cells(name))


def read_csv(path: Path, *, still_written: bool = False) -> CsvText:
    """Split a CSV file of unquoted cells into rows and columns.

    Args:
        path: the file.
        still_written: a writer may be in the middle of the last line, which is then not read.

    Raises:
        DamagedFile: no header, a line with too few or too many cells, a cut-off last line, quotes, or steps
            that do not increase.
    """
    try:
        raw = path.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise DamagedFile(f"{path.name} cannot be read: {error.strerror}") from None
    if still_written:
        raw = raw[: raw.rfind(b"\n") + 1]
    if not raw:
        raise DamagedFile(f"{path.name} is empty")
    if not raw.endswith(b"\n"):
        raise DamagedFile(f"{path.name} is cut off in line {len(raw.splitlines())}")
    head, _, body = raw.partition(b"\n")
    names = tuple(head.decode("utf-8", "replace").split(","))
    if "step" not in names or len(set(names)) < len(names):
        raise DamagedFile(f"{path.name} has no header line with a step column and distinct names")
    table = CsvText(path, names, body, *_borders(path, body, len(names)))
    steps = table.numbers("step")
    if not np.isfinite(steps).all() or (np.diff(steps) < 0).any():
        raise DamagedFile(f"{path.name} has steps that are missing or go backwards")
    return table


def _borders(path: Path, body: bytes, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and past-the-last byte of every cell, both ``[rows, width]``."""
    letters = np.frombuffer(body, np.uint8)
    ends = np.flatnonzero((letters == COMMA) | (letters == NEWLINE))
    line_ends = np.flatnonzero(letters[ends] == NEWLINE)
    widths = np.diff(line_ends, prepend=-1)
    if (wrong := np.flatnonzero(widths != width)).size:
        line = int(wrong[0])
        raise DamagedFile(f"{path.name}, line {line + 2}: {widths[line]} cells where the header has {width}")
    if (letters == QUOTE).any():
        raise DamagedFile(f"{path.name} holds quoted text")
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1]) if ends.size else ends
    return starts.reshape(-1, width), ends.reshape(-1, width)
