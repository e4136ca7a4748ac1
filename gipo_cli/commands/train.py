"""``gipo train``: start a run or resume one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Context, Exit, Option

from gipo_cli.commands.options import (
    ConfigDir,
    DryRun,
    Overrides,
    Quiet,
    RunsRoot,
    ShortDevice,
    Trust,
    another_run,
    open_run,
)
from gipo_cli.errors import UserError

if TYPE_CHECKING:
    from gipo_cli.settings.schema import RunConfig


def train(
    ctx: Context,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    device: ShortDevice = None,
    runs: RunsRoot = None,
    name: Annotated[str | None, Option(help="name of the run (made of its settings and the time)")] = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
    resume: Annotated[str | None, another_run("resume this run")] = None,
    replay_arrivals: Annotated[str | None, another_run("repeat this run of actors=processes or ray")] = None,
    allow_changes: Annotated[
        bool, Option("--allow-changes", help="with --resume: accept changed settings and versions")
    ] = False,
    trust: Trust = False,
) -> None:
    """Train a policy, or resume an interrupted run (--resume RUN)."""
    from gipo_cli.settings.files import with_files

    lines = [*with_files(overrides or []), *([f"runtime.device={device}"] if device else [])]
    if replay_arrivals is not None:
        if lines or resume or dry_run or allow_changes or config_dir:
            raise UserError(
                "--replay-arrivals RUN takes that run's settings; add --name, --runs, --quiet or --trust only"
            )
        raise Exit(_replay(replay_arrivals, runs, name, quiet, trust))
    if resume is None:
        for option, given in (("--allow-changes", allow_changes), ("--trust", trust)):
            if given:
                raise UserError(f"{option} is for --resume RUN only; leave it out")
        raise Exit(_begin(lines, dry_run, runs, name, config_dir or [], quiet))
    if dry_run:
        raise UserError("--dry-run cannot be used with --resume: `gipo show` prints a run's settings")
    for option in ("name", "config_dir"):
        # One that comes from an environment variable is meant for all commands.
        if str(ctx.get_parameter_source(option)).endswith("COMMANDLINE"):
            word = f"--{option.replace('_', '-')}"
            raise UserError(f"{word} cannot be used with --resume: the run has its own; leave it out")
    found = open_run(resume, runs)
    from gipo_cli.training.session import resume as resume_training

    raise Exit(
        resume_training(found.path, overrides=lines, allow_changes=allow_changes, quiet=quiet, trust=trust)
    )


def _begin(
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
        _print(config, run_dir)
        return 0
    from gipo_cli.training.session import train as run_training

    command = ["gipo", *sys.argv[1:]]
    return run_training(
        config,
        run_dir=run_dir,
        overrides=lines,
        command=command,
        quiet=quiet,
        unique=name is None,
        root=layout.runs_root(runs),
    )


def _replay(run: str, runs: Path | None, name: str | None, quiet: bool, trust: bool) -> int:
    from gipo_cli.runs import layout
    from gipo_cli.runs.run import open_run as open_folder
    from gipo_cli.training.session import train as run_training

    if name is not None:
        layout.check_name(name)
    found = open_run(run, runs)
    config = open_folder(found.path, trust=trust).config
    replayed = config.actors.model_copy(update={"kind": "replayed", "address": None})
    config = config.model_copy(update={"actors": replayed})
    return run_training(
        config,
        run_dir=layout.runs_root(runs) / (name or layout.default_name(config)),
        overrides=[],
        command=["gipo", *sys.argv[1:]],
        quiet=quiet,
        unique=name is None,
        arrivals=found.arrivals,
    )


def _print(config: RunConfig, run_dir: Path) -> None:
    from rich.console import Console
    from rich.syntax import Syntax
    from rich.text import Text

    from gipo_cli.envs.registry import ENVIRONMENTS
    from gipo_cli.loggers.trackers import missing
    from gipo_cli.settings.compose import to_yaml

    console, text = Console(soft_wrap=True), to_yaml(config).rstrip()
    if console.is_terminal:
        console.print(Syntax(text, "yaml", background_color="default"))
    else:
        console.file.write(text + "\n")
    console.print(Text(f"# the agent sees {ENVIRONMENTS[config.env.name].sees}", style="dim"))
    if config.actors.lag:
        from gipo_cli.training.workshop import held_policies

        console.print(Text(f"# a checkpoint holds {held_policies(config)}", style="dim"))
    if lacking := missing(config.logging):
        console.print(Text(f"# {lacking}", style="dim"))
    console.print(Text(f"# would be written to {run_dir}", style="dim"))
