"""What is searched over: settings typed with a range or with choices instead of a value."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.errors import UserError
from gipo_cli.settings.explain import kinds
from gipo_cli.settings.files import with_files
from gipo_cli.settings.grid import read_axis
from gipo_cli.settings.overrides import parse_overrides

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = str | int | float
DIGITS = 4
"""Significant digits of a number that is drawn: what is tried is what can be typed."""
_CALL = re.compile(r"([\w.+/-]+)=([a-z_]+)\((.*)\)", re.DOTALL)
_AVERAGED = ("seed", "env", "env.task", "env.id")


@dataclass(frozen=True)
class Dimension:
    """A setting that is searched: ``choices`` as they are typed, else numbers from ``low`` to ``high``."""

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    @property
    def knob(self) -> str:
        """The objective's parameter that it is; empty for another setting."""
        return self.key.removeprefix("objective.") if self.key.startswith("objective.") else ""

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.choices) or (self.high - self.low + 1 if self.whole else math.inf)

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that are all allowed if every value is."""
        return self.choices or ((int(self.low), int(self.high)) if self.whole else (self.low, self.high))

    @property
    def values(self) -> Sequence[Value]:
        """All values of a dimension of finite size."""
        return self.choices or range(int(self.low), int(self.high) + 1)

    @property
    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def rounded(self, value: Value) -> Value:
        """A value that was drawn, with as many digits as are tried."""
        if isinstance(value, float):
            return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)
        return value


def split(words: Sequence[str]) -> tuple[list[str], list[Dimension]]:
    """The fixed settings among these words, of files too, and what is searched.

    Raises:
        UserError: A range cannot be read, is empty, or is of what no search is over.
    """
    fixed, space = [], []
    for word in words:
        call = _CALL.fullmatch(word)
        if call and call[2] != "range":
            space.append(_dimension(word, *call.groups()))
        else:
            fixed.append(word)
    keys = [dimension.key for dimension in space]
    typed = keys + [_key(word) for word in fixed if "=" in word]
    if twice := [key for key in typed if typed.count(key) > 1]:
        raise UserError(f"{twice[0]} is given more than once; type it once")
    # What is typed outweighs a file.
    return [line for line in with_files(fixed) if _key(line) not in keys], space


def _key(line: str) -> str:
    return str(parse_overrides([line])[0].key_or_group)


def own_knob(objective: str) -> Dimension:
    """The grid of an objective's own knob, for a search for which nothing else was typed.

    Raises:
        UserError: It has no knob, or a single value.
    """
    kind = OBJECTIVES[objective]
    if not kind.knob or len(kind.grid) < 2:
        raise UserError(
            f"{objective} has no grid of its own to search; type a setting with its range, such as "
            "agent.update.actor_lr='log(1e-5,1e-3)'"
        )
    return Dimension(f"objective.{kind.knob}", tuple(map(str, kind.grid)))


def _dimension(line: str, key: str, name: str, inside: str) -> Dimension:
    if key in _AVERAGED:
        raise UserError(f"a trial's score is the mean over {key}; type its values as {key}=a,b")
    if key in ("objective", "total_steps"):
        more = "each objective is searched apart: type objective=a,b" if key == "objective" else "type one"
        raise UserError(f"{key} cannot be searched over; {more}")
    if name == "choice":
        (override,) = parse_overrides([line])
        values = tuple(own.partition("=")[2] for own in read_axis(override).lines)
        if len(values) < 2:
            raise UserError(f"{line!r} leaves nothing to choose; type {key}={inside}")
        return Dimension(key, values)
    usage = f"write {key}='log(a,b)', {key}='uniform(a,b)' or {key}='choice(a,b,...)'"
    if name not in ("log", "uniform"):
        raise UserError(f"there is no search over {name}(...); {usage}")
    try:
        low, high = map(float, inside.split(","))
    except ValueError:
        raise UserError(f"{line!r} needs two numbers; {usage}") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{line!r} is no range; its first number must be less than its second")
    if name == "log" and low <= 0:
        raise UserError(f"{line!r} must begin above 0; write {key}='uniform({inside})' for equal steps")
    allowed = kinds(key)
    whole = "integer" in allowed
    if allowed and not allowed & {"integer", "number"}:
        raise UserError(f"{key} is no number; write {key}='choice(a,b,...)'")
    if whole and not (low.is_integer() and high.is_integer()):
        raise UserError(f"{line!r} must hold whole numbers, as {key} does")
    return Dimension(key, low=low, high=high, log=name == "log", whole=whole)
