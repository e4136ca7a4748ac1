"""Reading a run's CSV files: the columns asked for, in little memory, and never a guess about damage."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from gipo_cli.compare.files import DamagedFile, open_plain

FloatArray = NDArray[np.float64]
BLOCK = 1 << 18
COMMA, NEWLINE = b",\n"
PLAIN = b"0123456789+-.eE,"
LARGEST = 1e100
"""A larger number counts as infinite, so that sums and squares of numbers are finite."""


class Mark(NamedTuple):
    """The beginning of a file as a checkpoint saw it."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Table:
    """The columns that were asked for."""

    names: tuple[str, ...] = ()  # all columns of the file
    numbers: Mapping[str, FloatArray] = field(default_factory=dict)  # [rows]; NaN where a cell is empty
    texts: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)  # [rows]
    not_finite: Mapping[str, int] = field(default_factory=dict)  # cells that hold NaN or infinity


def read_csv(
    path: Path,
    numbers: Collection[str] | None = None,
    texts: Collection[str] = (),
    *,
    still_written: bool = False,
    mark: Mark | None = None,
) -> Table:
    """Read columns of a CSV file of unquoted cells; those that it lacks are left out.

    ``numbers`` are by default all columns; ``step`` is read in any case. Of a file that is ``still_written``
    a last line without an end is not read.

    Raises:
        DamagedFile: no header, a line with too few or too many cells, a cut-off last line, quotes, a number
            that is none, steps that do not increase, or a beginning that is not that of ``mark``.
    """
    with open_plain(path) as file:
        blocks = _blocks(path.name, file, mark)
        names = _names(path.name, next(blocks))
        wanted = [name for name in names if numbers is None or name in numbers or name == "step"]
        found: dict[str, list[str]] = {name: [] for name in names if name in texts}
        values, missing, line = [np.empty((0, len(wanted)))], np.zeros(len(wanted), int), 2
        for block in blocks:
            if not block.endswith(b"\n"):
                if still_written:
                    continue
                raise DamagedFile(f"{path.name} is cut off in line {line}")
            cells = _Cells(path.name, block, names, line)
            line += cells.rows
            values.append(cells.numbers(wanted))
            if not (finite := np.isfinite(values[-1])).all():
                missing += (cells.filled(wanted) & ~finite).sum(axis=0)
            for name, words in found.items():
                words += [cell.decode("utf-8", "replace") for cell in cells.of(name)]
    columns = dict(zip(wanted, np.concatenate(values).T.copy(), strict=True))
    if not np.isfinite(columns["step"]).all() or (np.diff(columns["step"]) < 0).any():
        raise DamagedFile(f"{path.name} has steps that are missing or go backwards")
    texts_read = {name: np.array(words, np.str_) for name, words in found.items()}
    return Table(names, columns, texts_read, dict(zip(wanted, missing.tolist(), strict=True)))


def _blocks(title: str, file: BinaryIO, mark: Mark | None) -> Iterator[bytes]:
    """The header, whole lines, and what follows the last line end."""
    digest, left = hashlib.sha256(), mark.size if mark else 0
    head, rest = True, b""
    while data := file.read(BLOCK):
        digest.update(data[:left])
        left = max(left - len(data), 0)
        text = rest + data
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        if head:
            first, newline, text = text.partition(b"\n")
            if not newline:
                raise DamagedFile(f"{title} is cut off in line 1")
            yield first
            head = False
        end = text.rfind(b"\n") + 1
        if end:
            yield text[:end]
        rest = text[end:]
    if head:
        raise DamagedFile(f"{title} is empty")
    if rest:
        yield rest
    if mark and (left or digest.hexdigest() != mark.sha256):
        raise DamagedFile(f"{title} was changed since the newest checkpoint was saved")


def _names(title: str, head: bytes) -> tuple[str, ...]:
    names = tuple(head.decode("utf-8", "replace").split(","))
    if "step" not in names or len(set(names)) < len(names):
        raise DamagedFile(f"{title} has no header line with a step column and distinct names")
    return names


class _Cells:
    """The cells of a block of lines."""

    def __init__(self, title: str, block: bytes, names: tuple[str, ...], line: int) -> None:
        letters = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero((letters == COMMA) | (letters == NEWLINE))
        self.rows, width = block.count(b"\n"), len(names)
        if len(ends) != self.rows * width or (letters[ends[width - 1 :: width]] != NEWLINE).any():
            widths = np.diff(np.flatnonzero(letters[ends] == NEWLINE), prepend=-1)
            wrong = np.flatnonzero(widths != width)[0]
            place = f"{title}, line {line + wrong}"
            raise DamagedFile(f"{place}: {widths[wrong]} cells where the header has {width}")
        if b'"' in block:
            raise DamagedFile(f"{title} holds quoted text")
        self._title, self._block, self._names, self._letters = title, block, names, letters
        self._ends = ends.reshape(-1, width)
        self._starts = np.append(0, ends[:-1] + 1).reshape(-1, width)

    def filled(self, names: Collection[str]) -> NDArray[np.bool_]:
        """Whether the cells of some columns hold anything ``[rows, columns]``."""
        columns = [self._names.index(name) for name in names]
        return self._ends[:, columns] > self._starts[:, columns]

    def numbers(self, names: Collection[str]) -> FloatArray:
        """The cells of some columns as numbers ``[rows, columns]``, in the order of the file."""
        wanted = np.array([name in names for name in self._names])
        # Columns that stand together are kept or dropped together.
        last = np.flatnonzero(np.append(wanted[1:] != wanted[:-1], True))
        sizes = np.diff(self._ends[:, last].ravel(), prepend=-1)
        kept = np.repeat(np.tile(wanted[last], self.rows), sizes)
        text = b"," + self._letters[kept].tobytes().replace(b"\n", b",")
        shape = self.rows, len(names)
        try:
            # A JSON reader drops the sign of -0.
            if text.translate(None, PLAIN) or b",-0," in text:
                raise ValueError
            for _ in range(2):
                text = text.replace(b",,", b",NaN,")
            # A reader of JSON takes a third of the time that float() does.
            values = np.fromiter(from_json(b"[%b]" % text[1:-1]), np.float64, shape[0] * shape[1])
        except ValueError:
            values = np.stack([self._floats(name) for name in names], axis=1)
        values[np.abs(values) > LARGEST] = np.inf
        return values.reshape(shape)

    def of(self, name: str) -> list[bytes]:
        """The cells of one column."""
        column = self._names.index(name)
        places = zip(self._starts[:, column].tolist(), self._ends[:, column].tolist(), strict=True)
        return [self._block[start:end] for start, end in places]

    def _floats(self, name: str) -> FloatArray:
        try:
            return np.array([float(cell or b"nan") for cell in self.of(name)], dtype=np.float64)
        except ValueError as error:
            raise DamagedFile(f"{self._title}, column {name}: {error}") from None
