"""How this package starts its own processes: one hidden command, safe from files of the current directory."""

from __future__ import annotations

import os
import sys

HIDDEN = "--child"
"""The first word of a child's command line, followed by its role."""


def command(role: str, *arguments: str) -> list[str]:
    """Return the command line of a child process.

    Args:
        role: One of the roles in ``gipo_cli.__main__``.
        *arguments: What the role takes.
    """
    return [sys.executable, "-P", "-m", "gipo_cli", HIDDEN, role, *arguments]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child: this process's, and that of the children of other packages too."""
    return {**os.environ, "PYTHONSAFEPATH": "1", **more}
