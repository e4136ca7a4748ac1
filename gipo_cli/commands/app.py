"""The ``gipo`` command: one function per sub-command, each of which imports its work when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer
from typer.core import TyperCommand, TyperGroup

from gipo_cli.errors import RunFailed, UserError, suggest

_USAGE_ERROR = cast(type[Exception], typer.BadParameter.__mro__[1])
"""What Typer raises for mistakes in the words of a command line; it exports this subclass alone."""


def _is_flag(param: Any) -> bool:
    return bool(getattr(param, "is_flag", False))


def _without_flag_types(params: list[Any]) -> list[Any]:
    """A flag takes no value, so its help names no type, which Typer would print as ``<bool>``."""
    for param in params:
        if _is_flag(param):
            param.metavar = ""
    return params


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_flag_types(super().get_params(ctx))


class _SettingsCommand(_Command):
    """A command that takes overrides."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        from gipo_cli.settings.typed import refuse_dashes

        if not ctx.resilient_parsing:
            _refuse_letters(args)
            options = [param for param in self.get_params(ctx) if param.param_type_name == "option"]
            names = {name: not _is_flag(option) for option in options for name in option.opts}
            refuse_dashes(args, names)
        return super().parse_args(ctx, args)


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_flag_types(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            near = suggest(args[0], self.commands)
            raise UserError(f"there is no command {args[0]!r}{near}; `{ctx.command_path} -h` lists them all")
        return super().resolve_command(ctx, args)


class _App(_Group):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in INSTEAD:
            raise UserError(f"there is no command {args[0]!r}; type `{INSTEAD[args[0]]}`")
        return super().resolve_command(ctx, args)


def _refuse_letters(words: list[str]) -> None:
    """Name the option that stands here for one of another tool."""
    settled = words.index("--") if "--" in words else len(words)
    for word, value in zip(words[:settled], [*words[1:], "NAME"], strict=False):
        if word in LETTERS:
            raise UserError(f"there is no option {word}; write {LETTERS[word]} {value}")


INSTEAD = {
    "help": "gipo -h",
    "run": "gipo train",
    "learn": "gipo train",
    "resume": "gipo train --resume RUN",
    "continue": "gipo train --resume RUN",
    "evaluate": "gipo eval RUN",
    "test": "gipo eval RUN",
    "enjoy": "gipo video RUN",
    "render": "gipo video RUN",
    "plot": "gipo compare RUN ...",
    "ls": "gipo list runs",
    "config": "gipo train --dry-run",
    "tensorboard": "tensorboard --logdir runs",
}
"""Commands of other tools, and what does the same here."""
LETTERS = {"-n": "--name"}
"""Options of one letter that other tools have, and what does the same here."""

app = typer.Typer(
    name="gipo",
    cls=_App,
    help="How stale may replayed data be, and which policy objective survives it.",
    epilog="Start with gipo train --dry-run, or with gipo list envs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
listing = typer.Typer(
    cls=_Group, help="List environments, objectives, presets or runs.", no_args_is_help=True
)
app.add_typer(listing, name="list")


def _complete_override(ctx: typer.Context, incomplete: str) -> list[str]:
    from os import environ, pathsep

    from gipo_cli.settings.complete import complete

    given = ctx.params.get("config_dir") or environ.get("GIPO_CONFIG_DIR", "").split(pathsep)
    folders = [Path(folder) for folder in given if folder and Path(folder).is_dir()]
    return complete(incomplete, ctx.params.get("overrides") or [], folders)


def _complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    from gipo_cli.runs.layout import list_runs, runs_root

    root = runs_root(ctx.params.get("runs"))
    names = [run.path.relative_to(root).as_posix() for run in list_runs(root)]
    return [name for name in names if name.startswith(incomplete)]


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OVERRIDES",
        help="key=value pairs, such as env=fetch_push objective=sapo buffer.size=50000 seed=3",
        autocompletion=_complete_override,
    ),
]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="a run's folder, its name, the beginning of its name, or latest",
        autocompletion=_complete_run,
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


def _device(ctx: typer.Context, name: str | None) -> str | None:
    if name is None or name in DEVICES or ctx.resilient_parsing:
        return name
    raise UserError(f"--device {name} is not one of {' or '.join(DEVICES)}{suggest(name, DEVICES)}")


DEVICES = ("auto", "cpu", "cuda")
Device = Annotated[str, typer.Option(help="auto, cpu or cuda", callback=_device)]
Checkpoint = Annotated[str, typer.Option(help="last, best or an environment step")]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="import the modules that the run names: they run as code"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print nothing but errors")]


@app.command(cls=_SettingsCommand)
def train(
    ctx: typer.Context,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the configuration and stop")] = False,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu or cuda; same as runtime.device=...", callback=_device),
    ] = None,
    runs: RunsRoot = None,
    name: Annotated[str | None, typer.Option(help="the run's name; made up if left out")] = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="continue this run", autocompletion=_complete_run)
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
    from gipo_cli.envs.registry import resolve
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


@app.command("eval", cls=_Command)
def evaluate(
    run: Run,
    episodes: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="episodes (the run's own number)")
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic/--stochastic", help="the policy's mode, or samples from it")
    ] = True,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="of the episodes (the run's eval.seed)")
    ] = None,
    checkpoint: Checkpoint = "last",
    protocol: Annotated[
        str | None, typer.Option(help="standard or metaworld (metaworld for its tasks)")
    ] = None,
    device: Device = "cpu",
    runs: RunsRoot = None,
    trust: Trust = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Evaluate a run's policy over fixed episodes, with an interval for its success rate."""
    from gipo_cli.runs import layout

    found = layout.find(layout.runs_root(runs), run)
    from gipo_cli.training.evaluate import evaluate_run

    report = evaluate_run(
        found.path,
        episodes=episodes,
        deterministic=deterministic,
        seed=seed,
        checkpoint=checkpoint,
        protocol=protocol,
        device=device,
        trust=trust,
    )
    if as_json:
        import json

        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        typer.echo("\n".join(report.lines()))


@app.command(cls=_Command)
def video(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="an .mp4 or .gif file (RUN/videos/...)")] = None,
    episodes: Annotated[int, typer.Option(help="episodes, one after the other")] = 1,
    deterministic: Annotated[
        bool, typer.Option("--deterministic/--stochastic", help="the policy's mode, or samples from it")
    ] = True,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="of the episodes (the run's eval.seed)")
    ] = None,
    checkpoint: Annotated[
        str, typer.Option(help="last, best, a step, or best-or-last: the best if any was evaluated")
    ] = "best-or-last",
    fps: Annotated[float | None, typer.Option(help="pictures per second (the simulated speed)")] = None,
    every: Annotated[int | None, typer.Option(help="film every so many steps")] = None,
    device: Device = "cpu",
    runs: RunsRoot = None,
    trust: Trust = False,
) -> None:
    """Film a run's policy as MP4 or GIF, without a display too."""
    from gipo_cli.runs import layout

    found = layout.find(layout.runs_root(runs), run)
    from gipo_cli.commands.video import record

    film = record(
        found.path,
        out=out,
        episodes=episodes,
        deterministic=deterministic,
        seed=seed,
        checkpoint=checkpoint,
        fps=fps,
        every=every,
        device=device,
        trust=trust,
    )
    count = f"{len(film.returns)} episode{'s' if len(film.returns) != 1 else ''}"
    wins = f", {sum(film.successes)} successful" if film.successes else ""
    typer.echo(f"{film.path}: {film.frames} frames, {count}{wins}")


def _knob(option: str) -> Any:
    """Reads one value of an option that may be repeated."""

    def read(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            values = text.replace(",", " ").split()
            again = " ".join(f"{option} {value}" for value in values)
            cure = f"repeat the option: {again}" if len(values) > 1 else f"write {option} 0.5"
            raise UserError(f"{option} takes one number, not {text!r}; {cure}") from None

    return read


@app.command(cls=_Command)
def diagnose(
    target: Annotated[
        str,
        typer.Argument(
            metavar="gridworld|RUN",
            help="gridworld: the exact study; else a run whose checkpoints kept their buffer",
            autocompletion=_complete_run,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="folder to write (gridworld-study, or RUN/diagnose)")
    ] = None,
    pairs: Annotated[int | None, typer.Option(help="gridworld: policy pairs per setting (100)")] = None,
    points: Annotated[int | None, typer.Option(help="gridworld: knob values per family (60)")] = None,
    seed: Annotated[int | None, typer.Option(min=0, metavar="N", help="gridworld: of the pairs (0)")] = None,
    monte_carlo: Annotated[
        bool, typer.Option("--monte-carlo", help="gridworld: check exact numbers by sampling")
    ] = False,
    checkpoint: Annotated[
        list[int] | None, typer.Option(metavar="STEP", help="run: a step; may be repeated (all)")
    ] = None,
    gipo_sigma: Annotated[
        list[float] | None,
        typer.Option(
            metavar="SIGMA", parser=_knob("--gipo-sigma"), help="run: sigma values; may be repeated"
        ),
    ] = None,
    ppo_eps: Annotated[
        list[float] | None,
        typer.Option(metavar="EPS", parser=_knob("--ppo-eps"), help="run: eps values; may be repeated"),
    ] = None,
    sapo_tau: Annotated[
        list[float] | None,
        typer.Option(metavar="TAU", parser=_knob("--sapo-tau"), help="run: tau values; may be repeated"),
    ] = None,
    tis_c: Annotated[
        list[float] | None,
        typer.Option(metavar="C", parser=_knob("--tis-c"), help="run: c values; may be repeated"),
    ] = None,
    probe_size: Annotated[int | None, typer.Option(help="run: transitions of the probe")] = None,
    chunks: Annotated[int | None, typer.Option(help="run: disjoint chunks of the probe")] = None,
    device: Annotated[str | None, typer.Option(help="run: auto, cpu or cuda (cpu)", callback=_device)] = None,
    force: Annotated[bool, typer.Option("--force", help="replace an earlier diagnosis")] = False,
    runs: RunsRoot = None,
    trust: Trust = False,
) -> None:
    """Bias and variance of every objective: exactly on a GridWorld, or on a run's checkpoints."""
    of_study = {"pairs": pairs, "points": points, "seed": seed, "monte_carlo": monte_carlo or None}
    settings = {
        "gipo_sigma": gipo_sigma,
        "ppo_eps": ppo_eps,
        "sapo_tau": sapo_tau,
        "tis_c": tis_c,
        "probe_size": probe_size,
        "chunks": chunks,
    }
    study = target == "gridworld"
    of_run = {**settings, "checkpoint": checkpoint, "device": device, "trust": trust or None}
    foreign = of_run if study else of_study
    for name, given in foreign.items():
        if given is not None:
            where, other = ("a run", "gridworld") if study else ("gridworld", "a run")
            raise UserError(f"--{name.replace('_', '-')} goes with {where}, not with {other}; leave it out")
    if study:
        from gipo_cli.commands.gridworld import gridworld

        folder = out or Path("gridworld-study")
        chosen: dict[str, Any] = {k: v for k, v in of_study.items() if v is not None}
        lines = gridworld(folder, force=force, **chosen)
    else:
        from gipo_cli.commands.diagnose import run as diagnose_run
        from gipo_cli.runs import layout

        changes = {k: v for k, v in settings.items() if v is not None}
        folder, lines = diagnose_run(
            layout.find(layout.runs_root(runs), target).path,
            out=out,
            changes=changes,
            steps=checkpoint or (),
            device=device or "cpu",
            force=force,
            trust=trust,
        )
    typer.echo("\n".join([*lines, f"written to {folder}"]))


@app.command(cls=_SettingsCommand)
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


@app.command(cls=_Command)
def show(run: Run, runs: RunsRoot = None) -> None:
    """Show a run: its settings against the defaults, its state, its newest numbers, what to type next."""
    from gipo_cli.commands.listing import show_run
    from gipo_cli.runs import layout

    root = layout.runs_root(runs)
    show_run(layout.find(root, run), root)


@app.command("compare", cls=_Command)
def compare_runs(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="runs by name or folder, folders of runs, globs")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write")] = Path("comparison"),
    metric: Annotated[
        str | None,
        typer.Option(
            help="success, return, length or any column of eval.csv or metrics.csv; by default success, or "
            "return where no run reports success"
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="objective or group to compare with (ppo_clip, if there)")
    ] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="setting to group by, repeatable; by default whatever differs"),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="KEY=VALUE", help="runs to keep; or KEY!=VALUE; repeatable"),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="value that counts as learned; by default the middle of the scale")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace an earlier report")] = False,
    include_unfinished: Annotated[
        bool, typer.Option("--include-unfinished", help="keep unfinished and failed runs and other budgets")
    ] = False,
    watch: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="refresh so often, until Ctrl-C")
    ] = None,
) -> None:
    """Compare runs: figures, tables and one self-contained report."""
    import shlex

    from gipo_cli.commands.compare import compare

    code = compare(
        paths,
        out=out,
        group_by=group_by,
        filters=filters or [],
        metric=metric,
        baseline=baseline,
        threshold=threshold,
        force=force,
        include_unfinished=include_unfinished,
        watch=watch,
        command=shlex.join(["gipo", *sys.argv[1:]]),
    )
    raise typer.Exit(code)


@app.command("import-tb", cls=_Command)
def import_tb_folder(
    source: Annotated[Path, typer.Argument(help="folder of one run's TensorBoard event files")],
    out: Annotated[Path, typer.Option("--out", "-o", help="run folder to write")],
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="key=value of its configuration: env.name, objective.name and seed at least",
        ),
    ],
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG=COLUMN", help="for a tag that is not known, repeatable"),
    ] = None,
    steps_per_tick: Annotated[
        float, typer.Option(help="environment steps per unit of the events' step")
    ] = 1.0,
    force: Annotated[bool, typer.Option("--force", help="replace an earlier import")] = False,
) -> None:
    """Import a foreign TensorBoard folder as a run that `gipo compare` reads."""
    from gipo_cli.commands.import_tb import import_tb

    code = import_tb(
        source, out=out, settings=settings, tags=tags or [], steps_per_tick=steps_per_tick, force=force
    )
    raise typer.Exit(code)


@listing.command("envs", cls=_Command)
def list_envs() -> None:
    """Environments: what env=... takes, their rewards and tasks."""
    from gipo_cli.commands.listing import print_envs

    print_envs()


@listing.command("objectives", cls=_Command)
def list_objectives(config_dir: ConfigDir = None) -> None:
    """Objectives: what objective=... takes, their formulas and parameters."""
    from gipo_cli.commands.listing import print_objectives

    print_objectives(config_dir or [])


@listing.command("presets", cls=_Command)
def list_presets(config_dir: ConfigDir = None) -> None:
    """Presets: what preset=... takes."""
    from gipo_cli.commands.listing import print_presets

    print_presets(config_dir or [])


@listing.command("runs", cls=_Command)
def list_runs(runs: RunsRoot = None) -> None:
    """Runs: what they are, their state, progress and newest numbers."""
    from gipo_cli.commands.listing import print_runs
    from gipo_cli.runs.layout import runs_root

    print_runs(runs_root(runs))


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
    """How stale may replayed data be, and which policy objective survives it."""


def main() -> NoReturn:
    """Run the command line; users' mistakes exit with 2 and failed runs with 1, both without a traceback."""
    try:
        sys.exit(app(prog_name="gipo", standalone_mode=False))
    except UserError as error:
        code, message = 2, str(error)
    except _USAGE_ERROR as error:
        code, message = 2, _usage(error)
    except RunFailed as error:
        code, message = 1, str(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except typer.Abort:
        sys.exit(1)
    if message:
        sys.stderr.write(f"error: {message}\n")
    sys.exit(code)


def _usage(error: Any) -> str:
    """A mistake in the words of a command line as one sentence; empty if help was printed instead."""
    said = " ".join(error.format_message().split()).rstrip(".")
    said = said[:1].lower() + said[1:]
    if not said or error.ctx is None:
        return said
    command, needed = error.ctx.command_path, [p for p in error.ctx.command.params if p.required]
    type_this = f"; `{command} -h` lists what it takes"
    if said.startswith("missing"):
        words = [
            f"{'' if p.param_type_name == 'argument' else p.opts[0] + ' '}{_stands_for(p)}" for p in needed
        ]
        type_this = f"; type {' '.join([command, *words])}"
    return said + type_this


def _stands_for(param: Any) -> str:
    return str(param.metavar or param.name.upper())
