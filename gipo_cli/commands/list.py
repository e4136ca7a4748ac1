"""``gipo list``: environments, objectives, presets and runs."""

from __future__ import annotations

from gipo_cli.commands.options import ConfigDir, RunsRoot


def list_envs() -> None:
    """Environments: what env=... takes, their rewards and tasks."""
    from gipo_cli.commands.listing import print_envs

    print_envs()


def list_objectives(config_dir: ConfigDir = None) -> None:
    """Objectives: what objective=... takes, their formulas and parameters."""
    from gipo_cli.commands.listing import print_objectives

    print_objectives(config_dir or [])


def list_presets(config_dir: ConfigDir = None) -> None:
    """Presets: what preset=... takes."""
    from gipo_cli.commands.listing import print_presets

    print_presets(config_dir or [])


def list_runs(runs: RunsRoot = None) -> None:
    """Runs: what they are, their state, progress and newest numbers."""
    from gipo_cli.commands.listing import print_runs
    from gipo_cli.runs.layout import runs_root

    print_runs(runs_root(runs))
