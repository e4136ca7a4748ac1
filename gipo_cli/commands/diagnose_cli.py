"""``gipo diagnose``: its words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gipo_cli.commands.options import RunsRoot, Trust, complete_run, known_device
from gipo_cli.errors import UserError


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


def diagnose(
    target: Annotated[
        str,
        typer.Argument(
            metavar="gridworld|RUN",
            help="gridworld: the exact study; else a run whose checkpoints kept their buffer",
            autocompletion=complete_run,
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
    device: Annotated[
        str | None, typer.Option(help="run: auto, cpu or cuda (cpu)", callback=known_device)
    ] = None,
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
