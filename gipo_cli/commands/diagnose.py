"""``gipo diagnose RUN``: the bias-variance probe on a finished run's checkpoints, with any grid."""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from gipo_cli.commands.columns import aligned
from gipo_cli.compare.output import writing
from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir
from gipo_cli.settings.explain import explain

if TYPE_CHECKING:
    from gipo_cli.analysis.probe import ProbeRow
    from gipo_cli.data.replay import ReplayBuffer
    from gipo_cli.runs.checkpoint import CheckpointStore
    from gipo_cli.settings.schema import RunConfig

Measurements = dict[int, "list[ProbeRow]"]
RECORD = "diagnostics.csv"
SCREEN = 80
FEWEST = 4
"""Rows that the probe and the fresh batch need each; a rollout of twice as many gives both."""
HEADING = """\
Least mean squared error in a batch of {sizes}, plus or minus its standard error,
and the knob that has it. Estimates are unbiased: noise may push one below 0.
importance_sampled: against E[r u] on the same samples, whose noise cancels
on_policy: against the gradient of the newest rollout, which is noisy
* in training
? within two errors of 0, so not told from it
! end of its grid: try values beyond it (--gipo-sigma, --ppo-eps, ...)
"""


def run(
    run_dir: Path,
    *,
    out: Path | None = None,
    changes: dict[str, Any] | None = None,
    steps: Sequence[int] = (),
    device: str = "cpu",
    force: bool = False,
    trust: bool = False,
) -> tuple[Path, list[str]]:
    """Measure every objective on the buffer of each checkpoint, and write ``diagnostics.csv`` and figures.

    Args:
        run_dir: the run's folder; nothing in its own files changes.
        out: folder to write; default ``RUN/diagnose``. It must not exist or must be empty, but for ``force``.
        changes: replaces settings of the run's ``diagnostics`` section, such as ``gipo_sigma``.
        steps: checkpoints to use; default all that kept their buffer.
        device: ``cpu``, ``cuda`` or ``auto``.
        force: replace an earlier diagnosis in ``out``.
        trust: import the modules that the run's configuration names.

    Returns: the folder written, and lines to print: the best knob of every family at every checkpoint, and
        which checkpoints could not be used.
    Raises: UserError if there is nothing to measure, a setting is wrong or ``out`` cannot be used.
    """
    from gipo_cli.runs.checkpoint import CheckpointStore
    from gipo_cli.runs.manifest import read_config

    out = out or run_dir / "diagnose"
    config = _changed(read_config(RunDir(run_dir), trust=trust), changes or {})
    store = CheckpointStore(RunDir(run_dir).checkpoints)
    _check_steps(store, steps)
    check_free(out, RECORD, "diagnosis", force=force)
    skipped: list[str] = []
    found: Measurements = {}
    for step in steps or store.steps():
        try:
            found[step] = _measure(run_dir, store.path(step), config, step, device)
        except UserError as error:
            if steps:
                raise
            skipped.append(str(error))
    if not found:
        # One reason is enough: as a rule all lack the same.
        why = skipped[-1] if skipped else "it has no checkpoints; train with checkpoint.buffer=true"
        raise UserError(f"nothing of {run_dir} can be diagnosed: {why}")
    with writing_whole(out) as folder:
        _write(folder / RECORD, found)
        _draw(folder, found)
    return out, [*summary(found), *(f"skipped: {why}" for why in skipped)]


def check_free(out: Path, record: str, what: str, *, force: bool) -> None:
    """Refuse an output folder with something in it, unless that is an earlier ``what`` to be replaced.

    Args:
        out: the folder.
        record: the file by which an earlier one is known.
        what: what is written there, for the message.
        force: whether it may be replaced.

    Raises: UserError.
    """
    if not out.exists() or (out.is_dir() and all(path.name.startswith(".") for path in out.iterdir())):
        return
    # The folder of a run may hold a file of that name too.
    if RunDir(out).exists() or not (out / record).is_file():
        raise UserError(
            f"{out} already exists and is no earlier {what}, so it is not overwritten; name another folder "
            "with --out"
        )
    if not force:
        raise UserError(
            f"{out} already holds a {what} and is not overwritten; add --force to replace it, or name "
            "another folder with --out"
        )


@contextmanager
def writing_whole(out: Path) -> Iterator[Path]:
    """A folder to write into; its files replace those of ``out`` once all are there.

    Raises: UserError if the disk refuses.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=out) as scratch:
            yield Path(scratch)
            for file in Path(scratch).iterdir():
                file.replace(out / file.name)


def _check_steps(store: CheckpointStore, steps: Sequence[int]) -> None:
    known = store.steps()
    missing = [step for step in steps if step not in known]
    if missing:
        there = ", ".join(map(str, known)) or "there is none"
        raise UserError(f"{store.folder} holds no checkpoint of step {missing[0]}; it holds: {there}")


def _changed(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    settings = {**config.diagnostics.model_dump(), **changes}
    try:
        diagnostics = type(config.diagnostics).model_validate(settings)
    except ValidationError as error:
        setting, _, must = explain(error, type(config.diagnostics), settings).partition(" ")
        key, _, value = setting.partition("=")
        option = key.partition(".")[0].replace("_", "-")
        raise UserError(f"--{option} {value} {must}") from error
    return config.model_copy(update={"diagnostics": diagnostics})


def _measure(run_dir: Path, checkpoint: Path, config: RunConfig, step: int, device: str) -> list[ProbeRow]:
    from gipo_cli.analysis.live import measure_buffer
    from gipo_cli.training.loading import load_agent

    buffer = _buffer(checkpoint, config, step)
    agent, _, _ = load_agent(run_dir, str(step), device, trust=True)
    # A checkpoint is written after an update, and its advantages were formed before it.
    agent.updater.refresh_advantages(buffer)
    try:
        return measure_buffer(agent.policy, buffer, config, step, agent.policy.device)
    except ValueError as error:
        few = _too_few(buffer, config)
        raise UserError(f"checkpoint {checkpoint} cannot be measured: {few}") from error


def _buffer(checkpoint: Path, config: RunConfig, step: int) -> ReplayBuffer:
    """The replay buffer that a checkpoint kept."""
    from gipo_cli.data.replay import ReplayBuffer
    from gipo_cli.runs.checkpoint import CheckpointStore

    saved = CheckpointStore(checkpoint.parent).load(step, only=("buffer",))
    if not saved.arrays:
        raise UserError(f"checkpoint {checkpoint} holds no buffer; train with checkpoint.buffer=true")
    arrays = saved.arrays["buffer"]
    numbers = saved.state["agent"]["buffer"]
    buffer = ReplayBuffer(
        numbers["capacity"],
        arrays["obs"].shape[1],
        arrays["action"].shape[1],
        arrays["action"].dtype,
        arrays["distribution"].shape[1],
        config.env.reward_scale,
    )
    buffer.load(numbers, arrays)
    return buffer


def _too_few(buffer: ReplayBuffer, config: RunConfig) -> str:
    """Which rows are too few to be measured, and what gives enough of them."""
    import numpy as np

    from gipo_cli.analysis.live import split_rows

    settings, newest = config.diagnostics, buffer.added - buffer.blocks[-1].start
    rows = split_rows(len(buffer), newest, settings.probe_size, np.random.default_rng(0))
    probe, fresh = map(len, rows)
    if min(probe, fresh) < FEWEST:
        steps = math.ceil(2 * FEWEST / config.env.n_envs)
        return (
            f"rollouts of {newest} give it {probe} probe rows and {fresh} fresh rows, and {FEWEST} of each "
            f"are needed; train with agent.rollout_steps={steps} or more"
        )
    return f"{probe} probe rows are too few for {settings.chunks} chunks; type --chunks {probe} or fewer"


def _write(path: Path, found: Measurements) -> None:
    from gipo_cli.runs.catalog import DIAGNOSTIC_COLUMNS

    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, DIAGNOSTIC_COLUMNS)
        writer.writeheader()
        writer.writerows(row.record(step) for step, rows in found.items() for row in rows)


def summary(found: Measurements) -> list[str]:
    """Lines of at most 80 letters: what the columns are, and every family's least error at every step."""
    from gipo_cli.analysis.probe import least_mse

    references = ("importance_sampled", "on_policy")
    table: list[tuple[str, ...]] = []
    for step, rows in found.items():
        best = [least_mse(rows, reference) for reference in references]
        trained = {row.family for row in rows if row.trained}
        # In the order of the first reference; a family that it lacks comes last.
        order = sorted({f for one in best for f in one}, key=lambda f: (_mse(best[0].get(f)), f))
        table.append((f"step {step}", *references))
        table += [
            (f"  {family}{'*' * (family in trained)}", *(_least(one.get(family), rows) for one in best))
            for family in order
        ]
    sizes = " or ".join(sorted({str(row.batch_size) for rows in found.values() for row in rows}))
    return [*HEADING.format(sizes=sizes).split("\n"), *aligned(table, SCREEN)]


def _mse(row: ProbeRow | None) -> float:
    return math.inf if row is None else row.mse


def _least(row: ProbeRow | None, rows: Sequence[ProbeRow]) -> str:
    """The least error of a family with its marks, and its knob among all that were measured."""
    if row is None:
        return "-"
    error = f"{row.mse:.3g} ± {row.mse_se:.2g}" + "?" * (abs(row.mse) < 2 * row.mse_se)
    if row.value is None:
        return error
    grid = {other.value for other in rows if other.family == row.family and other.value is not None}
    at_end = len(grid) > 1 and row.value in (min(grid), max(grid))
    return f"{error} {row.knob}={row.value:g}" + "!" * at_end


def _draw(out: Path, found: Measurements) -> None:
    import matplotlib as mpl

    from gipo_cli.analysis.probe_figures import best_knobs, frontiers
    from gipo_cli.compare.style import LOOKS, OTHERS, RC

    families = {row.family for rows in found.values() for row in rows}
    looks = {**dict(zip(sorted(families - set(LOOKS)), OTHERS, strict=False)), **LOOKS}
    with mpl.rc_context(cast(Any, RC)):
        for name, figure in {
            "frontiers": frontiers(found, looks),
            "best_knobs": best_knobs(found, looks),
        }.items():
            figure.savefig(out / f"{name}.png", dpi=120)
            figure.savefig(out / f"{name}.svg", metadata={"Date": None})
