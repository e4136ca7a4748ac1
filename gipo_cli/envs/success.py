"""What an environment says about success, and about the end of an episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gipo_cli.errors import RunFailed


def read_success(key: str, value: Any) -> bool:
    """Whether the value under a key of ``info`` says success.

    A bool, 0 or 1, an array or list of one of these, or robosuite's and robomimic's ``{"task": bool, ...}``.

    Raises:
        RunFailed: It is anything else, such as a share, NaN or text.
    """
    flag = _flag(value.get("task") if isinstance(value, Mapping) else value)
    if flag is None:
        raise RunFailed(
            f"info[{key!r}] is {_said(value)}, which says neither success nor failure; make it a bool, 0 or "
            "1, or an array of one of these, or name another key in env.success_key"
        )
    return flag


def read_end(name: str, value: Any) -> bool:
    """Whether ``terminated`` or ``truncated`` of a step is true: a bool, 0 or 1, or an array of one of these.

    Raises:
        RunFailed: It is anything else.
    """
    flag = _flag(value)
    if flag is None:
        raise RunFailed(f"{name} is {_said(value)}, which is neither true nor false; make it a bool")
    return flag


def _flag(value: Any) -> bool | None:
    """The bool that a value is without doubt, else None."""
    if isinstance(value, (bool, int, float, np.bool_, np.number)) and value in (0, 1):
        return bool(value)
    try:
        one = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    known = one.size == 1 and one.dtype.kind in "biuf" and one.item() in (0, 1)
    return bool(one.item()) if known else None


def _said(value: Any) -> str:
    said = " ".join(repr(value).split())
    return said if len(said) <= 80 else f"{said[:79]}…"
