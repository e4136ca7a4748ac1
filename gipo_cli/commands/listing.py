"""``gipo list``, ``gipo show`` and the dry run: tables for a terminal of 80 columns, plain text in a pipe."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from gipo_cli.commands.columns import aligned, fitted
from gipo_cli.core.objectives import OBJECTIVES, ObjectiveParams
from gipo_cli.errors import UserError
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.layout import RunDir, list_runs
from gipo_cli.runs.manifest import peek_config, trust_flag
from gipo_cli.runs.status import Status, is_silent, read_status
from gipo_cli.runs.tables import last_row, last_step
from gipo_cli.settings.compose import compose, to_yaml
from gipo_cli.settings.explain import allowed, is_number, shown
from gipo_cli.settings.groups import find_file, group_choices, shipped_dir

if TYPE_CHECKING:
    from gipo_cli.settings.schema import RunConfig


_LATEST = {
    "return": "training return",
    "success": "training success",
    "eval_return": "evaluation return",
    "eval_success": "evaluation success",
}
_HEALTH = {
    "health/utilisation": ("samples that count", ".0%"),
    "health/ess": ("effective sample size", ".2f"),
    "health/lag_mean": ("policy lag, updates", ".1f"),
}
_SETTINGS = ("environment", "objective", "buffer", "seed")


def print_config(config: RunConfig, run_dir: Path) -> None:
    """Print a composed configuration as YAML and where its run would be written."""
    console = Console(soft_wrap=True)
    text = to_yaml(config).rstrip()
    if console.is_terminal:
        console.print(Syntax(text, "yaml", background_color="default"))
    else:
        console.file.write(text + "\n")
    console.print(Text(f"# would be written to {run_dir}", style="dim"))


def print_envs() -> None:
    """Print every named environment, its rewards and its tasks."""
    from gipo_cli.envs.registry import ENVIRONMENTS

    table = _table("env=", "reward=", "what it is; success")
    for entry in ENVIRONMENTS.values():
        missing = "" if entry.installed else f" (not installed: pip install {entry.distribution})"
        rewards = "\n".join(entry.rewards) or "its own"
        what = Text(f"{entry.description}{missing}\nsuccess: {entry.success}")
        table.add_row(entry.name, rewards, what)
    console = Console()
    console.print(table)
    for entry in ENVIRONMENTS.values():
        if entry.tasks:
            console.print(f"\n[bold]env={entry.name} env.task=[/] one of", highlight=False)
            console.print(Padding(Text(", ".join(entry.tasks)), (0, 0, 0, 2)))
    console.print("\nFor example: gipo train env=fetch_push env.reward=sparse", highlight=False)


def print_objectives(config_dirs: Sequence[Path] = ()) -> None:
    """Print every objective's formula and parameters, and the files of the user's own folders."""
    console = Console(highlight=False)
    console.print(Text("Maximised; r = pi / mu, A the advantage, sg[.] a stopped gradient."))
    for name, params in OBJECTIVES.items():
        console.print(Text.assemble("\n", (name, "bold"), "  ", params.formula or _first_line(params)))
        knobs = _plain_table()
        for field in params.model_fields:
            if field != "name":
                knobs.add_row(*_knob(params, field))
        if knobs.row_count:
            console.print(knobs)
    for name in group_choices(config_dirs)["objective"]:
        file = find_file("objective", name, config_dirs)
        if file is not None and shipped_dir() not in file.parents:
            about = _header(file.read_text(encoding="utf-8"))
            console.print(Text.assemble("\n", (name, "bold"), f"  {about}"))
            console.print(Text(f"    {file}"), soft_wrap=True)
    console.print("\nFor example: gipo train objective=gipo objective.sigma=0.2")


def print_presets(config_dirs: Sequence[Path] = ()) -> None:
    """Print every preset with the comment that heads its file."""
    table = _table("preset=", "what it is")
    for name in group_choices(config_dirs)["preset"]:
        file = find_file("preset", name, config_dirs)
        table.add_row(name, Text(_header(file.read_text(encoding="utf-8")) if file else ""))
    console = Console()
    console.print(table)
    console.print("For example: gipo train preset=authors --dry-run", highlight=False)


def print_runs(root: Path) -> None:
    """Print the runs below a folder with their state and newest numbers."""
    runs = list_runs(root)
    console = Console()
    if not runs:
        console.print(Text(f"no runs in {root}; start one with: gipo train"))
        return
    rows = [["run", *_SETTINGS, "state", "done", "return", "success"]]
    for run in runs:
        status = _status(run)
        known = ("unknown", "", "", "")
        if status is not None:
            known = (state_now(run, status), _share(status), *_best_known(status))
        rows.append([run.path.relative_to(root).as_posix(), *_settings(run), *known])
    width = console.width if console.is_terminal else None
    if width is not None:
        rows = fitted(rows, width, optional=range(1, 1 + len(_SETTINGS)))
    for line in aligned(rows, width):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"return and success: newest evaluation, else training. Runs in {root}", style="dim"))


def show_run(run: RunDir, root: Path) -> None:
    """Print one run: state, settings that differ from the defaults, numbers, and what to type next."""
    config, status = peek_config(run), _status(run)
    steps, newest = CheckpointStore(run.checkpoints).steps(), last_row(run.metrics)
    console = Console(highlight=False)
    console.print(Text(str(run.path), style="bold"))
    facts = _plain_table(1)
    for name, value in [*_facts(run, config, status), *_health(newest)]:
        facts.add_row(name, Text(value))
    console.print(facts)
    if status is not None and (damage := [*_damage(run, status, steps, newest)]):
        console.print(Text(f"damaged: {'; '.join(damage)}", style="red"))
    changed = _plain_table()
    default = flatten(compose([]).config.model_dump(mode="json"))
    for key, value in flatten(config.model_dump(mode="json")).items():
        if key not in default or default[key] != value:
            before = f"(default {shown(default[key])})" if key in default else ""
            changed.add_row(key, Text(shown(value)), Text(before))
    console.print(
        "\nsettings that differ from a plain `gipo train`:"
        if changed.row_count
        else "\nall settings are the defaults"
    )
    if changed.row_count:
        console.print(changed)
    console.print("\ntype next:")
    for command in _next_commands(run, root, status, has_checkpoint=bool(steps)):
        console.print(Text(f"  {command}"), soft_wrap=True)


def flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column == columns[0], overflow="fold")
    return table


def _plain_table(values: int = 2) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True)
    for _ in range(values):
        table.add_column(overflow="fold")
    return table


def _first_line(params: type[ObjectiveParams]) -> str:
    return (params.__doc__ or "").strip().partition("\n")[0]


def _knob(params: type[ObjectiveParams], name: str) -> tuple[Text, Text]:
    field = params.model_fields[name]
    options = allowed(params, name)
    meaning = field.description or ""
    return Text(f"{name}={shown(field.default)}"), Text(f"{meaning} ({options})" if options else meaning)


def _header(text: str) -> str:
    """The leading comment of a YAML file, without Hydra's package directive."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def _status(run: RunDir) -> Status | None:
    try:
        return read_status(run.status)
    except UserError:
        return None


def state_now(run: RunDir, status: Status) -> str:
    """State of a run; ``lost`` if it claims to run and has been silent for a minute."""
    return "lost" if status.state == "running" and is_silent(run, status) else status.state


def _share(status: Status) -> str:
    """Progress in percent; the last rollout may reach beyond the budget."""
    return f"{min(1.0, status.step / status.total_steps):.0%}"


def _settings(run: RunDir) -> tuple[str, ...]:
    """What a run is, in the order of ``_SETTINGS``."""
    try:
        config = peek_config(run)
    except UserError:
        return ("unknown", "", "", "")
    return config.env.subject, config.objective.name, str(config.buffer_size), str(config.seed)


def _best_known(status: Status) -> tuple[str, str]:
    latest = status.latest
    kind = "eval_" if latest.get("eval_return") is not None else ""
    result, success = latest.get(f"{kind}return"), latest.get(f"{kind}success")
    return "" if result is None else f"{result:.4g}", "" if success is None else f"{success:.0%}"


def _facts(run: RunDir, config: RunConfig, status: Status | None) -> Iterator[tuple[str, str]]:
    subject = " ".join(config.env.names)
    yield "what", f"{config.objective.name} on {subject}, buffer {config.buffer_size}, seed {config.seed}"
    if status is None:
        yield "state", "unknown: status.json is missing or damaged"
        return
    yield "state", state_now(run, status) + (f": {status.reason}" if status.reason else "")
    yield "steps", f"{status.step} of {status.total_steps} ({_share(status)})"
    if status.steps_per_second:
        yield "speed", f"{status.steps_per_second:.0f} steps/s"
    for key, name in _LATEST.items():
        value = status.latest.get(key)
        if value is not None:
            yield name, f"{value:.1%}" if "success" in key else f"{value:.4g}"


def _health(newest: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The newest numbers about the data, as far as they were recorded."""
    for column, (name, form) in _HEALTH.items():
        if is_number(value := newest.get(column) or ""):
            yield name, format(float(value), form)


def _damage(run: RunDir, status: Status, steps: Sequence[int], newest: dict[str, str]) -> Iterator[str]:
    """What of a run's own files is missing."""
    missing = [path.name for path in (run.metrics, run.evaluations) if status.step and not path.is_file()]
    yield from (f"{name} is missing" for name in missing)
    # Checkpoints beyond the run's step were left behind when it went back to an earlier one.
    saved = max((step for step in steps if step <= status.step), default=0)
    if run.metrics.name not in missing and last_step(newest) < saved:
        yield f"metrics.csv ends at step {last_step(newest)}, before the checkpoint of step {saved}"
    if status.state == "done" and not steps:
        yield "there is no checkpoint"


def _next_commands(run: RunDir, root: Path, status: Status | None, *, has_checkpoint: bool) -> Iterator[str]:
    given = run.path.relative_to(root).as_posix() if run.path.is_relative_to(root) else str(run.path)
    name = shlex.quote(given) + ("" if root == Path("runs") else f" --runs {shlex.quote(str(root))}")
    if status is not None and state_now(run, status) == "running":
        yield f"gipo show {name}"
        return
    trust = trust_flag(run)
    if status is None or status.state != "done":
        yield f"gipo train --resume {name}{trust}"
    if has_checkpoint:
        yield f"gipo eval {name}{trust}"
        yield f"gipo video {name}{trust}"
    yield f"tensorboard --logdir {shlex.quote(str(run.tensorboard))}"
