"""``gipo eval``: evaluate a run's policy."""

from __future__ import annotations

from typing import Annotated

import typer

from gipo_cli.commands.options import Checkpoint, Device, Run, RunsRoot, Trust


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
