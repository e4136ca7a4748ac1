"""``gipo tune``: search for settings."""

from __future__ import annotations

from typing import Annotated

import typer

from gipo_cli.commands.options import ConfigDir, DryRun, Overrides, RunsRoot
from gipo_cli.commands.sweep import Address, AllowChanges, Backend, Cpus, Gpus, Jobs, RetryFailed, Slurm


def tune(
    overrides: Overrides = None,
    trials: Annotated[int, typer.Option(min=2, help="settings to try, for each objective")] = 32,
    batch: Annotated[int, typer.Option(min=1, help="trials of a round, which begin together")] = 8,
    no_pruning: Annotated[bool, typer.Option("--no-pruning", help="give every trial all its steps")] = False,
    dry_run: DryRun = False,
    jobs: Jobs = None,
    retry_failed: RetryFailed = False,
    allow_changes: AllowChanges = False,
    name: Annotated[str | None, typer.Option(help="the search's folder; made up if left out")] = None,
    backend: Backend = "local",
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    address: Address = None,
    slurm: Slurm = None,
    runs: RunsRoot = None,
    config_dir: ConfigDir = None,
) -> None:
    """Search for settings that learn, and write them to a file for gipo train.

    Ranges are typed in place of values: gipo tune env=fetch_reach agent.update.actor_lr='log(1e-5,1e-3)'
    objective.sigma='uniform(.1,2)' agent.policy.value_norm='choice(true,false)'; without one the objective's
    own knob is searched. A list, such as seed=1,2,3, is averaged over; each objective is searched apart.
    Type the same command again to continue where it stopped.
    """
    from gipo_cli.runs.layout import runs_root
    from gipo_cli.sweep.options import Options
    from gipo_cli.tune.session import tune as search

    options = Options(backend, jobs, retry_failed, allow_changes, cpus, gpus, address, slurm=slurm or [])
    code = search(
        overrides or [],
        root=runs_root(runs),
        name=name,
        config_dirs=config_dir or [],
        options=options,
        trials=trials,
        batch=batch,
        prune=not no_pruning,
        dry_run=dry_run,
    )
    raise typer.Exit(code)
