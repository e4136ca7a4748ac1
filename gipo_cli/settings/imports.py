"""Import hook for a user's own modules: environments and objectives register themselves on import."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gipo_cli.errors import UserError


def modules_of(config: Mapping[str, Any]) -> list[str]:
    """Modules that a configuration as plain values would have imported, in any of its keys."""
    env = config.get("env")
    env = env if isinstance(env, dict) else {}
    named = [config.get("imports"), env.get("imports")]
    names = [str(name) for names in named if isinstance(names, list) for name in names]
    module, colon, _ = str(env.get("id")).rpartition(":")
    return list(dict.fromkeys([*names, module] if colon else names))


def import_user_modules(names: Iterable[str], key: str) -> None:
    """Import modules by their dotted names, which came from the setting ``key``.

    The current directory is searched too, and stays on ``sys.path`` (last, so that it shadows nothing) for
    processes started later.

    Raises: UserError if one cannot be imported, or has the name of another that would be imported instead.
    """
    names = list(names)
    if names and os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    for name in names:
        _refuse_taken(name, key)
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            raise UserError(
                f"{key}: cannot import module {name!r} ({type(error).__name__}: {error}); "
                "give the dotted name of a module in the current directory or of an installed package"
            ) from error


def _refuse_taken(name: str, key: str) -> None:
    """Refuse the name of a module of the current directory that belongs to an installed module too."""
    top, here = name.partition(".")[0], Path.cwd()
    own = next((path for path in (here / f"{top}.py", here / top / "__init__.py") if path.is_file()), None)
    if own is None:
        return
    loaded = sys.modules.get(top)
    spec = importlib.util.find_spec(top) if loaded is None else None
    origin = getattr(loaded, "__file__", None) or (spec.origin if spec else None)
    if origin is None or Path(origin).resolve() != own.resolve():
        raise UserError(
            f"{key}: {top!r} is also the name of an installed module ({origin or top}), which is imported "
            f"instead of {own.relative_to(here)}; give yours another name"
        )
