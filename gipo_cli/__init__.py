"""gipo: how stale can your data be, and which policy objective copes with it.

Public names, imported when first used: ``GIPO`` (the agent), ``train`` (a run, as the command makes it),
``load_run`` (a run's checkpoint as an agent), ``load_demonstrations`` (from a file), ``register`` (an
objective of your own) and ``ObjectiveParams`` (the base of its parameters).
"""

from __future__ import annotations

# Not from typing: ``python -m gipo_cli`` comes here before the current directory is off the search path.
TYPE_CHECKING = False
__version__ = "0.2.0"
__all__ = [
    "GIPO",
    "ObjectiveParams",
    "ValueAndCoefficient",
    "__version__",
    "load_demonstrations",
    "load_run",
    "register",
    "train",
]

if TYPE_CHECKING:
    from typing import Any

    from gipo_cli.core.objectives import ObjectiveParams, ValueAndCoefficient, register
    from gipo_cli.data.formats import read as load_demonstrations
    from gipo_cli.learning.sb3 import GIPO
    from gipo_cli.training.loading import load_run
    from gipo_cli.training.start import train


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``gipo --help`` must not load torch."""
    if name == "GIPO":
        from gipo_cli.learning.sb3 import GIPO

        return GIPO
    if name == "load_run":
        from gipo_cli.training.loading import load_run

        return load_run
    if name == "load_demonstrations":
        from gipo_cli.data.formats import read

        return read
    if name == "train":
        from gipo_cli.training.start import train

        return train
    if name in __all__:
        from gipo_cli.core import objectives

        return getattr(objectives, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
