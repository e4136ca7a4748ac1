"""Writes docs/configuration.md and docs/metrics.md from the code; ``--check`` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.runs.catalog import EVALUATION, METRICS, Metric
from gipo_cli.settings.explain import options
from gipo_cli.settings.groups import IMPLIED, group_choices
from gipo_cli.settings.schema import RunConfig

HERE = Path(__file__).parent
HEADINGS = ["| key | default | allowed | meaning |", "| --- | --- | --- | --- |"]


def configuration() -> str:
    """Every value of a run's configuration, its default and its meaning."""
    lines = [
        "# Configuration reference",
        "",
        "Made by `make docs` from the schema that checks every run; edit the schema, not this page. Each",
        "value is set on the command line as `section.key=value`. Its default holds for `gipo train` and for",
        "the Python API; the files in `conf/` hold what a group, preset or environment sets otherwise, and",
        "`gipo train --dry-run` prints what a run would use. An empty cell under *allowed* is anything of",
        "the default's type.",
        "",
        "A group's file is picked by `group=name`. What is typed wins over everything; then the preset's",
        "settings for one objective in an environment (`conf/tuned_objective/`), for the environment",
        "(`conf/tuned/`) and for the objective (`conf/preset_objective/`), then",
        "the preset's own, then the files of the other groups. `buffer=...` or `agent=...` typed beside a",
        "preset gives that file's values, whatever the preset says. The groups and their files:",
        "",
        *(
            f"- `{group}`: {', '.join(f'`{name}`' for name in names)}"
            for group, names in group_choices().items()
            if group not in IMPLIED
        ),
        "",
    ]
    for path, model in _sections("", RunConfig):
        lines += [f"## {path or 'The run'}", "", (model.__doc__ or "").strip().splitlines()[0], ""]
        lines += HEADINGS
        for name, field in model.model_fields.items():
            if _section_of(field) is None and name != "objective":
                lines.append(_value(f"{path}.{name}" if path else name, model, name))
        lines.append("")
    lines += [
        "## objective",
        "",
        "One of these; `objective=NAME` picks it and `objective.KNOB=VALUE` sets a knob.",
        "",
    ]
    for name, params in OBJECTIVES.items():
        lines += [f"### {name}", "", (params.__doc__ or "").strip().splitlines()[0], ""]
        knobs = [key for key in params.model_fields if key != "name"]
        if knobs:
            lines += [*HEADINGS, *(_value(f"objective.{key}", params, key) for key in knobs)]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def metrics() -> str:
    """Every logged number."""
    lines = [
        "# Metrics",
        "",
        "Made by `make docs` from `gipo_cli/runs/catalog.py`, where the files take their headers.",
        "TensorBoard shows those marked * under the same names, and the trained objective's rows of",
        "`diagnostics.csv` as `diagnostics/<reference>/<column>`. g is the objective's gradient",
        "coefficient, r the importance ratio, mu the behaviour policy; with `agent.ratio=per_dimension` a",
        "sample is one dimension of one action. The columns of `diagnostics.csv` are explained in",
        "[diagnostics](diagnostics.md).",
        "",
        *_table("metrics.csv: one row per iteration", METRICS),
        *_table("eval.csv: one row per evaluation (TensorBoard: `eval/...`)", EVALUATION),
        "## TensorBoard only",
        "",
        "Histograms every `logging.histograms` steps, of the samples of that iteration's actor steps:",
        "`histogram/log_ratio`, `histogram/trust_weight` (g / r) and `histogram/lag`.",
    ]
    return "\n".join(lines) + "\n"


def _table(title: str, rows: Sequence[Metric]) -> list[str]:
    lines = [
        f"## {title}",
        "",
        "| column | unit | what it is | how to read it |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{m.tag}`{' *' * m.curve} | {m.unit} | {_cell(m.formula)} | {_cell(m.reading)} |" for m in rows
    ]
    return [*lines, ""]


def _sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        section = _section_of(field)
        if section is not None and name != "objective":
            yield from _sections(f"{path}.{name}".lstrip("."), section)


def _value(key: str, model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    meaning = _cell(field.description or "")
    return f"| `{key}` | {_default(field)} | {_cell(' or '.join(options(model, name)))} | {meaning} |"


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "set by `conf/`"
    return "`null`" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the pages, or say which differ."""
    stale = []
    for name, text in (("configuration.md", configuration()), ("metrics.md", metrics())):
        page = HERE / name
        if "--check" in sys.argv:
            if not page.exists() or page.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            page.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run make docs\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
