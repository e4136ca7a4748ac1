"""``gipo show``: one run at a glance, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gipo_cli.commands.options import Run, RunsRoot, open_run

if TYPE_CHECKING:
    from gipo_cli.runs.layout import RunDir
    from gipo_cli.runs.status import Status
    from gipo_cli.settings.schema import RunConfig

_LATEST = {
    "return": ("training return", ".4g"),
    "success": ("training success", ".1%"),
    "eval_return": ("evaluation return", ".4g"),
    "eval_success": ("evaluation success", ".1%"),
}
_HEALTH = {
    "health/utilisation": ("utilisation", ".0%"),
    "health/ess": ("effective sample size", ".2f"),
    "health/lag_mean": ("policy lag", ".1f"),
}


def show(run: Run, runs: RunsRoot = None) -> None:
    """Show a run (state, newest numbers, settings that differ from the defaults) or demonstrations."""
    from gipo_cli.data.demo_files import found
    from gipo_cli.runs.layout import runs_root

    if (demos := found(runs_root(runs), run)) is not None:
        from gipo_cli.commands.demos import show_demos

        show_demos(demos)
        return
    show_run(open_run(run, runs), runs_root(runs))


def show_run(run: RunDir, root: Path) -> None:
    """Print everything about a run below ``root``."""
    from rich.console import Console
    from rich.text import Text

    from gipo_cli.commands.list import plain_table
    from gipo_cli.errors import UserError
    from gipo_cli.runs.checkpoint import CheckpointStore
    from gipo_cli.runs.manifest import peek_config
    from gipo_cli.runs.status import read_status
    from gipo_cli.runs.tables import last_row
    from gipo_cli.settings.compose import differing
    from gipo_cli.text import printable

    try:
        status = read_status(run.status)
    except UserError:
        status = None
    config, newest = peek_config(run), last_row(run.metrics)
    steps = CheckpointStore(run.checkpoints).steps()
    console = Console(highlight=False)
    console.print(Text(printable(str(run.path)), style="bold"))
    facts = plain_table(indent=2, values=1)
    for name, value in [*_facts(run, config, status), *_health(newest)]:
        facts.add_row(name, Text(printable(value)))
    console.print(facts)
    if status is not None and (damage := [*_damage(run, status, steps, newest)]):
        console.print(Text(f"damaged: {'; '.join(damage)}", style="red"))
    changed = plain_table(indent=2, values=2)
    for key, value, default in differing(config):
        cells = (key, value, default and f"(default {default})")
        changed.add_row(*(Text(printable(cell)) for cell in cells))
    if changed.row_count:
        console.print("\nsettings that differ from a plain `gipo train`:")
        console.print(changed)
    else:
        console.print("\nall settings are the defaults")
    console.print("\ntype next:")
    for command in _next_commands(run, root, status, has_checkpoint=bool(steps)):
        console.print(Text(f"  {printable(command)}"), soft_wrap=True)


def _facts(run: RunDir, config: RunConfig, status: Status | None) -> Iterator[tuple[str, str]]:
    from gipo_cli.envs.registry import ENVIRONMENTS
    from gipo_cli.runs.durable import TEMPORARY
    from gipo_cli.runs.layout import is_starting
    from gipo_cli.runs.lock import holder
    from gipo_cli.runs.status import state_now

    subject = " ".join(config.env.names)
    yield "what", f"{config.objective.name} on {subject}, buffer {config.buffer_size}, seed {config.seed}"
    yield "sees", ENVIRONMENTS[config.env.name].sees
    left = sorted(path.name for path in run.path.glob(f"{TEMPORARY}*"))
    if left and holder(run.lock) is None:
        yield "left over", f"{', '.join(left)}, by a killed writer; remove it, or resume the run"
    if status is None:
        starting = is_starting(run)
        yield "state", "starting" if starting else "unknown: status.json is missing or damaged"
        return
    yield "state", state_now(run, status) + (f": {status.reason}" if status.reason else "")
    yield "steps", f"{status.step} of {status.total_steps} ({status.share:.0%})"
    yield from _success(run)
    if status.steps_per_second:
        yield "speed", f"{status.steps_per_second:.0f} steps/s"
    for key, (name, form) in _LATEST.items():
        if (value := status.latest.get(key)) is not None:
            yield name, format(value, form)


def _success(run: RunDir) -> Iterator[tuple[str, str]]:
    """Success before and after training, of a run with init; that of a clone."""
    from gipo_cli.errors import UserError
    from gipo_cli.loggers.terminal import success_lines
    from gipo_cli.runs.durable import read_sealed

    for path, keys in ((run.success, ("before", "after")), (run.clone, ("success",))):
        if path.is_file():
            try:
                facts = read_sealed(path)
                told = [(key, line) for key in keys for line in success_lines(facts.get(key))]
            # Whoever can seal a file can write anything into it.
            except (UserError, AttributeError, TypeError, ValueError):
                told = [(path.name, "damaged")]
            yield from (("clone" if key == "success" else key, line) for key, line in told)


def _health(newest: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    from gipo_cli.settings.explain import is_number

    for column, (name, form) in _HEALTH.items():
        if is_number(value := newest.get(column) or ""):
            yield name, format(float(value), form)


def _damage(run: RunDir, status: Status, steps: Sequence[int], newest: Mapping[str, str]) -> Iterator[str]:
    from gipo_cli.runs.tables import last_step

    missing = [path.name for path in (run.metrics, run.evaluations) if status.step and not path.is_file()]
    yield from (f"{name} is missing" for name in missing)
    # Checkpoints beyond the run's step were left behind when it went back to an earlier one.
    saved = max((step for step in steps if step <= status.step), default=0)
    if run.metrics.name not in missing and last_step(newest) < saved:
        yield f"metrics.csv ends at step {last_step(newest)}, before the checkpoint of step {saved}"
    if status.state == "done" and not steps:
        yield "there is no checkpoint"


def _next_commands(run: RunDir, root: Path, status: Status | None, *, has_checkpoint: bool) -> Iterator[str]:
    from gipo_cli.runs.layout import is_starting
    from gipo_cli.runs.manifest import trust_flag
    from gipo_cli.runs.status import state_now

    given = run.path.relative_to(root).as_posix() if run.path.is_relative_to(root) else str(run.path)
    name = shlex.quote(given) + ("" if root == Path("runs") else f" --runs {shlex.quote(str(root))}")
    if is_starting(run) if status is None else state_now(run, status) == "running":
        yield f"gipo show {name}"
        return
    trust = trust_flag(run)
    if status is None or status.state != "done":
        yield f"gipo train --resume {name}{trust}"
    yield f"gipo plot {shlex.quote(str(run.path))}"
    if has_checkpoint:
        yield f"gipo eval {name}{trust}"
        yield f"gipo video {name}{trust}"
    yield f"tensorboard --logdir {shlex.quote(str(run.tensorboard))}"
