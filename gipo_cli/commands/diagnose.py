"""``gipo diagnose``: bias and variance of every objective, exactly or on a run's checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gipo_cli.commands.columns import aligned
from gipo_cli.commands.options import RunsRoot, Trust, complete_run, known_device
from gipo_cli.errors import UserError

if TYPE_CHECKING:
    from gipo_cli.data.replay import ReplayBuffer
    from gipo_cli.runs.checkpoint import Checkpoint, CheckpointStore
    from gipo_cli.settings.schema import RunConfig

SCREEN = 80
STUDY = """\
GIPO (gaussian, both sides) against every rival on the exact GridWorld:
lower/level/higher  share of bias levels at which GIPO needs less, the same
                    (within 1 %) or more variance for the same bias
ratio               GIPO's variance over the rival's at equal bias, least to
                    greatest over the settings; below 1 GIPO is better
"""


def _knob(option: str, metavar: str) -> Any:
    """An option that takes one knob value and may be repeated."""

    def read(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            values = text.replace(",", " ").split()
            again = " ".join(f"{option} {value}" for value in values)
            cure = f"repeat the option: {again}" if len(values) > 1 else f"write {option} 0.5"
            raise UserError(f"{option} takes one number, not {text!r}; {cure}") from None

    return typer.Option(metavar=metavar, parser=read, help="run: a knob value; may be repeated")


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
    gipo_sigma: Annotated[list[float] | None, _knob("--gipo-sigma", "SIGMA")] = None,
    ppo_eps: Annotated[list[float] | None, _knob("--ppo-eps", "EPS")] = None,
    sapo_tau: Annotated[list[float] | None, _knob("--sapo-tau", "TAU")] = None,
    tis_c: Annotated[list[float] | None, _knob("--tis-c", "C")] = None,
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
    for name, given in (of_run if study else of_study).items():
        if given is not None:
            where, other = ("a run", "gridworld") if study else ("gridworld", "a run")
            raise UserError(f"--{name.replace('_', '-')} goes with {where}, not with {other}; leave it out")
    if study:
        folder = out or Path("gridworld-study")
        lines = _study(folder, force, {k: v for k, v in of_study.items() if v is not None})
    else:
        from gipo_cli.runs.layout import find, runs_root

        path = find(runs_root(runs), target).path
        folder = out or path / "diagnose"
        changes = {k: v for k, v in settings.items() if v is not None}
        lines = _diagnose(path, folder, changes, checkpoint or (), device or "cpu", force=force, trust=trust)
    typer.echo("\n".join([*lines, f"written to {folder}"]))


def _study(out: Path, force: bool, chosen: dict[str, Any]) -> list[str]:
    """Run the exact study, write it, and return what to print."""
    monte_carlo = chosen.pop("monte_carlo", False)
    arguments = {"pairs": 100, "points": 60, "seed": 0, **chosen}
    pairs, points, seed = arguments.values()
    if pairs < 2 or points < 4:
        raise UserError(
            f"the study needs at least 2 pairs and 4 points, got {pairs} and {points}; "
            "use --pairs 100 --points 60"
        )
    import torch

    from gipo_cli.analysis import exact_report as report
    from gipo_cli.analysis.exact_study import run_study
    from gipo_cli.analysis.monte_carlo import check_all
    from gipo_cli.analysis.output import check_free, writing_whole

    check_free(out, report.RECORD, "study", force=force)
    torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
    outcomes = run_study(pairs, points, seed)
    checks = check_all(outcomes, seed) if monte_carlo else []
    with writing_whole(out) as folder:
        report.write(folder, outcomes, checks, arguments)
    notes = [report.warning(outcomes), checks and f"Monte-Carlo check: {report.checked_words(checks)}"]
    said = [line for note in notes if note for line in wrap(str(note), SCREEN)]
    table = aligned(report.brief(outcomes), SCREEN)
    return [STUDY, *table, "", *said, f"setting by setting: {out / 'verdict.md'}"]


def _diagnose(
    path: Path,
    out: Path,
    changes: dict[str, Any],
    steps: Sequence[int],
    device: str,
    *,
    force: bool,
    trust: bool,
) -> list[str]:
    """Measure every objective on the buffer of each checkpoint, write it, and return what to print.

    Nothing in the run's own files changes.
    """
    from gipo_cli.analysis import diagnosis
    from gipo_cli.analysis.output import check_free, writing_whole
    from gipo_cli.runs.durable import refuse_links
    from gipo_cli.runs.run import open_run
    from gipo_cli.training.loading import load_agent

    if out == path / "diagnose":
        refuse_links(path)
    run = open_run(path, trust=trust)
    config, store = diagnosis.changed(run.config, changes), run.checkpoints
    _check_steps(store, steps)
    check_free(out, diagnosis.RECORD, "diagnosis", force=force)
    skipped: list[str] = []
    found, agent = {}, None
    for step in steps or store.steps():
        try:
            saved = store.load(step, only=("policy", "buffer"), needs=("policy",))
            with saved.reading():
                buffer = _buffer(saved, config)
                if agent is None:
                    agent = load_agent(path, str(step), device, trust=True)[0]
                agent.policy.load_state_dict(saved.tensors["policy"])
            # A checkpoint is written after an update, and its advantages were formed before it.
            agent.learner.updater.refresh_advantages(buffer)
            found[step] = diagnosis.measured(
                agent.policy, buffer, config, step, agent.policy.device, saved.path
            )
        except UserError as error:
            if steps:
                raise
            skipped.append(str(error))
    if not found:
        # One reason is enough: as a rule all lack the same.
        why = skipped[-1] if skipped else "it has no checkpoints; train with checkpoint.buffer=true"
        raise UserError(f"nothing of {path} can be diagnosed: {why}")
    with writing_whole(out) as folder:
        diagnosis.write(folder, found)
    table = aligned(diagnosis.summary(found), SCREEN)
    return [*diagnosis.heading(found), *table, *(f"skipped: {why}" for why in skipped)]


def _check_steps(store: CheckpointStore, steps: Sequence[int]) -> None:
    known = store.steps()
    missing = [step for step in steps if step not in known]
    if missing:
        there = ", ".join(map(str, known)) or "there is none"
        raise UserError(f"{store.folder} holds no checkpoint of step {missing[0]}; it holds: {there}")


def _buffer(saved: Checkpoint, config: RunConfig) -> ReplayBuffer:
    """The replay buffer that a checkpoint kept."""
    from gipo_cli.data.replay import ReplayBuffer

    if not saved.arrays:
        raise UserError(f"checkpoint {saved.path} holds no buffer; train with checkpoint.buffer=true")
    arrays = saved.arrays["buffer"]
    numbers = saved.state["learner"]["buffer"]
    buffer = ReplayBuffer(
        numbers["capacity"],
        arrays["obs"].shape[1:],
        arrays["action"].shape[1],
        arrays["action"].dtype,
        arrays["distribution"].shape[1],
        config.env.reward_scale,
    )
    buffer.load(numbers, arrays)
    return buffer
