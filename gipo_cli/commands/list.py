"""``gipo list``: environments, objectives, presets and runs, as tables that fit 80 columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gipo_cli.commands.options import ConfigDir, RunsRoot

if TYPE_CHECKING:
    from rich.table import Table

    from gipo_cli.core.objectives import ObjectiveParams
    from gipo_cli.runs.layout import RunDir

SETTINGS = ("environment", "objective", "buffer", "seed")
_GLANCED = re.compile(r"^(?:(\w+)|  (name|id|task|n_envs|size|rollout_steps)):(.*)$", re.MULTILINE)


def list_envs() -> None:
    """Environments for env=..., their rewards and tasks."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from gipo_cli.envs.registry import ENVIRONMENTS

    console, table = Console(highlight=False), plain_table("env=", "reward=", "what it is; success")
    for entry in ENVIRONMENTS.values():
        missing = "" if entry.installed else f" (not installed: pip install {entry.distribution})"
        what = Text(f"{entry.description}{missing}\nsuccess: {entry.success}")
        table.add_row(entry.name, "\n".join(entry.rewards) or "its own", what)
    console.print(table)
    for entry in ENVIRONMENTS.values():
        if entry.tasks:
            console.print(f"\n[bold]env={entry.name} env.task=[/] one of")
            console.print(Padding(Text(", ".join(entry.tasks)), (0, 0, 0, 2)))
    console.print("\nAny of them takes env.reward=success: 1 at a successful step, else 0.")
    console.print("For example: gipo train env=fetch_push env.reward=sparse")


def list_objectives(config_dir: ConfigDir = None) -> None:
    """Objectives for objective=..., their formulas and parameters."""
    from rich.console import Console
    from rich.text import Text

    from gipo_cli.core.objectives import OBJECTIVES
    from gipo_cli.settings.groups import find_file, group_choices, shipped_dir

    console = Console(highlight=False)
    console.print(Text("Maximised; r = pi / mu, A the advantage, sg[.] a stopped gradient."))
    for name, params in OBJECTIVES.items():
        about = params.formula or (params.__doc__ or "").strip().partition("\n")[0]
        console.print(Text.assemble("\n", (name, "bold"), "  ", about))
        console.print(_knobs(params), end="")
    for name in group_choices(config_dir or [])["objective"]:
        file = find_file("objective", name, config_dir or [])
        if file is not None and shipped_dir() not in file.parents:
            console.print(Text.assemble("\n", (name, "bold"), "  ", _header(file)))
            console.print(Text(f"    {file}"), soft_wrap=True)
    console.print("\nFor example: gipo train objective=gipo objective.sigma=0.2")


def list_presets(config_dir: ConfigDir = None) -> None:
    """Presets for preset=..."""
    from rich.console import Console
    from rich.text import Text

    from gipo_cli.settings.groups import find_file, group_choices

    table = plain_table("preset=", "what it is")
    for name in group_choices(config_dir or [])["preset"]:
        table.add_row(name, Text(_header(find_file("preset", name, config_dir or []))))
    console = Console(highlight=False)
    console.print(table)
    console.print("For example: gipo train preset=authors --dry-run")


def list_runs(runs: RunsRoot = None) -> None:
    """Runs, their state, progress and newest results."""
    from rich.console import Console
    from rich.text import Text

    from gipo_cli.commands.columns import aligned
    from gipo_cli.runs import layout
    from gipo_cli.text import printable

    console, root = Console(highlight=False), layout.runs_root(runs)
    found = layout.list_runs(root)
    if not found:
        console.print(Text(f"no runs in {root}; start one with: gipo train"))
        return
    rows = [["run", *SETTINGS, "state", "done", "return", "success"]]
    for run in found:
        cells = (run.path.relative_to(root).as_posix(), *_settings(run), *_progress(run))
        rows.append([printable(cell) for cell in cells])
    width = console.width if console.is_terminal else None
    lines = aligned(rows, width, optional=range(1, 1 + len(SETTINGS)))
    console.print(Text("\n".join(lines)), soft_wrap=True)
    console.print(Text(f"return and success: newest evaluation, else training; runs in {root}", style="dim"))


def plain_table(*columns: str, indent: int = 0, values: int = 0) -> Table:
    """Return a table without lines whose first column is never folded.

    Args:
        *columns: Headings; none for a table without.
        indent: Letters before the first column.
        values: Columns after the first, where there are no headings.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=bool(indent), padding=(0, 2, 0, indent), show_header=bool(columns))
    for number, column in enumerate(columns or [""] * (1 + values)):
        table.add_column(column, no_wrap=number == 0, overflow="fold", header_style="bold")
    return table


def _knobs(params: type[ObjectiveParams]) -> Table | str:
    from rich.text import Text

    from gipo_cli.settings.explain import options, shown

    table = plain_table(indent=2, values=1)
    for name, field in params.model_fields.items():
        if name != "name":
            meaning, allowed = field.description or "", " or ".join(options(params, name))
            about = f"{meaning} ({allowed})" if allowed else meaning
            table.add_row(Text(f"{name}={shown(field.default)}"), Text(about))
    return table if table.row_count else ""


def _header(file: Path | None) -> str:
    """The comment that heads a YAML file, without Hydra's package directive."""
    from gipo_cli.settings.groups import read

    lines = []
    for line in read(file).splitlines() if file else ():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def _settings(run: RunDir) -> Sequence[str]:
    """Say what a run is, as in ``SETTINGS``."""
    from gipo_cli.errors import UserError
    from gipo_cli.runs.manifest import peek_config

    if (known := _glance(run)) is not None:
        return known
    try:
        config = peek_config(run)
    except UserError:
        return ("unknown", "", "", "")
    return config.env.subject, config.objective.name, str(config.buffer_size), str(config.seed)


def _glance(run: RunDir) -> Sequence[str] | None:
    """Read ``_settings`` off the lines that hold them: to parse thousands of whole files takes too long."""
    from gipo_cli.runs.durable import unseal_text

    try:
        section, found = "", {}
        for top, key, value in _GLANCED.findall((unseal_text(run.config.read_bytes()) or b"").decode()):
            section = top or section
            found[f"{section}.{key}"] = value
        env = [found[f"env.{key}"] for key in ("task", "id", "name")]
        subject, objective = next(filter(None, map(_scalar, env))), _scalar(found["objective.name"])
        size = _scalar(found["buffer.size"])
        if size is None:
            size = _scalar(found["agent.rollout_steps"]) * _scalar(found["env.n_envs"])
        return str(subject), str(objective), f"{size:d}", f"{_scalar(found['seed.']):d}"
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return None


@cache
def _scalar(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(text) from error


def _progress(run: RunDir) -> Sequence[str]:
    from gipo_cli.errors import UserError
    from gipo_cli.runs.status import read_status, state_now

    try:
        status = read_status(run.status)
    except UserError:
        return ("unknown", "", "", "")
    latest = status.latest
    kind = "eval_" if latest.get("eval_return") is not None else ""
    result, success = latest.get(f"{kind}return"), latest.get(f"{kind}success")
    return (
        state_now(run, status),
        f"{status.share:.0%}",
        "" if result is None else f"{result:.4g}",
        "" if success is None else f"{success:.0%}",
    )
