"""Which of MuJoCo's ways to draw works on this machine, with or without a display."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from gipo_cli.children import command, environment
from gipo_cli.errors import UserError

if TYPE_CHECKING:
    from gipo_cli.settings.schema import EnvConfig

REMEDY = (
    "MuJoCo without a display needs EGL (apt-get install libegl1 libgl1 libgl1-mesa-dri) and MUJOCO_GL=egl "
    "or unset"
)
_PROBE_SECONDS = 60


def choose_renderer() -> tuple[str | None, str]:
    """Set ``MUJOCO_GL`` to a way of rendering that works here, if the user has not chosen one.

    Each is tried in a process of its own, since a broken graphics driver may end the process. Call it before
    anything imports OpenGL, which cannot change its mind later.

    Returns:
        The user's choice if it works; else the first that works of ``egl``, ``osmesa`` and, with a display,
        ``glfw``; None if nothing does, and what the first said.
    """
    # Gymnasium knows the names in small letters only.
    chosen, reason = os.environ.get("MUJOCO_GL", "").strip().lower(), ""
    screens = ["glfw"] if os.environ.get("DISPLAY") else []
    for backend in [chosen] if chosen else ["egl", "osmesa", *screens]:
        probe, surroundings = command("render-probe"), environment(MUJOCO_GL=backend)
        with suppress(subprocess.TimeoutExpired):
            tried = subprocess.run(probe, env=surroundings, capture_output=True, timeout=_PROBE_SECONDS)
            if tried.returncode == 0:
                os.environ["MUJOCO_GL"] = backend
                return backend, ""
            said = tried.stdout.decode(errors="replace") or f"it ended with code {tried.returncode}"
            reason = reason or f"MUJOCO_GL={backend}: {said}"
    return None, reason


def need(chosen: tuple[str | None, str], cfg: EnvConfig) -> None:
    """Refuse to draw what needs MuJoCo's renderer where :func:`choose_renderer` found none.

    Raises:
        UserError: With what the renderer said, and what to install.
    """
    # Other environments of Gymnasium may draw by other means.
    if chosen[0] is None and cfg.name != "gymnasium":
        raise UserError(f"no renderer works here ({chosen[1]}); {REMEDY}")


def probe() -> None:
    """Draw nothing with the renderer that ``MUJOCO_GL`` names; exit with 1 and say why if that fails."""
    try:
        import mujoco

        context = mujoco.GLContext(64, 64)
        context.make_current()
        context.free()
    # A graphics driver may raise anything.
    except Exception as error:
        sys.stdout.write(" ".join(f"{type(error).__name__}: {error}".split()))
        sys.stdout.flush()
        os._exit(1)
