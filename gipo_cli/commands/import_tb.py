"""``gipo import-tb``: another program's TensorBoard records as a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_tb(
    source: Annotated[Path, typer.Argument(help="folder of one run's TensorBoard event files")],
    out: Annotated[Path, typer.Option("--out", "-o", help="run folder to write")],
    settings: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="KEY=VALUE", help="its env.name, objective.name, seed and other settings"
        ),
    ],
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG=COLUMN", help="the column of a tag that is not known, repeatable"),
    ] = None,
    steps_per_tick: Annotated[
        float, typer.Option(help="environment steps per unit of the events' step")
    ] = 1.0,
    force: Annotated[bool, typer.Option("--force", help="replace an earlier import")] = False,
) -> None:
    """Import a foreign TensorBoard folder as a run that `gipo compare` reads."""
    from gipo_cli.compare.import_tb import import_tb

    losses = import_tb(
        source, out=out, settings=settings, tags=tags or [], steps_per_tick=steps_per_tick, force=force
    )
    for loss in losses:
        typer.echo(f"warning: {loss}", err=True)
    if losses:
        typer.echo("The import counts as unfinished: compare leaves it out unless told --include-unfinished.")
