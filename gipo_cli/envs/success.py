"""What an environment says about success."""

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
    if isinstance(value, (bool, int, float, np.bool_, np.number)) and value in (0, 1):
        return bool(value)
    flag = value.get("task") if isinstance(value, Mapping) else value
    try:
        one = np.asarray(flag)
    except (TypeError, ValueError, RuntimeError):
        one = np.asarray(None)
    if one.size == 1 and one.dtype.kind in "biuf" and one.item() in (0, 1):
        return bool(one.item())
    said = " ".join(repr(value).split())
    said = said if len(said) <= 80 else f"{said[:79]}…"
    raise RunFailed(
        f"info[{key!r}] is {said}, which says neither success nor failure; make it a bool, 0 or 1, or an "
        "array of one of these, or name another key in env.success_key"
    )
