"""What all figures share: size, panels, heading, legend and axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from gipo_cli.compare.aggregate import Interval
from gipo_cli.compare.comparison import Cell, Comparison, Environment
from gipo_cli.compare.notes import seeds_note
from gipo_cli.compare.style import Look
from gipo_cli.compare.words import count_words, value_words

WIDTH, COLUMNS, PANEL_HEIGHT = 6.4, 2, 3.0
HEADER_LINE, LEGEND_LINE, LETTERS_PER_LINE = 0.3, 0.25, 58
ROW_HEIGHT, X_MARGIN = 0.36, 0.9
PLAIN = (1e-3, 1e5)
"""Numbers that an axis writes out."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SHARE = (-0.03, 1.03)
"""Limits of an axis for values from 0 to 1."""


class Sheet(NamedTuple):
    """A figure of some kind, and what tells it from others of its kind: words, file name's end, remark."""

    figure: Figure
    place: str = ""
    ending: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Panel:
    """Groups that are drawn together."""

    title: str
    cells: Sequence[Cell]

    @property
    def scale(self) -> str:
        """Panels with the same word here have the same y axis; none is shared without one."""
        return ""


@dataclass(frozen=True)
class MetricPanel(Panel):
    """Groups of one environment, whose values are compared between panels."""

    @property
    def scale(self) -> str:
        """All have one scale."""
        return "metric"


P = TypeVar("P", bound=Panel)


def cells_of(panels: Iterable[Panel]) -> list[Cell]:
    """The cells of some panels."""
    return [cell for panel in panels for cell in panel.cells]


def by_buffer(comparison: Comparison, environment: Environment) -> list[Panel]:
    """One environment's cells by buffer size or scheduled lag: each line of a panel is another series."""
    cells = comparison.of(environment)
    places = sorted({_place(cell) for cell in cells}, key=lambda place: [(x is None, x or 0) for x in place])
    if len(places) == 1:
        return [MetricPanel("", cells)]
    by_place = {place: [cell for cell in cells if _place(cell) == place] for place in places}
    return [MetricPanel(_place_words(*place, own), own) for place, own in by_place.items()]


def _place(cell: Cell) -> tuple[int | None, int | None]:
    return cell.buffer, cell.arm.lag


def _place_words(size: int | None, lag: int | None, cells: Sequence[Cell]) -> str:
    """Arms that mix several, by a grouping of the user's, have no size, nor have imports that do not say."""
    if lag is not None:
        return f"lag {lag}"
    if size is not None:
        return f"buffer {value_words(size)}"
    several = any(run.buffer is not None for cell in cells for run in cell.runs)
    return "several buffers" if several else "buffer not stated"


def draw_panels(
    heading: str,
    panels: Sequence[P],
    draw: Callable[[Axes, P], None],
    legend: Mapping[str, Line2D] | None = None,
    *,
    ylabel: str = "",
    height: float = PANEL_HEIGHT,
    remark: str | None = None,
) -> Figure:
    """A figure sized so that everything fits; ``draw`` is called for every panel.

    A ``remark`` follows the heading, by default a warning if some of the cells have few seeds. ``legend`` has
    handles by label, ``height`` is that of a panel in inches. Panels of one ``scale`` share their y axis.
    """
    if remark is None:
        remark = seeds_note(min(len(cell.runs) for cell in cells_of(panels)))
    heading = f"{heading}\n{remark}" if remark else heading
    columns, legend = min(COLUMNS, len(panels)), legend or {}
    rows = -(-len(panels) // columns)
    longest = max((len(label) for label in legend), default=0)
    per_line = max(1, min(len(legend), LETTERS_PER_LINE // (longest + 7)))
    extra = HEADER_LINE * (heading.count("\n") + 1) + LEGEND_LINE * -(-len(legend) // per_line)
    figure = Figure(figsize=(WIDTH, rows * height + extra), layout="constrained")
    if (engine := figure.get_layout_engine()) is not None:
        engine.set(w_pad=0.08)  # type: ignore[call-arg]
    figure.suptitle(heading, x=0.012, ha="left", fontsize=11.5)
    if legend:
        figure.legend(
            list(legend.values()),
            list(legend),
            loc="outside lower center",
            ncols=per_line,
            handlelength=2.8,
            columnspacing=1.4,
            borderaxespad=0.2,
        )
    first: dict[str, Axes] = {}
    for index, panel in enumerate(panels):
        shared = first.get(panel.scale) if panel.scale else None
        axes = figure.add_subplot(rows, columns, index + 1, sharey=shared)
        first.setdefault(panel.scale, axes)
        axes.set_ylabel(ylabel if index % columns == 0 else "")
        draw(axes, panel)
    for axes, panel in zip(figure.axes, panels, strict=True):
        # Only a power of ten stands above an axis, and looking for one takes a tenth of the time.
        plain = PLAIN[0] < np.abs(axes.get_ylim()).max() < PLAIN[1]
        axes.set_title(panel.title, y=1.0 if plain else None)
    return figure


def draw_rows(
    heading: str, cells: Sequence[Cell], labels: Sequence[str], draw: Callable[[Axes], None]
) -> Figure:
    """A figure with one panel in which each group has a labelled line, the first on top."""

    def panel(axes: Axes, _: Panel) -> None:
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        draw(axes)

    return draw_panels(heading, [Panel("", cells)], panel, height=X_MARGIN + ROW_HEIGHT * len(labels))


def series_legend(
    cells: Iterable[Cell], look: Mapping[str, Look], *, markers: bool = True
) -> dict[str, Line2D]:
    """Legend of the series in some cells: handles by label, with the number of seeds."""
    labels = seed_labels((cell.arm.series, cell) for cell in cells)
    return {label: handle(look[series], markers=markers) for series, label in labels.items()}


def seed_labels(cells: Iterable[tuple[str, Cell]]) -> dict[str, str]:
    """Labels by name, with the number of seeds in the cells of that name, or its range."""
    counts: dict[str, set[int]] = {}
    for name, cell in cells:
        counts.setdefault(name, set()).add(len(cell.runs))
    spans = {name: sorted({min(sizes), max(sizes)}) for name, sizes in counts.items()}
    return {name: f"{name} (n={' to '.join(map(str, span))})" for name, span in spans.items()}


def handle(look: Look, *, markers: bool) -> Line2D:
    """Legend handle of one series."""
    return Line2D([], [], **(look.line if markers else look.curve))


def drawn(look: Look, points: int) -> dict[str, Any]:
    """Keyword arguments for a line through so many points: a single one is a marker, to be seen at all."""
    return look.curve if points > 1 else look.line


def count_axis(axes: Axes, label: str) -> None:
    """A linear x axis that counts steps: 0, 20k, 40k; from 0 if there is one step only."""
    axes.set_xlabel(label)
    places = {float(x) for line in axes.lines for x in np.asarray(line.get_xdata())}
    if len(places) == 1:
        axes.set_xlim(0, 1.1 * places.pop() or 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count_words(value)))
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _power(value: float) -> str:
    """Without mathematical markup, which a label with a ``$`` would be taken for."""
    return "10" + str(round(np.log10(value))).translate(SUPERSCRIPTS)


def log_axis(axes: Axes, along: str, low: float, high: float) -> None:
    """A logarithmic axis (``x`` or ``y``) with at most four plain numbers, also within one decade.

    Values that are all about the same stand together at one number, not at either end of the axis.
    """
    axes.set(**{f"{along}scale": "log"})
    if alike := high < 1.1 * low:
        axes.set(**{f"{along}lim": (low / 1.5, high * 1.5)})
    axis: Axis = getattr(axes, f"{along}axis")
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    few = len(decades) > 3
    marks = [digit * 10.0**power for power in decades for digit in ((1,) if few else (1, 2, 5))]
    inside = [mark for mark in marks if low / 1.15 <= mark <= high * 1.15]
    if alike or not inside:
        inside = [low] if alike else [low, high]
    axis.set_major_locator(FixedLocator(inside[:: -(-len(inside) // 4)]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _power(value) if few else f"{value:.3g}"))
    axis.set_minor_locator(NullLocator())


def metric_axis(axes: Axes, comparison: Comparison) -> None:
    """A y axis for the metric; a rate runs from 0 to 1."""
    if comparison.metric.is_rate:
        axes.set_ylim(SHARE)


def blank(axes: Axes, text: str) -> None:
    """A panel without data, which says so."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
    axes.set(xticks=[], yticks=[])


def error_bar(axes: Axes, x: float, y: float, found: Interval, look: Look, *, along: str) -> None:
    """A marker with its interval along one axis; no bar without an interval."""
    below, above = found.value - found.low, found.high - found.value
    bars: dict[str, Any] = {} if np.isnan(below) else {f"{along}err": [[max(below, 0)], [max(above, 0)]]}
    marker: dict[str, Any] = {"color": look.color, "marker": look.marker, "fillstyle": look.fill}
    axes.errorbar(x, y, **bars, **marker, capsize=3, zorder=3)
