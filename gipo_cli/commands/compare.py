"""``gipo compare``: figures, tables and a report of runs."""

from __future__ import annotations

import math
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from gipo_cli.commands.options import Paths
from gipo_cli.errors import UserError

Metric = Annotated[
    str | None,
    Option(
        help="success, return, length or any column of eval.csv or metrics.csv (success, or return if no "
        "run reports success)"
    ),
]
Baseline = Annotated[str | None, Option(help="objective or group to compare with (ppo_clip, if there)")]
GroupBy = Annotated[
    list[str] | None, Option(metavar="KEY", help="setting to group by, repeatable (whatever differs)")
]
Filters = Annotated[
    list[str] | None,
    Option("--filter", metavar="KEY=VALUE", help="keep only these runs; also KEY!=VALUE; repeatable"),
]
Threshold = Annotated[
    float | None, Option(help="value that counts as learned (half of a rate, else 75% of the way)")
]
Unfinished = Annotated[
    bool, Option("--include-unfinished", help="keep unfinished and failed runs and other budgets")
]
Watch = Annotated[float | None, Option(metavar="SECONDS", help="refresh every SECONDS until Ctrl-C")]


def compare(
    paths: Paths,
    out: Annotated[Path, Option("--out", "-o", help="folder to write")] = Path("comparison"),
    metric: Metric = None,
    baseline: Baseline = None,
    group_by: GroupBy = None,
    filters: Filters = None,
    threshold: Threshold = None,
    include_unfinished: Unfinished = False,
    watch: Watch = None,
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
    from gipo_cli.runs.signals import stop_signals

    with stop_signals(_stop):
        present.compare(
            paths,
            out=out,
            group_by=group_by,
            filters=filters or [],
            metric=metric,
            baseline=baseline,
            threshold=threshold,
            include_unfinished=include_unfinished,
            watch=watch,
            command=shlex.join(["gipo", *sys.argv[1:]]),
        )


def _stop(number: int, _: object) -> None:
    """Stop as Ctrl-C does, which leaves no half-written folder and no process behind."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
