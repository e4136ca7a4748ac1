"""How this package starts its own processes, so that no file of the current directory runs as code."""

from __future__ import annotations

import os
import signal
import sys

HIDDEN = "--child"
"""The first word of a child's command line, followed by its role."""
_PR_SET_PDEATHSIG = 1
_SAFE = {"PYTHONSAFEPATH": "1"}


def command(role: str, *arguments: str) -> list[str]:
    """Return the command line of a child process.

    Args:
        role: One of the roles in ``gipo_cli.__main__``.
        *arguments: What the role takes.
    """
    return [sys.executable, "-P", "-m", "gipo_cli", HIDDEN, role, *arguments]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child."""
    return {**os.environ, **_SAFE, **more}


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, also where it hangs in C code."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def protect() -> None:
    """Keep the current directory off the module search path, here and in the children of other packages.

    Such as those of ``multiprocessing`` and glfw, which start with ``python -c``.
    """
    os.environ.update(_SAFE)
    if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):
        del sys.path[0]
