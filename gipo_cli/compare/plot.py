"""Curves of one run or several: in the terminal, and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from gipo_cli.compare import canvas
from gipo_cli.compare.canvas import Panel
from gipo_cli.compare.chart import chart
from gipo_cli.compare.comparison import Comparison, Environment
from gipo_cli.compare.figures_time import ColumnPanel, column_panel
from gipo_cli.compare.gather import gather, search
from gipo_cli.compare.grouping import Arm
from gipo_cli.compare.load import HEALTH, TRAINING
from gipo_cli.compare.output import writing
from gipo_cli.compare.present import print_left_out
from gipo_cli.compare.selection import Criterion
from gipo_cli.compare.style import RC, Look, variant_looks
from gipo_cli.errors import UserError
from gipo_cli.runs.layout import check_out

SHOWN = (
    *(Criterion("metrics", column) for column in TRAINING),
    *(Criterion("eval", column) for column in ("return_mean", "success")),
    *(Criterion("metrics", column) for column in HEALTH),
)
MADE_BY = "gipo plot"


def plot(paths: Sequence[str], *, out: Path, metric: str | None, console: Console, **options: Any) -> None:
    """Read runs, also unfinished ones, draw their curves in the terminal and write them as a picture.

    ``paths`` and ``options`` are those of `search` and `gather`. ``metric`` comes first, by default the
    training return; success follows. Each environment has a picture, named after it if there are several.

    Raises:
        UserError: no run is left, or ``out`` cannot be written; nothing was.
    """
    found = search(paths)
    if out.suffix.lower() != ".png":
        raise UserError(f"{out} is no .png file; end the name with .png.")
    comparison = gather(found, metric=metric or TRAINING[0], include_unfinished=True, **options)
    look = variant_looks((arm.objective, arm) for arm in comparison.arms)
    pictures = {}
    for environment in comparison.environments:
        target = out.with_name(f"{out.stem}{environment.ending}{out.suffix}")
        _check(target)
        panels = _panels(comparison, environment)
        first = [panel for panel in panels if panel is panels[0] or panel.criterion.column == TRAINING[1]]
        console.print(Text(environment.label, "bold"))
        for panel in first:
            console.print(chart(panel, look, console.width, plain=console.options.ascii_only))
        pictures[target] = _png(environment, panels, look)
    for target, content in pictures.items():
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = target.with_name(f".{target.name}.tmp")
            aside.write_bytes(content)
            aside.replace(target)
        console.print(f"written to {target}", markup=False, highlight=False, soft_wrap=True)
    print_left_out(comparison, console)


def _check(target: Path) -> None:
    """Refuse a link, and a file that this command did not write."""
    check_out(target)
    with writing(target):
        if target.exists() and MADE_BY.encode() not in target.read_bytes()[:1000]:
            raise UserError(
                f"{target} exists and is no earlier plot, so it is left alone; name another with --out."
            )


def _panels(comparison: Comparison, environment: Environment) -> list[ColumnPanel]:
    cells = comparison.of(environment)
    criteria = dict.fromkeys([comparison.metric, *SHOWN])
    found = (column_panel(Panel("", cells), criterion, cells) for criterion in criteria)
    return [panel for panel in found if panel.cells]


def _png(environment: Environment, panels: Sequence[ColumnPanel], look: Mapping[Arm, Look]) -> bytes:
    cells = panels[0].cells
    labels = canvas.seed_labels((cell.arm.label, cell) for cell in cells)
    single = any(len(panel.grid) == 1 for panel in panels)
    legend = {labels[cell.arm.label]: canvas.handle(look[cell.arm], markers=single) for cell in cells}
    content = io.BytesIO()
    with mpl.rc_context({**RC, "text.parse_math": False}):
        several = any(len(cell.runs) > 1 for cell in cells)
        figure: Figure = canvas.draw_panels(
            environment.label,
            panels,
            lambda axes, panel: panel.draw(axes, look),
            legend,
            height=2.5,
            remark="shaded: from the lowest to the highest seed" if several else "",
        )
        figure.savefig(content, format="png", dpi=160, metadata={"Software": MADE_BY})
    return content.getvalue()
