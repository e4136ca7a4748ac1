"""``gipo compare``: its words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def compare_runs(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="runs by name or folder, folders of runs, globs")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write")] = Path("comparison"),
    metric: Annotated[
        str | None,
        typer.Option(
            help="success, return, length or any column of eval.csv or metrics.csv; by default success, or "
            "return where no run reports success"
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="objective or group to compare with (ppo_clip, if there)")
    ] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="setting to group by, repeatable; by default whatever differs"),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="KEY=VALUE", help="runs to keep; or KEY!=VALUE; repeatable"),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="value that counts as learned; by default the middle of the scale")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace an earlier report")] = False,
    include_unfinished: Annotated[
        bool, typer.Option("--include-unfinished", help="keep unfinished and failed runs and other budgets")
    ] = False,
    watch: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="refresh so often, until Ctrl-C")
    ] = None,
) -> None:
    """Compare runs: figures, tables and one self-contained report."""
    import shlex

    from gipo_cli.commands.compare import compare

    code = compare(
        paths,
        out=out,
        group_by=group_by,
        filters=filters or [],
        metric=metric,
        baseline=baseline,
        threshold=threshold,
        force=force,
        include_unfinished=include_unfinished,
        watch=watch,
        command=shlex.join(["gipo", *sys.argv[1:]]),
    )
    raise typer.Exit(code)
