"""The ``gipo`` command, put together from one file per sub-command."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn, TextIO, cast

import typer

from gipo_cli.children import protect
from gipo_cli.commands import (
    clone,
    compare,
    demos,
    diagnose,
    eval,
    export,
    import_tb,
    list,
    plot,
    posttrain,
    show,
    sweep,
    train,
    tune,
    video,
)
from gipo_cli.commands.parsing import USAGE_ERROR, Command, Group, SettingsCommand, usage
from gipo_cli.errors import RunFailed, UnknownChoice, UserError
from gipo_cli.streams import Lasting
from gipo_cli.text import printable

app = typer.Typer(
    name="gipo",
    cls=Group,
    epilog="Start with gipo train --dry-run, or with gipo list envs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", cls=SettingsCommand)(train.train)
app.command("eval", cls=Command)(eval.evaluate)
app.command("video", cls=Command)(video.video)
app.command("export", cls=Command)(export.export)
app.command("clone", cls=SettingsCommand)(clone.clone)
app.command("posttrain", cls=SettingsCommand)(posttrain.posttrain)
app.command("demos", cls=SettingsCommand)(demos.demos)
app.command("diagnose", cls=Command)(diagnose.diagnose)
app.command("sweep", cls=SettingsCommand)(sweep.sweep)
app.command("tune", cls=SettingsCommand)(tune.tune)
app.command("show", cls=Command)(show.show)
app.command("plot", cls=Command)(plot.plot)
app.command("compare", cls=Command)(compare.compare)
app.command("import-tb", cls=Command)(import_tb.import_tb)
listing = typer.Typer(
    cls=Group, help="List settings, environments, objectives, runs and more.", no_args_is_help=True
)
app.add_typer(listing, name="list")
listing.command("settings", cls=Command)(list.list_settings)
listing.command("envs", cls=Command)(list.list_envs)
listing.command("objectives", cls=Command)(list.list_objectives)
listing.command("presets", cls=Command)(list.list_presets)
listing.command("studies", cls=Command)(list.list_studies)
listing.command("metrics", cls=Command)(list.list_metrics)
listing.command("runs", cls=Command)(list.list_runs)
listing.command("demos", cls=Command)(demos.list_demos)


def _version(value: bool) -> None:
    if value:
        from gipo_cli import __version__

        typer.echo(f"gipo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """How stale may replayed data be, and which policy objective copes with it best?"""


def _said(error: UserError) -> str:
    """A user's mistake in words, with what is known here of environments that other tools name by id."""
    if isinstance(error, UnknownChoice) and error.group == "env":
        from gipo_cli.envs.registry import typed

        if settings := typed(error.value):
            return f"there is no env {error.value!r}; type {settings}"
    return str(error)


def main() -> NoReturn:
    """Run the command line; users' mistakes exit with 2 and failed runs with 1, both without a traceback."""
    protect()
    out = Lasting(sys.stdout)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, Lasting(sys.stderr))
    code, message = 0, ""
    try:
        code = app(prog_name="gipo", standalone_mode=False) or 0
        sys.stdout.flush()
        if not code and out.lost:
            code, message = 1, f"what was printed is not whole: {out.lost}"
    except UserError as error:
        code, message = 2, _said(error)
    except USAGE_ERROR as error:
        code, message = 2, usage(error)
    except RunFailed as error:
        code, message = 1, str(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except typer.Abort:
        sys.exit(1)
    if message:
        # A name in it may be a stranger's.
        shown = "\n".join(map(printable, message.splitlines()))
        sys.stderr.write(f"error: {shown}\n")
    sys.exit(code)
