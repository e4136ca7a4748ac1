"""``gipo eval``: evaluate a run's policy."""

from __future__ import annotations

from typing import Annotated

from typer import Option, echo

from gipo_cli.commands.options import Deterministic, Device, Run, RunsRoot, Seed, Trust, open_run


def evaluate(
    run: Run,
    episodes: Annotated[
        int | None, Option(min=1, metavar="N", help="episodes (the run's own number)")
    ] = None,
    deterministic: Deterministic = True,
    seed: Seed = None,
    checkpoint: Annotated[str, Option(help="last, best or an environment step")] = "last",
    protocol: Annotated[str | None, Option(help="standard or metaworld (metaworld for its tasks)")] = None,
    device: Device = "cpu",
    runs: RunsRoot = None,
    trust: Trust = False,
    as_json: Annotated[bool, Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Evaluate a run's policy, with an interval for its success rate."""
    found = open_run(run, runs)
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
        from json import dumps

        echo(dumps(report.to_json(), indent=2))
    else:
        echo("\n".join(report.lines()))
