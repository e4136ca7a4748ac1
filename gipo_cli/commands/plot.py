"""``gipo plot``: curves of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from gipo_cli.commands.compare import Filters, GroupBy
from gipo_cli.commands.options import Paths


def plot(
    paths: Paths,
    out: Annotated[Path, Option("--out", "-o", metavar="FILE", help="PNG file to write")] = Path("plot.png"),
    metric: Annotated[
        str | None, Option(help="first curve: return, success or any column (train/return)")
    ] = None,
    group_by: GroupBy = None,
    filters: Filters = None,
) -> None:
    """Plot the curves of one run or several, also unfinished ones, in the terminal and as PNG."""
    from rich.console import Console

    from gipo_cli.compare import plot as plots

    plots.plot(paths, out=out, metric=metric, group_by=group_by, filters=filters or [], console=Console())
