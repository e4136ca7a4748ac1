"""What all figures share: size, panels, header and legend."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from gipo_cli.compare.aggregate import Estimate
from gipo_cli.compare.comparison import Cell, Comparison, Environment
from gipo_cli.compare.notes import seeds_note
from gipo_cli.compare.style import Look
from gipo_cli.compare.words import count_words, value_words

WIDTH = 6.4
PANEL_HEIGHT = 3.0
HEADER_HEIGHT, LEGEND_LINE = 0.6, 0.25
LETTERS_PER_LINE = 58
ROW_HEIGHT, X_MARGIN = 0.36, 0.9


@dataclass(frozen=True)
class Picture:
    """A finished figure with its file name (no ending) and the caption that says what is drawn."""

    name: str
    title: str
    caption: str
    figure: Figure = field(repr=False)


@dataclass(frozen=True)
class Facet:
    """The cells of one panel."""

    title: str
    cells: tuple[Cell, ...]


def facets(comparison: Comparison, environment: Environment) -> list[Facet]:
    """One environment's cells by buffer size, so that each line of a panel is another series."""
    cells = comparison.of(environment)
    sizes = sorted({cell.buffer for cell in cells}, key=lambda size: (size is None, size or 0))
    if len(sizes) == 1:
        return [Facet("", tuple(cells))]
    by_size = {size: tuple(cell for cell in cells if cell.buffer == size) for size in sizes}
    return [Facet(_buffer_words(size, own), own) for size, own in by_size.items()]


def _buffer_words(size: int | None, cells: Sequence[Cell]) -> str:
    """Of no size are arms that mix several, by a grouping of the user's, and imports that do not say."""
    if size is not None:
        return f"buffer {value_words(size)}"
    several = any(run.buffer is not None for cell in cells for run in cell.runs)
    return "several buffers" if several else "buffer not stated"


def panels(
    count: int, *, header: str, legend: Sequence[str] = (), columns: int = 2, height: float = PANEL_HEIGHT
) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels, sized so that header and legend fit.

    Args:
        count: number of panels.
        header: line above the panels; more lines after line breaks.
        legend: labels that `add_legend` will get.
        columns: panels side by side, where there are so many.
        height: of one panel in inches.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    lines = -(-len(legend) // _legend_columns(legend)) if legend else 0
    extra = HEADER_HEIGHT * 0.5 * (header.count("\n") + 1) + LEGEND_LINE * lines
    figure = Figure(figsize=(WIDTH, rows * height + extra), layout="constrained")
    if (engine := figure.get_layout_engine()) is not None:
        engine.set(w_pad=0.08)  # type: ignore[call-arg]
    axes = [figure.add_subplot(rows, columns, index + 1) for index in range(count)]
    figure.suptitle(header, x=0.012, ha="left", fontsize=11.5)
    return figure, axes


def row_panel(rows: int, *, header: str) -> tuple[Figure, Axes]:
    """A figure with one panel that is as high as its labelled rows need."""
    figure, (axes,) = panels(1, header=header, height=X_MARGIN + ROW_HEIGHT * rows)
    return figure, axes


def header(text: str, cells: Sequence[Cell]) -> str:
    """The figure's first line, and under it the warning if there are few seeds."""
    warning = seeds_note(min(len(cell.runs) for cell in cells))
    return f"{text}\n{warning}" if warning else text


def _legend_columns(labels: Sequence[str]) -> int:
    longest = max(len(label) for label in labels)
    return max(1, min(len(labels), LETTERS_PER_LINE // (longest + 7)))


def add_legend(figure: Figure, handles: dict[str, Line2D]) -> None:
    """A legend below all panels."""
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=_legend_columns(list(handles)),
        handlelength=2.8,
        columnspacing=1.4,
        borderaxespad=0.2,
    )


def series_labels(cells: Sequence[Cell], *, whole: bool = False) -> dict[str, str]:
    """Legend label by series (or by arm), with the number of seeds or its range."""
    counts: dict[str, set[int]] = {}
    for cell in cells:
        counts.setdefault(cell.arm.label if whole else cell.arm.series, set()).add(len(cell.runs))
    return {name: f"{name} (n={span(sizes)})" for name, sizes in counts.items()}


def span(sizes: set[int]) -> str:
    """``3`` or ``3 to 5``."""
    return str(min(sizes)) if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"


def drawn(look: Look, points: int) -> dict[str, Any]:
    """Keyword arguments for a line through so many points: a single one is a marker, to be seen at all."""
    return look.curve if points > 1 else look.line


def key(look: Look, *, markers: bool) -> Line2D:
    """Legend handle of one series."""
    return Line2D([], [], **(look.line if markers else look.curve))


def count_axis(axes: Axes, label: str) -> None:
    """A linear x axis that counts steps: 0, 20k, 40k; from 0 where there is one step only."""
    axes.set_xlabel(label)
    places = {float(x) for line in axes.lines for x in np.asarray(line.get_xdata())}
    if len(places) == 1:
        axes.set_xlim(0, 1.1 * places.pop() or 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count_words(value)))
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _power(value: float) -> str:
    return f"$10^{{{round(np.log10(value))}}}$"


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


def blank(axes: Axes, text: str) -> None:
    """A panel without data, which says so."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
    axes.set(xticks=[], yticks=[])


def rate_axis(axes: Axes, comparison: Comparison) -> None:
    """A y axis for the metric; a rate runs from 0 to 1."""
    if comparison.metric.is_rate:
        axes.set_ylim(-0.03, 1.03)


def left_labels(axes: Sequence[Axes], label: str, columns: int = 2) -> None:
    """The y label on the left panels only."""
    for index, panel in enumerate(axes):
        if index % min(columns, len(axes)) == 0:
            panel.set_ylabel(label)


def slug(text: str) -> str:
    """A file name made of a label."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unnamed"


def environments(comparison: Comparison) -> Iterator[tuple[Environment, str]]:
    """Each environment with a distinct ending for its figures' file names, empty if there is only one."""
    taken: set[str] = set()
    for environment in comparison.environments:
        ending = slug(environment.label)
        while ending in taken:
            ending += "_"
        taken.add(ending)
        yield environment, f"_{ending}" if len(comparison.environments) > 1 else ""


def row_labels(axes: Axes, labels: Sequence[str]) -> None:
    """One labelled line per group, the first on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def interval(axes: Axes, x: float, y: float, estimate: Estimate, look: Look, *, along: str) -> None:
    """A marker with an error bar along one axis; no bar without an interval."""
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    bars: dict[str, Any] = {} if np.isnan(below) else {f"{along}err": [[max(below, 0)], [max(above, 0)]]}
    marker: dict[str, Any] = {"color": look.color, "marker": look.marker, "fillstyle": look.fill}
    axes.errorbar(x, y, **bars, **marker, capsize=3, zorder=3)
