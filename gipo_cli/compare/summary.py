"""The table: one row per environment and arm, and one per arm over all environments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from gipo_cli.compare import aggregate
from gipo_cli.compare.aggregate import Interval
from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.grouping import Arm
from gipo_cli.compare.tables import FloatArray
from gipo_cli.compare.words import count_words, duration_words, number_words

ALL = "all environments (normalised)"
NO_DIFFERENCE = 0.5
HEADINGS = (
    "group", "n", "IQM", "mean", "median", "P(better)", "IQM difference", "interval", "gap", "area",
    "reached", "steps", "efficiency", "wall time",
)  # fmt: skip
NUMERIC = frozenset(HEADINGS) - {"group", "interval"}
NARROW = ("group", "n", "IQM", "P(better)", "steps")
MIDDLE = ("group", "n", "IQM", "mean", "P(better)", "reached", "steps", "wall time")
NOTHING, GAP = "-", 2


@dataclass(frozen=True)
class Row:
    """One line of the table; over all environments (`ALL`) its values are the normalised ones."""

    environment: str
    arm: Arm
    buffer: int | None  # transitions held; None if they differ
    n: int  # runs
    fewest: int  # runs of this group or its baseline in the environment with fewest
    iqm: Interval  # interquartile mean of the final values
    mean: float
    median: float
    optimality_gap: float | None  # mean shortfall of the normalised final values from 1; None without a scale
    rival: str  # series of the baseline; empty for the baseline itself and without one
    improvement: Interval | None  # probability that a run beats one of the baseline; None for single runs
    difference: Interval | None  # IQM minus the baseline's
    paired: bool  # whether seeds were resampled in pairs with the baseline's
    area: float  # mean over runs of the learning curve's mean height
    threshold: float | None  # value counted as learned; None over all environments and without a scale
    reached: int | None  # runs that reached it
    steps: float | None  # median steps to it, a run that never does counting as infinite
    efficiency: float | None  # the baseline's steps over this row's; None if either is infinite
    wall: float  # median seconds of training; summed over environments

    @property
    def verdict(self) -> str:
        """Where the interval of `improvement` lies, in words."""
        if self.improvement is None:
            return "one seed" if self.rival else ""
        if self.improvement.includes(NO_DIFFERENCE):
            return "includes no difference"
        return "above no difference" if self.improvement.low > NO_DIFFERENCE else "below no difference"

    def flat(self) -> dict[str, object]:
        """Plain values by column name, for CSV and JSON; None for no number."""
        record: dict[str, object] = {}
        for name in (item.name for item in fields(self)):
            value = getattr(self, name)
            if name == "arm":
                record |= {"group": value.label, "objective": value.objective}
            elif name in ("iqm", "improvement", "difference"):
                own = value or Interval(float("nan"))
                record |= {name: own.value, f"{name}_low": own.low, f"{name}_high": own.high}
            elif name not in ("rival", "fewest"):
                record[name] = value
        finite = {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in record.items()
        }
        return finite | {"versus_baseline": self.verdict}

    def texts(self) -> list[str]:
        """The row as it is printed, in the order of `HEADINGS`."""
        steps = NOTHING if self.steps is None else count_words(self.steps)
        return [
            self.arm.label,
            str(self.n),
            interval_words(self.iqm),
            number_words(self.mean),
            number_words(self.median),
            interval_words(self.improvement),
            interval_words(self.difference) + (" (paired)" if self.paired else ""),
            self.verdict or NOTHING,
            NOTHING if self.optimality_gap is None else f"{self.optimality_gap:.3g}",
            number_words(self.area),
            NOTHING if self.reached is None else f"{self.reached}/{self.n}",
            "never" if self.steps == float("inf") else steps,
            NOTHING if self.efficiency is None else f"{self.efficiency:.3g}",
            duration_words(self.wall),
        ]


def interval_words(found: Interval | None) -> str:
    """``0.82 [0.61, 0.95]``; only the number if there is no interval."""
    if found is None:
        return NOTHING
    bounds = f" [{number_words(found.low)}, {number_words(found.high)}]" if found.low == found.low else ""
    return number_words(found.value) + bounds


def summarise(comparison: Comparison) -> list[Row]:
    """Rows by environment, then over all environments with a scale if there are several."""
    rows = [
        _row(environment.label, [cell], baseline_cells(comparison, [cell]), normalised=False)
        for environment in comparison.environments
        for cell in comparison.of(environment)
    ]
    if len(comparison.scaled) > 1:
        for cells in comparison.complete_arms.values():
            rows.append(_row(ALL, cells, baseline_cells(comparison, cells), normalised=True))
    return rows


def by_environment(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by environment, in order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.environment, []).append(row)
    return found


def baseline_cells(comparison: Comparison, cells: Sequence[Cell]) -> list[Cell]:
    """The baseline's cells in an arm's environments; empty if it lacks one, or is the arm itself."""
    baseline = comparison.baselines.get(cells[0].arm)
    if baseline is None or baseline == cells[0].arm:
        return []
    found = [comparison.cells.get((cell.environment.label, baseline)) for cell in cells]
    return [cell for cell in found if cell is not None] if None not in found else []


def normalised_finals(cells: Sequence[Cell]) -> list[FloatArray]:
    """Final values on each environment's scale from 0 to 1, one array ``[R]`` per environment."""
    return [cell.environment.normalise(cell.finals) for cell in cells]


def single_run(cells: Iterable[Cell]) -> bool:
    """Whether some cell has a single run, of which no share of runs can be told."""
    return any(len(cell.runs) < 2 for cell in cells)


def improvement(ours: Sequence[Cell], theirs: Sequence[Cell]) -> Interval | None:
    """Probability that a run of ours ends higher than one of theirs; None if that is one run or none."""
    if not theirs or single_run([*ours, *theirs]):
        return None
    return aggregate.probability_of_improvement(
        [cell.finals for cell in ours], [cell.finals for cell in theirs], paired=_same_seeds(ours, theirs)
    )


def _same_seeds(ours: Sequence[Cell], theirs: Sequence[Cell]) -> list[bool]:
    """Per environment, whether both arms ran the same seeds, once each."""
    return [
        own.seeds == other.seeds and len(set(own.seeds)) == len(own.seeds)
        for own, other in zip(ours, theirs, strict=True)
    ]


def _row(label: str, cells: Sequence[Cell], against: Sequence[Cell], *, normalised: bool) -> Row:
    scaled = normalised_finals(cells) if all(cell.environment.scaled for cell in cells) else []
    finals = scaled if normalised else [cell.finals for cell in cells]
    theirs = normalised_finals(against) if normalised else [cell.finals for cell in against]
    areas = [cell.environment.normalise(cell.areas) if normalised else cell.areas for cell in cells]
    pooled = np.concatenate(finals)
    paired = _same_seeds(cells, against) if against else []
    threshold = None if normalised else cells[0].environment.threshold
    known = all(cell.environment.threshold is not None for cell in cells)
    steps = None if threshold is None else float(np.median(cells[0].reached))
    return Row(
        environment=label,
        arm=cells[0].arm,
        buffer=cells[0].buffer if len({cell.buffer for cell in cells}) == 1 else None,
        n=len(pooled),
        fewest=min(len(cell.runs) for cell in [*cells, *against]),
        iqm=aggregate.estimate(finals) if normalised else cells[0].iqm,
        mean=float(aggregate.mean(pooled)),
        median=float(np.median(pooled)),
        optimality_gap=float(aggregate.optimality_gap(np.concatenate(scaled))) if scaled else None,
        rival=against[0].arm.series if against else "",
        improvement=improvement(cells, against),
        difference=aggregate.iqm_difference(finals, theirs, paired=paired) if against else None,
        paired=bool(paired) and all(paired),
        area=float(np.mean(np.concatenate(areas))),
        threshold=threshold,
        reached=sum(int(np.isfinite(cell.reached).sum()) for cell in cells) if known else None,
        steps=steps,
        efficiency=_efficiency(steps, against),
        wall=sum(cell.wall for cell in cells),
    )


def _efficiency(steps: float | None, against: Sequence[Cell]) -> float | None:
    if steps is None or not against:
        return None
    theirs = float(np.median(against[0].reached))
    return theirs / steps if np.isfinite(theirs) and np.isfinite(steps) and steps > 0 else None


def terminal_table(title: str, rows: Sequence[Row], width: int) -> Table:
    """One environment's rows; a narrow terminal gets fewer columns, never cut numbers."""
    shown = NARROW if width < 100 else MIDDLE
    texts = [dict(zip(HEADINGS, row.texts(), strict=True)) for row in rows]
    columns = {name: [row[name] for row in texts] for name in shown}
    headings = _headings(rows, columns, width)
    numeric = [name in NUMERIC for name in shown]
    return plain_table(
        title, [headings[name] for name in shown], zip(*columns.values(), strict=True), numeric
    )


def plain_table(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[bool] = ()
) -> Table:
    """Texts in columns; all but the first are numbers unless ``numeric`` says which."""
    table = Table(title=Text(title, "bold"), title_justify="left", box=None, pad_edge=False)
    table.padding = (0, GAP, 0, 0)
    for index, name in enumerate(headings):
        right = numeric[index] if numeric else index > 0
        table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _headings(rows: Sequence[Row], columns: dict[str, list[str]], width: int) -> dict[str, str]:
    """Heading of every column; the baseline and the threshold are named if there is room for them."""
    rivals = {row.rival for row in rows if row.rival}
    fuller = [("P(better)", f"P(> {rival})") for rival in rivals if len(rivals) == 1]
    fuller += [
        ("steps", f"steps to {number_words(threshold)}")
        for threshold in {row.threshold for row in rows if row.threshold is not None}
    ]
    headings = {name: name for name in columns}
    for name, heading in fuller:
        named = headings | {name: heading}
        needed = sum(max(map(cell_len, [named[own], *texts])) for own, texts in columns.items())
        if needed + GAP * (len(columns) - 1) <= width:
            headings = named
    return headings
