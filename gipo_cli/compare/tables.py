"""Reading a run's CSV files: the columns asked for, in little memory, and never a guess about damage."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gipo_cli.compare.files import DamagedFile, open_plain

FloatArray = NDArray[np.float64]
BLOCK = 1 << 20
COMMA, NEWLINE = b",\n"
LARGEST = 1e100
"""A larger number counts as infinite, so that sums and squares of numbers are finite."""


@dataclass(frozen=True)
class Table:
    """The columns that were asked for.

    Attributes:
        names: all columns of the file.
        numbers: float64 columns ``[rows]``; NaN where a cell is empty.
        texts: text columns ``[rows]``.
        not_finite: by column of ``numbers``, how many cells hold NaN or infinity, as opposed to nothing;
            a number beyond `LARGEST` counts as infinite.
    """

    names: tuple[str, ...] = ()
    numbers: Mapping[str, FloatArray] = field(default_factory=dict)
    texts: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    not_finite: Mapping[str, int] = field(default_factory=dict)


def read_csv(
    path: Path,
    numbers: Collection[str] | None = None,
    texts: Collection[str] = (),
    *,
    still_written: bool = False,
) -> Table:
    """Read columns of a CSV file of unquoted cells; those that it lacks are left out.

    Args:
        path: the file.
        numbers: numeric columns; by default all. ``step`` is read in any case.
        texts: text columns.
        still_written: a writer may be in the middle of the last line, which is then not read.

    Raises:
        DamagedFile: no header, a line with too few or too many cells, a cut-off last line, quotes, a number
            that is none, or steps that do not increase.
    """
    with open_plain(path) as file:
        return _read(path.name, file, numbers, texts, still_written)


def _read(
    title: str, file: BinaryIO, numbers: Collection[str] | None, texts: Collection[str], still_written: bool
) -> Table:
    head = file.readline(BLOCK)
    if not head.endswith(b"\n"):
        raise DamagedFile(f"{title} is cut off in line 1" if head else f"{title} is empty")
    names = tuple(head.decode("utf-8", "replace").rstrip("\r\n").split(","))
    if "step" not in names or len(set(names)) < len(names):
        raise DamagedFile(f"{title} has no header line with a step column and distinct names")
    wanted = [name for name in names if numbers is None or name in numbers or name == "step"]
    words = [name for name in names if name in texts]
    values: dict[str, list[FloatArray]] = {name: [np.empty(0)] for name in wanted}
    found: dict[str, list[str]] = {name: [] for name in words}
    not_finite = dict.fromkeys(wanted, 0)
    for block, starts, ends in _blocks(title, file, len(names), still_written):
        for name in wanted:
            own = starts[:, names.index(name)], ends[:, names.index(name)]
            column = _floats(title, name, _cells(block, *own))
            values[name].append(column)
            not_finite[name] += int(np.count_nonzero(~np.isfinite(column) & (own[1] > own[0])))
        for name in words:
            index = names.index(name)
            found[name] += [
                cell.decode("utf-8", "replace") for cell in _cells(block, starts[:, index], ends[:, index])
            ]
    columns = {name: np.concatenate(parts) for name, parts in values.items()}
    if not np.isfinite(columns["step"]).all() or (np.diff(columns["step"]) < 0).any():
        raise DamagedFile(f"{title} has steps that are missing or go backwards")
    return Table(names, columns, {name: np.array(own, np.str_) for name, own in found.items()}, not_finite)


def _blocks(
    title: str, file: BinaryIO, width: int, still_written: bool
) -> Iterator[tuple[bytes, NDArray[np.intp], NDArray[np.intp]]]:
    """Whole lines, with the first and the past-the-last byte of every cell, both ``[rows, width]``."""
    line, rest = 2, b""
    while data := file.read(BLOCK):
        whole, newline, rest = (rest + data).replace(b"\r\n", b"\n").rpartition(b"\n")
        if not newline:
            continue
        block = whole + newline
        letters = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero((letters == COMMA) | (letters == NEWLINE))
        widths = np.diff(np.flatnonzero(letters[ends] == NEWLINE), prepend=-1)
        if (wrong := np.flatnonzero(widths != width)).size:
            place = f"{title}, line {line + wrong[0]}"
            raise DamagedFile(f"{place}: {widths[wrong[0]]} cells where the header has {width}")
        if b'"' in block:
            raise DamagedFile(f"{title} holds quoted text")
        starts = np.concatenate([np.zeros(1, np.intp), ends[:-1] + 1])
        yield block, starts.reshape(-1, width), ends.reshape(-1, width)
        line += len(widths)
    if rest and not still_written:
        raise DamagedFile(f"{title} is cut off in line {line}")


def _cells(block: bytes, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> list[bytes]:
    return [block[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _floats(title: str, name: str, cells: list[bytes]) -> FloatArray:
    try:
        column = np.array([float(cell or b"nan") for cell in cells], dtype=np.float64)
    except ValueError as error:
        raise DamagedFile(f"{title}, column {name}: {error}") from None
    column[np.abs(column) > LARGEST] = np.inf
    return column
