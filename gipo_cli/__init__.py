"""gipo: how stale may your data be, and which policy objective survives it.

Public names, imported when first used: ``GIPO`` (the agent), ``load_run`` (a run's checkpoint as an agent),
``register`` (an objective of your own) and ``ObjectiveParams`` (the base of its parameters).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["GIPO", "ObjectiveParams", "ValueAndCoefficient", "__version__", "load_run", "register"]

if TYPE_CHECKING:
    from gipo_cli.core.objectives import ObjectiveParams, ValueAndCoefficient, register
    from gipo_cli.learning.sb3 import GIPO
    from gipo_cli.training.loading import load_run

_HOMES = {
    "GIPO": "gipo_cli.learning.sb3",
    "load_run": "gipo_cli.training.loading",
    "ObjectiveParams": "gipo_cli.core.objectives",
    "register": "gipo_cli.core.objectives",
    "ValueAndCoefficient": "gipo_cli.core.objectives",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``gipo --help`` must not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
