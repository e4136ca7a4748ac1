"""``gipo sweep``: its words."""

from __future__ import annotations

from typing import Annotated

import typer

from gipo_cli.commands.options import ConfigDir, Overrides, RunsRoot
from gipo_cli.errors import UserError


def sweep(
    overrides: Overrides = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STUDY", help="show a study's runs and stop")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and stop")] = False,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="runs at a time (one per core)")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="try runs again that failed before")
    ] = False,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="go on with runs that other versions of libraries began")
    ] = False,
    name: Annotated[str | None, typer.Option(help="the study's folder; made up if left out")] = None,
    backend: Annotated[str, typer.Option(help="local, ray or slurm")] = "local",
    cpus: Annotated[int, typer.Option(min=1, help="on a cluster: cores per run")] = 1,
    gpus: Annotated[int, typer.Option(min=0, help="on a cluster: GPUs per run")] = 0,
    address: Annotated[
        str | None, typer.Option(help="host:port of a Ray cluster (one of this machine)")
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="an option of the SLURM jobs, such as timeout_min=240"),
    ] = None,
    print_commands: Annotated[
        bool, typer.Option("--print-commands", help="print one command per run for another scheduler")
    ] = False,
    runs: RunsRoot = None,
    config_dir: ConfigDir = None,
) -> None:
    """Run a whole study: objectives x buffer sizes x seeds, as far as it is not done yet.

    Axes are lists or ranges: gipo sweep objective=gipo,ppo_clip buffer.size=500,5000 seed='range(1,6)'; or
    a file of conf/study/: gipo sweep study=smoke. The same command again goes on where it stopped.
    """
    from gipo_cli.commands import sweep as pipeline
    from gipo_cli.runs.layout import runs_root
    from gipo_cli.sweep.options import Options

    root = runs_root(runs)
    if status is not None:
        if overrides:
            raise UserError("--status takes a study's name alone; leave the overrides out")
        raise typer.Exit(pipeline.show_status(status, root=root))
    options = Options(
        engine=backend,
        jobs=jobs,
        retry_failed=retry_failed,
        allow_changes=allow_changes,
        cpus=cpus,
        gpus=gpus,
        address=address,
        slurm=slurm or [],
    )
    code = pipeline.sweep(
        overrides or [],
        root=root,
        name=name,
        config_dirs=config_dir or [],
        options=options,
        dry_run=dry_run,
        print_commands=print_commands,
    )
    raise typer.Exit(code)
