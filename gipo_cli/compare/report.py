"""Writing a comparison: figures, tables and one HTML file that needs nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from rich.console import Console

from gipo_cli.compare import aggregate
from gipo_cli.compare.canvas import Picture
from gipo_cli.compare.comparison import Comparison
from gipo_cli.compare.figures import FIGURES
from gipo_cli.compare.notes import notes
from gipo_cli.compare.parallel import shown, spread
from gipo_cli.compare.style import GRID, INK, PAPER, RC
from gipo_cli.compare.summary import Row, by_environment, summarise
from gipo_cli.compare.table import HEADINGS, NUMERIC, cells

FORMAT = 1
DPI = 160
KINDS = "|".join(make.__name__ for make in FIGURES)
FILES = re.compile(rf"summary\.(csv|md|json)|report\.html|figures/({KINDS})(_[a-z0-9_]+)?\.(png|svg)")


def is_report_file(name: str) -> bool:
    """Whether a name below the folder of a report is one that `write_report` gives."""
    return FILES.fullmatch(name) is not None


@dataclass(frozen=True)
class Drawing:
    """A figure that is written: its file name (no ending), texts and SVG."""

    name: str
    title: str
    caption: str
    svg: str

    def inline(self, number: int) -> Markup:
        """The SVG inside a page, in the page's own colours for text, grid and ground."""
        text = self.svg[self.svg.index("<svg") :]
        for color, name in ((INK, "ink"), (GRID, "grid"), (PAPER, "paper")):
            text = text.replace(color, f"var(--{name})")
        # Names inside a drawing are unique within that drawing only.
        for mark in ('id="', 'href="#', "url(#"):
            text = text.replace(mark, f"{mark}f{number}-")
        label = f'<svg role="img" aria-label="{escape(self.title)}" '
        return Markup(text.replace("<svg ", label, 1))


def write_report(
    comparison: Comparison,
    folder: Path,
    *,
    command: str = "",
    workers: int = 1,
    console: Console | None = None,
) -> list[Row]:
    """Write everything into an existing folder, and return the rows of the table.

    Args:
        comparison: what to show.
        folder: gets ``summary.csv``, ``summary.md``, ``summary.json``, ``report.html`` and ``figures/``.
        command: the command line, to be repeated in the report.
        workers: processes to draw with.
        console: where to show progress.
    """
    rows = summarise(comparison)
    (folder / "figures").mkdir()
    drawn = spread(_draw, (comparison, folder / "figures"), range(len(FIGURES)), workers=workers)
    drawings = [own for some in shown(drawn, "drawing figures", len(FIGURES), console) for own in some]
    page = {
        "comparison": comparison,
        "notes": notes(comparison),
        "tables": {label: [cells(row) for row in own] for label, own in by_environment(rows).items()},
        "headings": HEADINGS,
        "numeric": NUMERIC,
        "drawings": drawings,
        "command": command,
    }
    _write_csv(rows, folder / "summary.csv")
    content = _record(comparison, rows, page)
    (folder / "summary.json").write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    for name, autoescape in (("summary.md", False), ("report.html", True)):
        template = files(__package__).joinpath(f"{name}.jinja").read_text(encoding="utf-8")
        environment = Environment(
            autoescape=autoescape, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
        )
        (folder / name).write_text(environment.from_string(template).render(page), encoding="utf-8")
    return rows


def _draw(shared: tuple[Comparison, Path], kind: int) -> list[Drawing]:
    """Draw and write the figures of one kind as PNG and SVG."""
    comparison, folder = shared
    with mpl.rc_context({**RC, "text.parse_math": False}):
        return [_save(picture, folder) for picture in FIGURES[kind](comparison)]


def _save(picture: Picture, folder: Path) -> Drawing:
    # Solved once and then switched off: savefig would solve the layout again for each format.
    if (engine := picture.figure.get_layout_engine()) is not None:
        engine.execute(picture.figure)
    picture.figure.set_layout_engine(None)
    picture.figure.savefig(folder / f"{picture.name}.png", dpi=DPI)
    buffer = io.StringIO()
    picture.figure.savefig(buffer, format="svg", metadata={"Date": None})
    (folder / f"{picture.name}.svg").write_text(buffer.getvalue(), encoding="utf-8")
    return Drawing(picture.name, picture.title, picture.caption, buffer.getvalue())


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    records = [{name: _as_text(value) for name, value in row.flat().items()} for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def _as_text(value: object) -> object:
    """A text that a spreadsheet would take for a formula, behind an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple("=+-@")) else value


def _record(comparison: Comparison, rows: Sequence[Row], page: dict[str, Any]) -> dict[str, object]:
    labels = {arm: rival.label for arm, rival in comparison.baselines.items()}
    return {
        "format": FORMAT,
        "command": page["command"],
        "metric": {"name": comparison.metric.column, "source": comparison.metric.source},
        "statistics": {
            "confidence": aggregate.CONFIDENCE,
            "resamples": aggregate.RESAMPLES,
            "bootstrap_seed": aggregate.BOOTSTRAP_SEED,
            "method": "percentile bootstrap over seeds, stratified by environment",
            "scipy": version("scipy"),
            "numpy": version("numpy"),
        },
        "environments": [
            {
                "label": env.label,
                "horizon": env.horizon,
                "zero": env.low,
                "one": env.high,
                "threshold": env.threshold,
            }
            for env in comparison.environments
        ],
        "groups": [
            {"label": arm.label, "settings": dict(arm.settings), "baseline": labels.get(arm)}
            for arm in comparison.arms
        ],
        "rows": [row.flat() for row in rows],
        "notes": page["notes"],
        "runs": [
            {
                "path": str(run.path),
                "group": cell.arm.label,
                "environment": cell.environment.label,
                "seed": run.seed,
                "final": final,
            }
            for cell in comparison.cells.values()
            for run, final in zip(cell.runs, cell.finals.tolist(), strict=True)
        ],
        "left_out": [{"path": str(out.path), "reason": out.reason} for out in comparison.left_out],
    }
