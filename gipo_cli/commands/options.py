"""Arguments and options that several commands take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Context, Option

from gipo_cli.errors import UserError, suggest

if TYPE_CHECKING:
    from gipo_cli.runs.layout import RunDir

DEVICES = ("auto", "cpu", "cuda")


def open_run(run: str, runs: Path | None) -> RunDir:
    """Find the run that the user means."""
    from gipo_cli.runs import layout

    return layout.find(layout.runs_root(runs), run)


def complete_override(ctx: Context, incomplete: str) -> list[str]:
    """Complete a setting or its value."""
    from os import environ, pathsep

    from gipo_cli.envs.registry import ENVIRONMENTS
    from gipo_cli.settings.complete import complete, last_typed
    from gipo_cli.settings.groups import STUDIES, names_in

    given = ctx.params.get("config_dir") or environ.get("GIPO_CONFIG_DIR", "").split(pathsep)
    folders = [Path(folder) for folder in given if folder and Path(folder).is_dir()]
    typed = ctx.params.get("overrides") or []
    env = ENVIRONMENTS.get(last_typed("env", typed))
    more = {"env.task": [task for one in ([env] if env else ENVIRONMENTS.values()) for task in one.tasks]}
    if ctx.command.name == "sweep":
        more[STUDIES] = names_in(STUDIES, folders)
    return complete(incomplete, typed, folders, more)


def complete_run(ctx: Context, incomplete: str) -> list[str]:
    """Complete the name of a run."""
    from gipo_cli.runs.layout import list_runs, runs_root

    root = runs_root(ctx.params.get("runs"))
    names = [run.path.relative_to(root).as_posix() for run in list_runs(root)]
    return [name for name in names if name.startswith(incomplete)]


def complete_paths(ctx: Context, incomplete: str) -> list[str]:
    """Complete a run, a folder of runs, or any other folder."""
    from glob import glob

    runs = complete_run(ctx, incomplete)
    folders = {f"{Path(run).parent}" for run in runs} - {"."}
    return [*sorted(folders), *runs, *(name for name in glob(f"{incomplete}*/") if incomplete)]


def complete_checkpoint(ctx: Context, incomplete: str) -> list[str]:
    """Complete the step of a checkpoint that the run has."""
    with suppress(UserError):
        folder = open_run(ctx.params.get("run") or "latest", ctx.params.get("runs")).checkpoints
        steps = sorted(int(path.name[5:]) for path in folder.glob("step_" + "[0-9]" * 12))
        return [name for name in ("last", "best", *map(str, steps)) if name.startswith(incomplete)]
    return []


def complete_device(incomplete: str) -> list[str]:
    """Complete a device."""
    return [name for name in DEVICES if name.startswith(incomplete)]


def known_device(ctx: Context, name: str | None) -> str | None:
    """Refuse a device that does not exist."""
    if name is None or name in DEVICES or ctx.resilient_parsing:
        return name
    raise UserError(f"--device {name} is not one of {', '.join(DEVICES)}{suggest(name, DEVICES)}")


def another_run(about: str) -> Any:
    """An option that names a run."""
    return Option(metavar="RUN", help=about, autocompletion=complete_run)


Overrides = Annotated[
    list[str] | None,
    Argument(
        metavar="OVERRIDES",
        help="key=value pairs, such as env=fetch_push objective=sapo buffer.size=50000 seed=3",
        autocompletion=complete_override,
    ),
]
Run = Annotated[
    str,
    Argument(
        metavar="RUN",
        help="a run's folder, its name, the beginning of its name, or latest",
        autocompletion=complete_run,
    ),
]
Paths = Annotated[
    list[str],
    Argument(
        metavar="PATH...",
        help="runs by name or folder, folders of runs, globs",
        autocompletion=complete_paths,
    ),
]
RunsRoot = Annotated[
    Path | None,
    Option("--runs", metavar="FOLDER", help="folder of the runs (runs/)", envvar="GIPO_RUNS"),
]
ConfigDir = Annotated[
    list[Path] | None,
    Option(
        metavar="FOLDER",
        help="your own configuration folder, searched before the built-in one; repeatable",
        envvar="GIPO_CONFIG_DIR",
    ),
]
Device = Annotated[
    str, Option(help="auto, cpu or cuda", callback=known_device, autocompletion=complete_device)
]
Checkpoint = Annotated[
    str, Option(metavar="STEP", help="last, best or an environment step", autocompletion=complete_checkpoint)
]
ShortDevice = Annotated[
    str | None,
    Option(
        help="auto, cpu or cuda; short for runtime.device=DEVICE",
        callback=known_device,
        autocompletion=complete_device,
    ),
]
OptionalDevice = Annotated[
    str | None,
    Option(help="run: auto, cpu or cuda (cpu)", callback=known_device, autocompletion=complete_device),
]
DryRun = Annotated[bool, Option("--dry-run", help="print what would be done, and stop")]
Trust = Annotated[
    bool, Option("--trust", help="import the modules that the run names, which runs their code")
]
AsJson = Annotated[bool, Option("--json", help="print as JSON")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="print errors only")]
Seed = Annotated[int | None, Option(min=0, help="seed of the episodes (the run's eval.seed)")]
Deterministic = Annotated[
    bool, Option("--deterministic/--stochastic", help="act by the policy's mode, or sample from it")
]
