"""Whether a run's settings name code of its user's."""

from __future__ import annotations

from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.manifest import config_values
from gipo_cli.settings.imports import modules_of


def trust_flag(run: RunDir) -> str:
    """What `gipo eval` and others need behind the name of a run, as text to append.

    Args:
        run: The run folder.

    Returns:
        ``" --trust"`` if the run's configuration names modules; empty if not, or if it cannot be read.
    """
    try:
        return " --trust" if modules_of(config_values(run)) else ""
    except UserError:
        return ""
