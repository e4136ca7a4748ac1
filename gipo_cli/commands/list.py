"""``gipo list``: environments, objectives, presets and runs, as tables that fit 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, echo

from gipo_cli.commands.options import AsJson, ConfigDir, RunsRoot

if TYPE_CHECKING:
    from rich.table import Table

    from gipo_cli.core.objectives import ObjectiveParams
    from gipo_cli.runs.layout import RunDir

Word = Annotated[
    str | None, Argument(metavar="WORD", help="show only those whose name or meaning holds this word")
]
SETTINGS = ("environment", "objective", "buffer", "seed")
_GLANCED = re.compile(r"^(?:(\w+)|  (name|id|task|n_envs|size|rollout_steps)):(.*)$", re.MULTILINE)


def list_envs(as_json: AsJson = False) -> None:
    """Environments for env=..., their rewards and tasks."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from gipo_cli.envs.registry import ENVIRONMENTS
    from gipo_cli.settings.groups import names_in

    found = set(names_in("tuned"))
    tuned = {env: [p for p in names_in("preset") if f"{p}_{env}" in found] for env in ENVIRONMENTS}
    if as_json:
        names = ("name", "description", "success", "installed")
        _dump(
            {name: getattr(entry, name) for name in names}
            | {"rewards": [*entry.rewards], "tasks": [*entry.tasks], "tuned": tuned[entry.name]}
            for entry in ENVIRONMENTS.values()
        )
        return
    console, table = Console(highlight=False), plain_table("env=", "reward=", "what it is; success")
    for entry in ENVIRONMENTS.values():
        missing = "" if entry.installed else f" (not installed: pip install {entry.distribution})"
        presets = ", ".join(f"preset={preset}" for preset in tuned[entry.name])
        what = Text(f"{entry.description}{missing}\nsuccess: {entry.success}")
        what.append(f"\nsettings found for it: {presets}" if presets else "")
        table.add_row(entry.name, "\n".join(entry.rewards) or "its own", what)
    console.print(table)
    for entry in ENVIRONMENTS.values():
        if entry.tasks:
            console.print(f"\n[bold]env={entry.name} env.task=[/] one of")
            console.print(Padding(Text(", ".join(entry.tasks)), (0, 0, 0, 2)))
    console.print("\nAny of them takes env.reward=success: 1 at a successful step, else 0.")
    console.print("For example: gipo train env=fetch_push env.reward=sparse")


def list_objectives(config_dir: ConfigDir = None, as_json: AsJson = False) -> None:
    """Objectives for objective=..., their formulas and parameters."""
    from rich.console import Console
    from rich.text import Text

    from gipo_cli.core.objectives import OBJECTIVES
    from gipo_cli.settings.groups import find_file, header, names_in, shipped_dir

    about = {
        name: params.formula or (params.__doc__ or "").strip().partition("\n")[0]
        for name, params in OBJECTIVES.items()
    }
    files = (
        find_file("objective", name, config_dir or []) for name in names_in("objective", config_dir or [])
    )
    own = [file for file in files if file is not None and shipped_dir() not in file.parents]
    if as_json:
        shipped = [{"name": name, "formula": text, "file": ""} for name, text in about.items()]
        _dump([*shipped, *({"name": f.stem, "formula": header(f), "file": str(f)} for f in own)])
        return
    console = Console(highlight=False)
    console.print(Text("Maximised; r = pi / mu, A the advantage, sg[.] a stopped gradient."))
    for name, params in OBJECTIVES.items():
        console.print(Text.assemble("\n", (name, "bold"), "  ", about[name]))
        console.print(_knobs(params), end="")
    for file in own:
        console.print(Text.assemble("\n", (file.stem, "bold"), "  ", header(file)))
        console.print(Text(f"    {file}"), soft_wrap=True)
    console.print("\nFor example: gipo train objective=gipo objective.sigma=0.2")


def list_presets(config_dir: ConfigDir = None, as_json: AsJson = False) -> None:
    """Presets for preset=..."""
    _group("preset", config_dir or [], as_json, "gipo train preset=authors --dry-run")


def list_studies(config_dir: ConfigDir = None, as_json: AsJson = False) -> None:
    """Studies for gipo sweep study=..."""
    _group("study", config_dir or [], as_json, "gipo sweep study=smoke --dry-run")


def list_settings(word: Word = None, as_json: AsJson = False) -> None:
    """Settings for key=value: defaults, what is allowed, what they mean."""
    from gipo_cli.settings.explain import described

    found = _with(word, described(), "key", "setting")
    rows = [
        (
            f"{row['key']}={row['default']}",
            row["meaning"] + (f" ({row['allowed']})" if row["allowed"] else ""),
        )
        for row in found
    ]
    _table(found, rows, as_json, "gipo train agent.rollout_steps=100")


def list_metrics(word: Word = None, as_json: AsJson = False) -> None:
    """Columns of metrics.csv and eval.csv, and how to read them."""
    from gipo_cli.runs.catalog import EVALUATION, METRICS

    every = [
        {"file": file, "column": one.tag, "formula": one.formula, "reading": one.reading, "unit": one.unit}
        for file, metrics in {"metrics.csv": METRICS, "eval.csv": EVALUATION}.items()
        for one in metrics
    ]
    found = _with(word, every, "column", "metric")
    rows = [(row["column"], "; ".join(filter(None, [*row.values()][2:]))) for row in found]
    _table(found, rows, as_json, "gipo compare runs --metric train/return")


def _with(word: str | None, rows: list[dict[str, str]], name: str, what: str) -> list[dict[str, str]]:
    """The rows that hold a word; those with the nearest name where none does."""
    from gipo_cli.errors import UserError, nearest

    if word is None:
        return rows
    found = [row for row in rows if word.lower() in " ".join(row.values()).lower()]
    if not found:
        near = nearest(word, [row[name] for row in rows])
        found = [row for row in rows if row[name] in near]
    if not found:
        raise UserError(f"no {what} has to do with {word!r}; leave the word out to see all of them")
    return found


def _group(group: str, config_dirs: Sequence[Path], as_json: bool, example: str) -> None:
    from gipo_cli.settings.groups import find_file, header, names_in

    files = {name: find_file(group, name, config_dirs) for name in names_in(group, config_dirs)}
    found = [{"name": name, "about": header(file)} for name, file in files.items() if file is not None]
    _table(found, [(row["name"], row["about"]) for row in found], as_json, example, f"{group}=", "what it is")


def _table(
    found: Sequence[Any], rows: Sequence[tuple[str, str]], as_json: bool, example: str, *columns: str
) -> None:
    from rich.console import Console
    from rich.text import Text

    if as_json:
        _dump(found)
        return
    console, table = Console(highlight=False), plain_table(*columns, values=1)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    console.print(f"For example: {example}")


def _dump(rows: Iterable[Any]) -> None:
    from json import dumps

    echo(dumps(list(rows), indent=2, ensure_ascii=False))


def list_runs(runs: RunsRoot = None, as_json: AsJson = False) -> None:
    """Runs, their state, progress and newest results."""
    from rich.console import Console
    from rich.text import Text

    from gipo_cli.commands.columns import aligned
    from gipo_cli.runs import layout
    from gipo_cli.text import printable

    console, root = Console(highlight=False), layout.runs_root(runs)
    found = layout.list_runs(root)
    columns = ["run", *SETTINGS, "state", "done", "return", "success"]
    told = [(run.path.relative_to(root).as_posix(), *_settings(run), *_progress(run)) for run in found]
    if as_json:
        _dump(dict(zip(columns, cells, strict=True)) for cells in told)
        return
    if not found:
        console.print(Text(f"no runs in {root}; start one with: gipo train"))
        return
    rows = [columns, *([printable(cell) for cell in cells] for cells in told)]
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
    from gipo_cli.runs.layout import is_starting
    from gipo_cli.runs.status import read_status, state_now

    try:
        status = read_status(run.status)
    except UserError:
        return ("starting" if is_starting(run) else "unknown", "", "", "")
    latest = status.latest
    kind = "eval_" if latest.get("eval_return") is not None else ""
    result, success = latest.get(f"{kind}return"), latest.get(f"{kind}success")
    return (
        state_now(run, status),
        f"{status.share:.0%}",
        "" if result is None else f"{result:.4g}",
        "" if success is None else f"{success:.0%}",
    )
