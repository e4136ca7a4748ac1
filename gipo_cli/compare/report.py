"""Writing a comparison: figures, tables and one HTML file that needs nothing else."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

import matplotlib as mpl

from gipo_cli.compare import aggregate
from gipo_cli.compare.canvas import Picture
from gipo_cli.compare.comparison import Comparison
from gipo_cli.compare.figures import FIGURES
from gipo_cli.compare.notes import notes
from gipo_cli.compare.parallel import spread
from gipo_cli.compare.style import GRID, INK, PAPER, RC
from gipo_cli.compare.summary import Row, summarise
from gipo_cli.compare.table import HEADINGS, NUMERIC, cells

FORMAT = 1
DPI = 160


@dataclass(frozen=True)
class Drawing:
    """A figure that is written: its file name (no ending), texts and SVG."""

    name: str
    title: str
    caption: str
    svg: str = field(repr=False)


def write_report(
    comparison: Comparison,
    folder: Path,
    *,
    command: str = "",
    workers: int = 1,
    tick: Callable[[], object] = lambda: None,
) -> list[Row]:
    """Write everything into an existing folder.

    Args:
        comparison: what to show.
        folder: gets ``summary.csv``, ``summary.md``, ``summary.json``, ``report.html`` and ``figures/``.
        command: the command line, to be repeated in the report.
        workers: processes to draw with.
        tick: called after each kind of figure.

    Returns:
        The rows of the table.
    """
    rows, remarks = summarise(comparison), notes(comparison)
    (folder / "figures").mkdir()
    drawings: list[Drawing] = []
    for some in spread(_draw, (comparison, folder / "figures"), range(len(FIGURES)), workers=workers):
        drawings += some
        tick()
    _write_csv(rows, folder / "summary.csv")
    content = _record(comparison, rows, remarks, command)
    (folder / "summary.json").write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    (folder / "summary.md").write_text(_markdown(comparison, rows, remarks, drawings), encoding="utf-8")
    (folder / "report.html").write_text(_html(comparison, rows, remarks, drawings, command), encoding="utf-8")
    return rows


def _draw(shared: tuple[Comparison, Path], kind: int) -> list[Drawing]:
    """Draw and write the figures of one kind as PNG and SVG."""
    comparison, folder = shared
    with mpl.rc_context(RC):
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
    records = [row.flat() for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def _record(
    comparison: Comparison, rows: Sequence[Row], remarks: Sequence[str], command: str
) -> dict[str, object]:
    return {
        "format": FORMAT,
        "command": command,
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
            {"label": arm.label, "settings": dict(arm.settings), "baseline": _label(comparison, arm)}
            for arm in comparison.arms
        ],
        "rows": [row.flat() for row in rows],
        "notes": list(remarks),
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


def _label(comparison: Comparison, arm: object) -> str | None:
    baseline = next((other for own, other in comparison.baselines.items() if own == arm), None)
    return baseline.label if baseline else None


def _markdown(
    comparison: Comparison, rows: Sequence[Row], remarks: Sequence[str], drawings: Sequence[Drawing]
) -> str:
    lines = [f"# Comparison by {comparison.metric.title}", "", *(f"- {remark}" for remark in remarks)]
    for environment, own in by_environment(rows).items():
        table = [cells(row) for row in own]
        lines += [
            "",
            f"## {environment}",
            "",
            _bars(HEADINGS),
            _bars(["--:" if name in NUMERIC else "---" for name in HEADINGS]),
        ]
        lines += [_bars([text.replace("|", "\\|") for text in row]) for row in table]
    if comparison.left_out:
        lines += ["", "## Left out", "", *(f"- `{out.path}`: {out.reason}" for out in comparison.left_out)]
    lines += ["", "## Figures", ""]
    for picture in drawings:
        lines += [
            f"### {picture.title}",
            "",
            f"![{picture.title}](figures/{picture.name}.png)",
            "",
            picture.caption,
            "",
        ]
    return "\n".join(lines)


def _bars(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def by_environment(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by environment, in order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.environment, []).append(row)
    return found


def _html(
    comparison: Comparison,
    rows: Sequence[Row],
    remarks: Sequence[str],
    drawings: Sequence[Drawing],
    command: str,
) -> str:
    page = Template(files("gipo_cli.compare").joinpath("report.template.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=html.escape(f"Comparison by {comparison.metric.title}"),
        runs=f"{len(comparison.used)} runs in {len(comparison.arms)} groups; environments: "
        + html.escape(", ".join(environment.label for environment in comparison.environments)),
        remarks="".join(f"<li>{html.escape(remark)}</li>" for remark in remarks),
        tables="".join(_html_table(environment, own) for environment, own in by_environment(rows).items()),
        figures="".join(_html_figure(drawing, number) for number, drawing in enumerate(drawings)),
        left_out=_html_left_out(comparison),
        command=html.escape(command),
    )


def _html_table(environment: str, rows: Sequence[Row]) -> str:
    kinds = ["number" if name in NUMERIC else "words" for name in HEADINGS]
    head = "".join(
        f'<th scope="col" class="{kind}">{html.escape(name)}</th>'
        for name, kind in zip(HEADINGS, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{html.escape(text)}</td>'
            for text, kind in zip(cells(row), kinds, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f"<h3>{html.escape(environment)}</h3>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _html_figure(picture: Drawing, number: int) -> str:
    """The drawing inside the page, in the page's own colours for text, grid and ground."""
    drawing = picture.svg[picture.svg.index("<svg") :]
    for color, name in ((INK, "ink"), (GRID, "grid"), (PAPER, "paper")):
        drawing = drawing.replace(color, f"var(--{name})")
    # Names inside a drawing are unique within that drawing only.
    for mark in ('id="', 'href="#', "url(#"):
        drawing = drawing.replace(mark, f"{mark}f{number}-")
    title = html.escape(picture.title)
    drawing = drawing.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
    return (
        f"<figure><h3>{title}</h3>{drawing}<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
    )


def _html_left_out(comparison: Comparison) -> str:
    if not comparison.left_out:
        return ""
    items = "".join(
        f"<li><code>{html.escape(str(out.path))}</code>: {html.escape(out.reason)}</li>"
        for out in comparison.left_out
    )
    return f"<h2>Runs left out</h2><ul>{items}</ul>"
