"""A comparison as files: figures, tables and one HTML page that needs nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import date
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from gipo_cli import __version__
from gipo_cli.compare import aggregate, verdict
from gipo_cli.compare.comparison import Comparison
from gipo_cli.compare.figures import FIGURES, Picture
from gipo_cli.compare.gains import HEADINGS as GAIN_HEADINGS
from gipo_cli.compare.gains import gain_texts, gains
from gipo_cli.compare.notes import notes
from gipo_cli.compare.parallel import spread, worth
from gipo_cli.compare.style import GRID, INK, PAPER
from gipo_cli.compare.summary import HEADINGS, NUMERIC, Row, by_environment

FORMAT = 1
DPI = 160
KINDS = "|".join(kind.name for kind in FIGURES)
FILES = re.compile(rf"summary\.(csv|md|json)|report\.html|figures/({KINDS})(_[a-z0-9_]+)?\.(png|svg)")


def is_report_file(name: str) -> bool:
    """Whether a name below the folder of a report is one that `report_files` gives."""
    return FILES.fullmatch(name) is not None


class Drawing(NamedTuple):
    """A picture, drawn."""

    name: str
    title: str
    caption: str
    png: bytes
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


def report_files(
    comparison: Comparison, rows: Sequence[Row], *, command: str = "", day: date | None = None
) -> dict[str, bytes]:
    """The files of a report by name: ``summary.csv``, ``.md`` and ``.json``, ``report.html``, ``figures/``.

    ``command`` is the command line, to be repeated in the report, ``rows`` are those of the table, and
    ``day`` is by default today. Figures are drawn on several processes if there are many runs.
    """
    workers = worth(len(comparison.used))
    # Backwards: of two processes neither is left with a long one at the end.
    kinds = range(len(FIGURES))[::-1]
    drawn = spread(_draw, comparison, kinds, workers=workers, text="drawing figures")
    drawings = [own for some in reversed(drawn) for own in some]
    common, compared = verdict.settings(comparison)
    script = files(__package__).joinpath("sort.js").read_text(encoding="utf-8")
    page = {
        "comparison": comparison,
        "title": verdict.title(comparison),
        "date": (day or date.today()).isoformat(),
        "gipo": __version__,
        "versions": verdict.versions(comparison),
        "verdicts": verdict.verdicts(comparison, rows),
        "common": common,
        "compared": compared,
        "script": Markup(script),
        # No other script is run, whatever a label holds.
        "digest": b64encode(sha256(script.encode()).digest()).decode(),
        "notes": notes(comparison),
        "tables": {label: [row.texts() for row in own] for label, own in by_environment(rows).items()},
        "gains": gain_texts(comparison),
        "gain_headings": GAIN_HEADINGS,
        "headings": HEADINGS,
        "numeric": NUMERIC,
        "drawings": drawings,
        "command": command,
    }
    record = json.dumps(_record(comparison, rows, page), indent=1, allow_nan=False)
    texts = {"summary.csv": _csv(rows), "summary.json": record}
    for name, autoescape in (("summary.md", False), ("report.html", True)):
        template = files(__package__).joinpath(f"{name}.jinja").read_text(encoding="utf-8")
        environment = jinja2.Environment(
            autoescape=autoescape, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
        )
        texts[name] = environment.from_string(template).render(page)
    content = {name: text.encode() for name, text in texts.items()}
    for own in drawings:
        content |= {f"figures/{own.name}.png": own.png, f"figures/{own.name}.svg": own.svg.encode()}
    return content


def _draw(comparison: Comparison, kind: int) -> list[Drawing]:
    return [_save(picture) for picture in FIGURES[kind].pictures(comparison)]


def _save(picture: Picture) -> Drawing:
    figure, png, svg = picture.figure, io.BytesIO(), io.StringIO()
    # Solved once and then switched off: savefig would solve the layout again for each format.
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    figure.set_layout_engine(None)
    figure.savefig(png, format="png", dpi=DPI)
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return Drawing(picture.name, picture.title, picture.caption, png.getvalue(), svg.getvalue())


def _csv(rows: Sequence[Row]) -> str:
    records = [{name: _as_text(value) for name, value in row.flat().items()} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _as_text(value: object) -> object:
    """A text that a spreadsheet would take for a formula, behind an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple("=+-@")) else value


def _record(comparison: Comparison, rows: Sequence[Row], page: dict[str, Any]) -> dict[str, object]:
    labels = {arm: rival.label for arm, rival in comparison.baselines.items()}
    return {
        "format": FORMAT,
        **{name: page[name] for name in ("title", "date", "gipo", "versions", "verdicts")},
        **{name: page[name] for name in ("common", "compared", "command")},
        "metric": {"name": comparison.metric.column, "source": comparison.metric.source},
        "statistics": {
            "confidence": aggregate.CONFIDENCE,
            "resamples": aggregate.RESAMPLES,
            "bootstrap_seed": aggregate.BOOTSTRAP_SEED,
            "method": "percentile bootstrap over seeds, stratified by environment",
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
        "gains": [gain.flat() for gain in gains(comparison)],
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
