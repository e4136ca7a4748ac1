"""``gipo show``: one run at a glance."""

from __future__ import annotations

from gipo_cli.commands.options import Run, RunsRoot


def show(run: Run, runs: RunsRoot = None) -> None:
    """Show a run: its settings against the defaults, its state, its newest numbers, what to type next."""
    from gipo_cli.commands.listing import show_run
    from gipo_cli.runs import layout

    root = layout.runs_root(runs)
    show_run(layout.find(root, run), root)
