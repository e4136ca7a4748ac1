"""``gipo sweep``: run a grid of experiments."""

from __future__ import annotations

from typing import Annotated

import typer

from gipo_cli.commands.options import ConfigDir, Overrides, RunsRoot
from gipo_cli.errors import UserError

Status = Annotated[str | None, typer.Option("--status", metavar="STUDY", help="show a study's runs and stop")]
AllowChanges = Annotated[
    bool, typer.Option("--allow-changes", help="continue runs that other versions of libraries began")
]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", help="runs at a time (one per core)")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="try failed runs again")]
Backend = Annotated[str, typer.Option(help="local, ray or slurm")]
Cpus = Annotated[int, typer.Option(min=1, help="on a cluster: cores per run")]
Gpus = Annotated[int, typer.Option(min=0, help="on a cluster: GPUs per run")]
Address = Annotated[str | None, typer.Option(help="host:port of a Ray cluster (one on this machine)")]
Slurm = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="an option of the SLURM jobs, such as timeout_min=240"),
]


def sweep(
    overrides: Overrides = None,
    status: Status = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and stop")] = False,
    jobs: Jobs = None,
    retry_failed: RetryFailed = False,
    allow_changes: AllowChanges = False,
    name: Annotated[str | None, typer.Option(help="the study's folder; made up if left out")] = None,
    backend: Backend = "local",
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    address: Address = None,
    slurm: Slurm = None,
    print_commands: Annotated[
        bool, typer.Option("--print-commands", help="print one command per run for another scheduler")
    ] = False,
    runs: RunsRoot = None,
    config_dir: ConfigDir = None,
) -> None:
    """Run a grid of experiments, skipping finished ones.

    Axes are lists or ranges: gipo sweep objective=gipo,ppo_clip buffer.size=500,5000 seed='range(1,6)'; or
    a file of conf/study/: gipo sweep study=smoke. Type the same command again to continue where it stopped.
    """
    from gipo_cli.compare.present import print_summary
    from gipo_cli.runs.layout import runs_root
    from gipo_cli.sweep.options import Options
    from gipo_cli.sweep.session import run_study, show_status

    root = runs_root(runs)
    if status is not None:
        if overrides:
            raise UserError("--status takes a study's name alone; leave the overrides out")
        show_status(status, root)
        return
    options = Options(backend, jobs, retry_failed, allow_changes, cpus, gpus, address, slurm=slurm or [])
    code = run_study(
        overrides or [],
        root=root,
        name=name,
        config_dirs=config_dir or [],
        options=options,
        dry_run=dry_run,
        print_commands=print_commands,
        summary=print_summary,
    )
    raise typer.Exit(code)
