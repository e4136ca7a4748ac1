"""``gipo diagnose``: bias and variance of every objective, exactly or on a run's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Context, Option, echo

from gipo_cli.commands.columns import aligned
from gipo_cli.commands.options import OptionalDevice, RunsRoot, Trust, complete_run, open_run
from gipo_cli.errors import UserError

if TYPE_CHECKING:
    from gipo_cli.analysis.diagnosis import Measurements
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
OF_STUDY = {"pairs": 100, "points": 60, "seed": 0, "monte_carlo": False}
"""Options of the exact study with their defaults."""
OF_RUN = {
    *("gipo_sigma", "ppo_eps", "sapo_tau", "tis_c", "probe_size", "chunks", "checkpoint", "device", "trust")
}


def _knob(objective: str, knob: str) -> Any:
    """An option that takes one knob value and may be repeated."""
    option = f"--{objective}-{knob}"

    def read(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            values = text.replace(",", " ").split()
            again = " ".join(f"{option} {value}" for value in values)
            cure = f"repeat the option: {again}" if len(values) > 1 else f"write {option} 0.5"
            raise UserError(f"{option} takes one number, not {text!r}; {cure}") from None

    return Option(
        metavar=knob.upper(), parser=read, help=f"run: measure {objective} at this {knob}; repeatable"
    )


Target = Annotated[
    str,
    Argument(
        metavar="gridworld|RUN",
        help="gridworld for the exact study, or a run whose checkpoints kept their buffer",
        autocompletion=complete_run,
    ),
]
Out = Annotated[
    Path | None, Option(metavar="FOLDER", help="folder to write (gridworld-study, or RUN/diagnose)")
]
Pairs = Annotated[int | None, Option(min=2, help="gridworld: policy pairs per setting (100)")]
Points = Annotated[int | None, Option(min=4, help="gridworld: knob values per objective (60)")]
Seed = Annotated[int | None, Option(min=0, help="gridworld: seed of the policy pairs (0)")]
MonteCarlo = Annotated[bool, Option("--monte-carlo", help="gridworld: check the exact numbers by sampling")]
Steps = Annotated[
    list[int] | None, Option(metavar="STEP", help="run: measure this checkpoint; repeatable (all)")
]
ProbeSize = Annotated[int | None, Option(help="run: transitions to measure on (its diagnostics.probe_size)")]
Chunks = Annotated[int | None, Option(help="run: parts to split them into (its diagnostics.chunks)")]


def diagnose(
    ctx: Context,
    target: Target,
    out: Out = None,
    pairs: Pairs = None,
    points: Points = None,
    seed: Seed = None,
    monte_carlo: MonteCarlo = False,
    checkpoint: Steps = None,
    gipo_sigma: Annotated[list[float] | None, _knob("gipo", "sigma")] = None,
    ppo_eps: Annotated[list[float] | None, _knob("ppo", "eps")] = None,
    sapo_tau: Annotated[list[float] | None, _knob("sapo", "tau")] = None,
    tis_c: Annotated[list[float] | None, _knob("tis", "c")] = None,
    probe_size: ProbeSize = None,
    chunks: Chunks = None,
    device: OptionalDevice = None,
    runs: RunsRoot = None,
    trust: Trust = False,
) -> None:
    """Measure bias and variance of every objective, exactly on a GridWorld or on a run's checkpoints."""
    given = [name for name in ctx.params if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")]
    study = target == "gridworld"
    where, other, refused = ("a run", "gridworld", OF_RUN) if study else ("gridworld", "a run", OF_STUDY)
    for name in given:
        if name in refused:
            raise UserError(f"--{name.replace('_', '-')} goes with {where}, not with {other}; leave it out")
    if study:
        folder = out or Path("gridworld-study")
        typed = {"pairs": pairs, "points": points, "seed": seed, "monte_carlo": monte_carlo}
        chosen = {name: typed[name] if name in given else usual for name, usual in OF_STUDY.items()}
        lines = _study(folder, chosen)
    else:
        path = open_run(target, runs).path
        folder = out or path / "diagnose"
        knobs = {"gipo_sigma": gipo_sigma, "ppo_eps": ppo_eps, "sapo_tau": sapo_tau, "tis_c": tis_c}
        settings = {**knobs, "probe_size": probe_size, "chunks": chunks}
        changes = {name: value for name, value in settings.items() if name in given}
        lines = _diagnose(path, folder, changes, checkpoint or (), device or "cpu", trust=trust)
    echo("\n".join([*lines, f"written to {folder}"]))


def _study(out: Path, arguments: dict[str, Any]) -> list[str]:
    """Run the exact study, write it, and return what to print."""
    import torch

    from gipo_cli.analysis import exact_report as report
    from gipo_cli.analysis.exact_study import run_study
    from gipo_cli.analysis.monte_carlo import check_all
    from gipo_cli.analysis.output import check_free, replace

    check_free(out, report.RECORD, "study")
    torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
    check, seed = arguments.pop("monte_carlo"), arguments["seed"]
    outcomes = run_study(arguments["pairs"], arguments["points"], seed)
    checks = check_all(outcomes, seed) if check else []
    replace(out, report.files(outcomes, checks, arguments))
    notes = [report.warning(outcomes), checks and f"Monte-Carlo check: {report.checked_words(checks)}"]
    said = [line for note in notes if note for line in wrap(str(note), SCREEN)]
    table = aligned(report.brief(outcomes), SCREEN)
    return [STUDY, *table, "", *said, f"setting by setting: {out / 'verdict.md'}"]


def _diagnose(
    path: Path,
    out: Path,
    changes: Mapping[str, Any],
    steps: Sequence[int],
    device: str,
    *,
    trust: bool,
) -> list[str]:
    """Measure every objective on the buffer of each checkpoint, write it, and return what to print.

    Nothing in the run's own files changes.
    """
    from gipo_cli.analysis import diagnosis
    from gipo_cli.analysis.output import check_free, replace
    from gipo_cli.runs import run as records
    from gipo_cli.runs.durable import refuse_links

    if out == path / "diagnose":
        refuse_links(path)
    run = records.open_run(path, trust=trust)
    config, store = diagnosis.changed(run.config, changes), run.checkpoints
    _check_steps(store, steps)
    check_free(out, diagnosis.RECORD, "diagnosis")
    found, skipped = _measured(path, store, config, steps, device)
    if not found:
        # One reason is enough: as a rule all lack the same.
        why = skipped[-1] if skipped else "it has no checkpoints; train with checkpoint.buffer=true"
        raise UserError(f"nothing of {path} can be diagnosed: {why}")
    replace(out, diagnosis.files(found))
    table = aligned(diagnosis.summary(found), SCREEN)
    return [*diagnosis.heading(found), *table, *(f"skipped: {why}" for why in skipped)]


def _measured(
    path: Path, store: CheckpointStore, config: RunConfig, steps: Sequence[int], device: str
) -> tuple[Measurements, list[str]]:
    """The measurements by step, and why others were skipped; those that were asked for may not be."""
    from gipo_cli.analysis import diagnosis
    from gipo_cli.training.loading import load_agent

    found, skipped, agent = {}, [], None
    for step in steps or store.steps():
        try:
            saved = store.load(step, only=("policy", "buffer"), needs=("policy",))
            with saved.reading():
                buffer = _buffer(saved, config)
                agent = agent or load_agent(path, str(step), device, trust=True)[0]
                policy = agent.policy
                policy.load_state_dict(saved.tensors["policy"])
            # A checkpoint is written after an update, and its advantages were formed before it.
            agent.learner.updater.refresh_advantages(buffer)
            found[step] = diagnosis.measured(policy, buffer, config, step, policy.device, saved.path)
        except UserError as error:
            if steps:
                raise
            skipped.append(str(error))
    return found, skipped


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
