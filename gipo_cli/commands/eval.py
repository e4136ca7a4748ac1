"""``gipo eval``: evaluate a run's policy."""

from __future__ import annotations

from typing import Annotated

from typer import Option, echo

from gipo_cli.commands.options import (
    AsJson,
    Checkpoint,
    Deterministic,
    Device,
    Run,
    RunsRoot,
    Seed,
    Trust,
    open_run,
)


def evaluate(
    run: Run,
    episodes: Annotated[int | None, Option(min=1, help="number of episodes (the run's own)")] = None,
    deterministic: Deterministic = True,
    seed: Seed = None,
    checkpoint: Checkpoint = "last",
    protocol: Annotated[
        str | None, Option(help="standard or metaworld (Meta-World tasks take metaworld)")
    ] = None,
    device: Device = "cpu",
    runs: RunsRoot = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run's policy, with an interval for its success rate."""
    found = open_run(run, runs)
    from gipo_cli.training.eval_report import evaluate_run

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
        from json import dumps

        echo(dumps(report.to_json(), indent=2))
    else:
        echo("\n".join(report.lines()))
