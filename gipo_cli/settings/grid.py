"""A sweep's axes, in Hydra's own sweep grammar, expanded into single runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.errors import UserError, suggest
from gipo_cli.settings.compose import compose
from gipo_cli.settings.explain import kinds
from gipo_cli.settings.overrides import parse_overrides

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_KNOB = "objective."
_SELECTS = ("objective", "preset", "imports")


@dataclass(frozen=True)
class Axis:
    """One override and the lines it stands for; a single line unless it sweeps."""

    key: str
    lines: list[str]

    @property
    def knob(self) -> str | None:
        """The objective's parameter that it sets, if it sets one."""
        return self.key.removeprefix(_KNOB) if self.key.startswith(_KNOB) else None

    @property
    def selects(self) -> bool:
        """Whether it may decide which objective is trained."""
        return self.key in _SELECTS or self.lines[0].startswith("+")


def expand(overrides: Sequence[str], *, config_dirs: Sequence[Path] = ()) -> list[list[str]]:
    """The overrides of every run of a grid.

    ``a=1,2``, ``a=choice(1,2)`` and ``a=range(1,6)`` are axes; everything else is the same in all runs. The
    first axis varies slowest. An ``objective.<knob>`` belongs to the objectives that have the knob; the
    others run once without it.

    Raises:
        UserError: an axis that is empty, repeats a value or cannot be enumerated, a key given twice, or a
            knob that none of the grid's objectives has.
    """
    axes = [read_axis(override) for override in parse_overrides(overrides)]
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"{key} is given more than once; put all its values into one axis, {key}=a,b")
    conditional = any(axis.knob for axis in axes)
    knobs: dict[tuple[str, ...], list[str]] = {}
    runs: dict[tuple[str, ...], None] = {}
    for lines in product(*(axis.lines for axis in axes)):
        pairs = list(zip(axes, lines, strict=True))
        choice = tuple(line for axis, line in pairs if axis.selects)
        if conditional and choice not in knobs:
            knobs[choice] = _knobs(choice, config_dirs)
        kept = tuple(line for axis, line in pairs if axis.knob is None or axis.knob in knobs[choice])
        runs[kept] = None
    known = sorted({knob for names in knobs.values() for knob in names})
    for axis in axes:
        if axis.knob and axis.knob not in known:
            raise UserError(
                f"no objective of this grid has a parameter {axis.knob!r}{suggest(axis.knob, known)}; "
                f"they have: {', '.join(known) or 'none'}"
            )
    return [list(lines) for lines in runs]


def read_axis(override: Override) -> Axis:
    """The lines that one override stands for.

    Raises:
        UserError: It is an axis that is empty, repeats a value or cannot be enumerated.
    """
    from hydra.errors import HydraException

    line, typed = str(override.input_line), override.get_key_element()
    key = str(override.key_or_group)
    usage = f"write {typed}=a,b or {typed}='range(1,6)'"
    if not override.is_sweep_override():
        if not override.is_delete() and override.value() == "":
            raise UserError(f"the axis {line!r} has no values; {usage}")
        if span := re.fullmatch(r"(\d+)(?:-|:|\.\.)(\d+)", line.partition("=")[2]):
            first, last = map(int, span.groups())
            if "integer" in kinds(key):
                raise UserError(
                    f"{line!r} is no range; for a range write {typed}='range({first},{last + 1})'"
                )
        return Axis(key, [line])
    if not override.is_discrete_sweep() or getattr(override.value(), "shuffle", False):
        raise UserError(f"the axis {line!r} has no fixed list of values; {usage}")
    try:
        values = list(override.sweep_string_iterator())
    except (ValueError, HydraException) as error:
        raise UserError(f"the axis {line!r} cannot be expanded ({error}); {usage}") from error
    if not values:
        raise UserError(f"the axis {line!r} has no values, for range(a,b) stops before b; {usage}")
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"the axis {line!r} names {value} more than once; each run is done once")
    return Axis(key, [f"{typed}={value}" for value in values])


def _knobs(choice: Sequence[str], config_dirs: Sequence[Path]) -> list[str]:
    """Parameters of the objective that these overrides select."""
    config = compose(choice, config_dirs=config_dirs).config
    return [name for name in OBJECTIVES[config.objective.name].model_fields if name != "name"]
