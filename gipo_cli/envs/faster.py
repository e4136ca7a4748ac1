"""Hot methods replaced: the same code that finds faster functions under the names it uses."""

from __future__ import annotations

import math
from types import CellType, FunctionType, SimpleNamespace
from typing import Any

import numpy as np

_DOUBLE = np.dtype(np.float64)


def norm(x: Any, ord: Any = None, axis: Any = None) -> Any:
    """``np.linalg.norm`` of a vector, without NumPy's dispatch."""
    if type(x) is np.ndarray and x.dtype is _DOUBLE and x.ndim == 1 and axis is None and ord in (None, 2):
        flat = x if x.flags.c_contiguous else x.ravel("K")
        return np.float64(math.sqrt(flat.dot(flat)))
    return np.linalg.norm(x, ord, axis)


def like(module: Any, **faster: Any) -> SimpleNamespace:
    """A module with some functions replaced."""
    return SimpleNamespace(**{**vars(module), **faster})


def rebound(value: Any, names: dict[str, Any]) -> Any:
    """A function or static method with the same code, and that which it wraps, that finds ``names``."""
    if isinstance(value, staticmethod):
        return staticmethod(rebound(value.__func__, names))
    if not isinstance(value, FunctionType):
        return value
    wrapped = tuple(CellType(rebound(cell.cell_contents, names)) for cell in value.__closure__ or ())
    known = {**value.__globals__, **names}
    again = FunctionType(value.__code__, known, value.__name__, value.__defaults__, wrapped)
    again.__kwdefaults__ = value.__kwdefaults__
    return again
