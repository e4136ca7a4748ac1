"""``gipo compare``: figures, tables and a report of runs."""

from __future__ import annotations

import math
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from gipo_cli.errors import UserError


def compare(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="runs by name or folder, folders of runs, globs")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write")] = Path("comparison"),
    metric: Annotated[
        str | None,
        typer.Option(
            help="success, return, length or any column of eval.csv or metrics.csv (success, or return if no "
            "run reports success)"
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="objective or group to compare with (ppo_clip, if there)")
    ] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="setting to group by, repeatable (whatever differs)"),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", metavar="KEY=VALUE", help="keep only these runs; also KEY!=VALUE; repeatable"
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="value that counts as learned (the middle of the scale)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace an earlier report")] = False,
    include_unfinished: Annotated[
        bool, typer.Option("--include-unfinished", help="keep unfinished and failed runs and other budgets")
    ] = False,
    watch: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="refresh every SECONDS until Ctrl-C")
    ] = None,
) -> None:
    """Compare runs: figures, tables and one self-contained report."""
    if watch is not None and not 0 < watch < math.inf:
        raise UserError(
            f"--watch {watch:g} is no waiting time; write a number of seconds above 0, such as --watch 60."
        )
    if threshold is not None and not math.isfinite(threshold):
        raise UserError(
            f"--threshold {threshold:g} is no value to reach; write a number, such as --threshold 0.5."
        )
    from gipo_cli.compare import present

    # As an interruption does, a request to end leaves no half-written folder and no process behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))

    present.compare(
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
