"""``gipo train``: start a run or continue one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gipo_cli.commands.options import ConfigDir, Overrides, Quiet, RunsRoot, Trust, complete_run, known_device
from gipo_cli.errors import UserError


def train(
    ctx: typer.Context,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the configuration and stop")] = False,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu or cuda; same as runtime.device=...", callback=known_device),
    ] = None,
    runs: RunsRoot = None,
    name: Annotated[str | None, typer.Option(help="the run's name; made up if left out")] = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="continue this run", autocompletion=complete_run)
    ] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="with --resume: accept other settings and versions")
    ] = False,
    trust: Trust = False,
) -> None:
    """Train an agent, or go on with a run (--resume)."""
    lines = [*(overrides or []), *([f"runtime.device={device}"] if device else [])]
    if resume is not None:
        if dry_run:
            raise UserError(
                "--dry-run does not go with --resume: `gipo show` prints a run's settings; leave it out"
            )
        for option, own in (("--name", name), ("--config-dir", config_dir)):
            if own and _typed(ctx, option):
                raise UserError(f"{option} does not go with --resume: the run has its own; leave it out")
        raise typer.Exit(_resume(resume, runs, lines, allow_changes, quiet, trust))
    for option, given in (("--allow-changes", allow_changes), ("--trust", trust)):
        if given:
            raise UserError(f"{option} goes with --resume RUN only; leave it out")
    raise typer.Exit(_train(lines, dry_run, runs, name, config_dir or [], quiet))


def _typed(ctx: typer.Context, option: str) -> bool:
    """Whether an option was given on the command line, and not by its environment variable."""
    source = ctx.get_parameter_source(option.removeprefix("--").replace("-", "_"))
    return source is not None and source.name == "COMMANDLINE"


def _train(
    lines: list[str], dry_run: bool, runs: Path | None, name: str | None, config_dirs: list[Path], quiet: bool
) -> int:
    from gipo_cli.envs.resolve import resolve
    from gipo_cli.runs import layout
    from gipo_cli.settings.compose import compose

    if name is not None:
        layout.check_name(name)
    config = compose(lines, config_dirs=config_dirs).config
    resolve(config.env)
    run_dir = layout.runs_root(runs) / (name or layout.default_name(config))
    if dry_run:
        from gipo_cli.commands.listing import print_config

        print_config(config, run_dir)
        return 0
    from gipo_cli.training.session import train as run_training

    return run_training(
        config,
        run_dir=run_dir,
        overrides=lines,
        command=["gipo", *sys.argv[1:]],
        quiet=quiet,
        unique=name is None,
    )


def _resume(
    run: str, runs: Path | None, lines: list[str], allow_changes: bool, quiet: bool, trust: bool
) -> int:
    from gipo_cli.runs import layout

    found = layout.find(layout.runs_root(runs), run)
    from gipo_cli.training.session import resume

    return resume(found.path, overrides=lines, allow_changes=allow_changes, quiet=quiet, trust=trust)
