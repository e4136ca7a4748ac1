"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gipo_cli.errors import UserError, suggest


def complete_override(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a setting or its value."""
    from os import environ, pathsep

    from gipo_cli.settings.complete import complete

    given = ctx.params.get("config_dir") or environ.get("GIPO_CONFIG_DIR", "").split(pathsep)
    folders = [Path(folder) for folder in given if folder and Path(folder).is_dir()]
    return complete(incomplete, ctx.params.get("overrides") or [], folders)


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a run."""
    from gipo_cli.runs.layout import list_runs, runs_root

    root = runs_root(ctx.params.get("runs"))
    names = [run.path.relative_to(root).as_posix() for run in list_runs(root)]
    return [name for name in names if name.startswith(incomplete)]


DEVICES = ("auto", "cpu", "cuda")


def known_device(ctx: typer.Context, name: str | None) -> str | None:
    """Refuse a device that does not exist."""
    if name is None or name in DEVICES or ctx.resilient_parsing:
        return name
    raise UserError(f"--device {name} is not one of {' or '.join(DEVICES)}{suggest(name, DEVICES)}")


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OVERRIDES",
        help="key=value pairs, such as env=fetch_push objective=sapo buffer.size=50000 seed=3",
        autocompletion=complete_override,
    ),
]


Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="a run's folder, its name, the beginning of its name, or latest",
        autocompletion=complete_run,
    ),
]


RunsRoot = Annotated[
    Path | None,
    typer.Option("--runs", metavar="FOLDER", help="folder that holds the runs (runs/)", envvar="GIPO_RUNS"),
]


ConfigDir = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="your own configuration folder, searched before the shipped one; may be repeated",
        envvar="GIPO_CONFIG_DIR",
    ),
]


Device = Annotated[str, typer.Option(help="auto, cpu or cuda", callback=known_device)]


Checkpoint = Annotated[str, typer.Option(help="last, best or an environment step")]


Trust = Annotated[
    bool,
    typer.Option("--trust", help="import the modules that the run names: they run as code"),
]


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print nothing but errors")]
