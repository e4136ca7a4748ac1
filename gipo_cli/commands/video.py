"""``gipo video``: record a run's policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gipo_cli.commands.options import Device, Run, RunsRoot, Trust


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
    from gipo_cli.commands.film import record

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
