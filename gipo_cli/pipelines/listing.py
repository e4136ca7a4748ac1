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

from gipo_cli.config.compose import compose, to_yaml
from gipo_cli.config.explain import allowed
from gipo_cli.config.groups import find_file, group_choices
from gipo_cli.core.params import PARAMS, ObjectiveParams
from gipo_cli.errors import UserError
from gipo_cli.pipelines.columns import aligned
from gipo_cli.runlog.layout import RunDir, list_runs
from gipo_cli.runlog.manifest import peek_config
from gipo_cli.runlog.status import Status, is_silent, read_status

if TYPE_CHECKING:
    from gipo_cli.config.schema import RunConfig


_LATEST = {
    "return": "training return",
    "success": "training success",
    "eval_return": "evaluation return",
    "eval_success": "evaluation success",
}


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


def print_objectives() -> None:
    """Print every objective's formula and parameters."""
    console = Console(highlight=False)
    console.print(Text("Maximised; r = pi / mu, A the advantage, sg[.] a stopped gradient."))
    for name, params in PARAMS.items():
        console.print(Text.assemble("\n", (name, "bold"), "  ", params.formula or _first_line(params)))
        knobs = _plain_table()
        for field in params.model_fields:
            if field != "name":
                knobs.add_row(*_knob(params, field))
        if knobs.row_count:
            console.print(knobs)
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
    rows = [("run", "state", "done", "return", "success")]
    for run in runs:
        status = _status(run)
        name = run.path.relative_to(root).as_posix()
        known = ("unknown", "", "", "")
        if status is not None:
            known = (state_now(run, status), _share(status), *_best_known(status))
        rows.append((name, *known))
    for line in aligned(rows, console.width if console.is_terminal else None):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"return and success: newest evaluation, else training. Runs in {root}", style="dim"))


def show_run(run: RunDir, root: Path) -> None:
    """Print one run: state, settings that differ from the defaults, numbers, and what to type next."""
    config, status = peek_config(run), _status(run)
    console = Console(highlight=False)
    console.print(Text(str(run.path), style="bold"))
    facts = _plain_table()
    for name, value in _facts(run, config, status):
        facts.add_row(name, Text(value))
    console.print(facts)
    changed = _plain_table()
    default = flatten(compose([]).config.model_dump(mode="json"))
    for key, value in flatten(config.model_dump(mode="json")).items():
        if key not in default or default[key] != value:
            before = f"(default {_shown(default[key])})" if key in default else ""
            changed.add_row(key, Text(_shown(value)), Text(before))
    console.print(
        "\nsettings that differ from a plain `gipo train`:"
        if changed.row_count
        else "\nall settings are the defaults"
    )
    if changed.row_count:
        console.print(changed)
    console.print("\ntype next:")
    for command in _next_commands(run, root, status):
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


def _plain_table() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True)
    for _ in range(2):
        table.add_column(overflow="fold")
    return table


def _first_line(params: type[ObjectiveParams]) -> str:
    return (params.__doc__ or "").strip().splitlines()[0]


def _knob(params: type[ObjectiveParams], name: str) -> tuple[Text, Text]:
    field = params.model_fields[name]
    options = allowed(params, name)
    meaning = field.description or ""
    return Text(f"{name}={_shown(field.default)}"), Text(f"{meaning} ({options})" if options else meaning)


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


def _best_known(status: Status) -> tuple[str, str]:
    latest = status.latest
    kind = "eval_" if latest.get("eval_return") is not None else ""
    result, success = latest.get(f"{kind}return"), latest.get(f"{kind}success")
    return "" if result is None else f"{result:.4g}", "" if success is None else f"{success:.0%}"


def _facts(run: RunDir, config: RunConfig, status: Status | None) -> Iterator[tuple[str, str]]:
    env = config.env
    subject = " ".join(part for part in (env.name, env.task or env.id) if part)
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


def _next_commands(run: RunDir, root: Path, status: Status | None) -> Iterator[str]:
    given = run.path.relative_to(root).as_posix() if run.path.is_relative_to(root) else str(run.path)
    name = shlex.quote(given) + ("" if root == Path("runs") else f" --runs {shlex.quote(str(root))}")
    if status is not None and state_now(run, status) == "running":
        yield f"gipo show {name}"
        return
    if status is None or status.state != "done":
        yield f"gipo train --resume {name}"
    yield f"gipo eval {name}"
    yield f"gipo video {name}"
    yield f"tensorboard --logdir {shlex.quote(str(run.tensorboard))}"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
