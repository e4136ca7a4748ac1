"""Checks of what a file of demonstrations holds, which may be anybody's."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from gipo_cli.errors import UserError
from gipo_cli.settings.schema import EnvConfig

LARGEST = 2**33
"""Bytes of arrays at most: a small file may claim to hold far more."""
_LARGEST_WHOLE = 2**53


class Origin(BaseModel):
    """What ``about`` says, as far as anything depends on it."""

    model_config = ConfigDict(extra="allow", strict=True)

    source: str | None = None
    env: EnvConfig | None = None
    seed: int | None = None
    task_seed: int | None = None
    noise: float | None = None
    played: int | None = None
    versions: dict[str, str | None] | None = None


def floats(name: str, array: NDArray[Any], where: str) -> NDArray[np.float32]:
    """Finite numbers. Raises: UserError naming the array and the row."""
    if array.dtype.kind not in "biuf":
        raise UserError(f"{where}: {name} holds {array.dtype} and not numbers")
    numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        row = int(np.argwhere(~np.isfinite(numbers))[0][0])
        raise UserError(f"{where}: {name} is NaN or infinite in row {row}; leave that episode out")
    return numbers


def flags(name: str, array: NDArray[Any], where: str) -> NDArray[np.bool_]:
    """Yes or no, as bools or as 0 and 1. Raises: as :func:`floats`."""
    numbers = floats(name, array, where).ravel()
    if (odd := np.flatnonzero((numbers != 0) & (numbers != 1))).size:
        row = int(odd[0])
        raise UserError(
            f"{where}: {name} is {numbers[row]:g} in row {row}, which says neither yes nor no; write 0 or 1"
        )
    return numbers.astype(np.bool_)


def whole(name: str, array: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Whole numbers. Raises: as :func:`floats`."""
    if array.dtype.kind not in "biuf":
        raise UserError(f"{where}: {name} holds {array.dtype} and not numbers")
    numbers = array.astype(np.float64).ravel()
    fits = np.abs(numbers) <= _LARGEST_WHOLE
    if (odd := np.flatnonzero(~fits | (numbers != np.floor(numbers)))).size:
        row = int(odd[0])
        raise UserError(f"{where}: {name} is {numbers[row]:g} in row {row}, which is no whole number")
    return numbers.astype(np.int64)


def origin(text: NDArray[Any] | None) -> dict[str, Any]:
    """``about`` as it was written; empty if it is missing.

    Raises: ValueError if it is not JSON, or says what cannot be.
    """
    if text is None:
        return {}
    try:
        about = json.loads(str(text))
        Origin.model_validate(about)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, ('about', *first['loc'])))}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError("about is not JSON") from error
    return dict(about)
