"""``gipo diagnose RUN``: the bias-variance probe on a finished run's checkpoints, with any grid."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from gipo_cli.config.explain import explain
from gipo_cli.errors import UserError
from gipo_cli.pipelines.columns import aligned

if TYPE_CHECKING:
    from gipo_cli.config.schema import RunConfig
    from gipo_cli.diagnostics.probe import ProbeRow

Measurements = dict[int, "list[ProbeRow]"]


def run(
    run_dir: Path,
    *,
    out: Path | None = None,
    changes: dict[str, Any] | None = None,
    steps: Sequence[int] = (),
    device: str = "cpu",
    trust: bool = False,
) -> tuple[Path, list[str]]:
    """Measure every objective on the buffer of each checkpoint, and write ``diagnostics.csv`` and figures.

    Args:
        run_dir: the run's folder; nothing in its own files changes.
        out: folder to write; default ``RUN/diagnose``. It must not exist or must be empty.
        changes: replaces settings of the run's ``diagnostics`` section, such as ``gipo_sigma``.
        steps: checkpoints to use; default all that kept their buffer.
        device: ``cpu``, ``cuda`` or ``auto``.
        trust: import the modules that the run's configuration names.

    Returns: the folder written, and lines to print: the best knob of every family at every checkpoint, and
        which checkpoints could not be used.
    Raises: UserError if there is nothing to measure, a setting is wrong or ``out`` cannot be used.
    """
    from gipo_cli.runlog.checkpoint import CheckpointStore
    from gipo_cli.runlog.layout import RunDir
    from gipo_cli.runlog.manifest import read_config

    out = out or run_dir / "diagnose"
    check_free(out)
    config = _changed(read_config(RunDir(run_dir), trust=trust), changes or {})
    store = CheckpointStore(RunDir(run_dir).checkpoints)
    notes: list[str] = []
    found: Measurements = {}
    for step in steps or store.steps():
        try:
            found[step] = _measure(run_dir, store.path(step), config, step, device)
        except UserError as error:
            if steps:
                raise
            notes.append(f"skipped: {error}")
    if not found:
        why = "; ".join(notes) or "it has no checkpoints"
        raise UserError(
            f"nothing of {run_dir} can be diagnosed ({why}); checkpoints need checkpoint.buffer=true"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(out / "diagnostics.csv", found)
        _draw(out, found)
    except OSError as error:
        raise UserError(
            f"could not write {out}: {error.strerror or error}; name another folder with --out"
        ) from error
    return out, [*_summary(found), *notes]


def check_free(out: Path) -> None:
    """Refuse an output folder with something in it.

    Raises: UserError.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} already exists and is not overwritten; name another folder with --out")


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
    from gipo_cli.data.replay import ReplayBuffer
    from gipo_cli.diagnostics.live import measure_buffer
    from gipo_cli.pipelines.loading import load_agent
    from gipo_cli.runlog.checkpoint import CheckpointStore

    names = [f"buffer_{name}" for name in (*ReplayBuffer.ARRAYS, "tail_row", "tail_obs")]
    saved = CheckpointStore(checkpoint.parent).load(step, only=names, needs=["buffer_obs"])
    agent, _, _ = load_agent(run_dir, str(step), device, trust=True)
    arrays = {name.removeprefix("buffer_"): array for name, array in saved.arrays.items()}
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
    try:
        return measure_buffer(agent.policy, buffer, config, step, agent.policy.device)
    except ValueError as error:
        raise UserError(
            f"checkpoint {checkpoint} cannot be measured: {error}; lower diagnostics.chunks"
        ) from error


def _write(path: Path, found: Measurements) -> None:
    from gipo_cli.diagnostics.catalog import DIAGNOSTIC_COLUMNS

    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, DIAGNOSTIC_COLUMNS)
        writer.writeheader()
        writer.writerows(row.record(step) for step, rows in found.items() for row in rows)


def _summary(found: Measurements) -> Iterable[str]:
    from gipo_cli.diagnostics.probe import least_mse

    references = ("importance_sampled", "on_policy")
    table: list[tuple[str, ...]] = [("step", "objective", *references)]
    for step, rows in found.items():
        best = [least_mse(rows, reference) for reference in references]
        trained = {row.family for row in rows if row.trained}
        # In the order of the first reference; a family that it lacks comes last.
        order = sorted({family for one in best for family in one}, key=lambda f: _mse(best[0].get(f)))
        table += [
            (str(step), family + "*" * (family in trained), *(_least(one.get(family)) for one in best))
            for family in order
        ]
    sizes = " or ".join(sorted({str(row.batch_size) for rows in found.values() for row in rows}))
    yield f"Least mean squared error in a batch of {sizes}, and the knob that has it"
    yield "(* is the objective in training):"
    yield from aligned(table)


def _mse(row: ProbeRow | None) -> float:
    return math.inf if row is None else row.mse


def _least(row: ProbeRow | None) -> str:
    if row is None:
        return "-"
    return f"{row.mse:.3g}" + ("" if row.value is None else f" {row.knob}={row.value:g}")


def _draw(out: Path, found: Measurements) -> None:
    import matplotlib as mpl

    from gipo_cli.compare.style import LOOKS, OTHERS, RC
    from gipo_cli.diagnostics.figures import best_knobs, frontiers

    families = {row.family for rows in found.values() for row in rows}
    looks = {**dict(zip(sorted(families - set(LOOKS)), OTHERS, strict=False)), **LOOKS}
    with mpl.rc_context(cast(Any, RC)):
        for name, figure in {
            "frontiers": frontiers(found, looks),
            "best_knobs": best_knobs(found, looks),
        }.items():
            figure.savefig(out / f"{name}.png", dpi=120)
            figure.savefig(out / f"{name}.svg", metadata={"Date": None})
