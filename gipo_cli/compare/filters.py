"""Keys and filters as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from gipo_cli.compare.load import RunTable, Value
from gipo_cli.errors import UserError, suggest
from gipo_cli.settings.explain import is_number

SHORT_KEYS = {"objective": "objective.name", "buffer": "buffer.size", "env": "env.name", "task": "env.task"}


def resolve_key(text: str, runs: Sequence[RunTable]) -> str:
    """Find the full configuration key that ``text`` stands for.

    Raises:
        UserError: none or several keys fit; the message names the nearest.
    """
    known = sorted({key for run in runs for key in run.config})
    for candidate in (text, SHORT_KEYS.get(text, text), f"{text}.name"):
        if candidate in known:
            return candidate
    fits = [key for key in known if key.endswith(f".{text}")]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UserError(f"The key {text!r} is ambiguous; write one of {', '.join(fits)}.")
    hint = suggest(text, known) or "; a run's config.yaml holds its settings"
    raise UserError(f"No run has the setting {text!r}{hint}.")


def filter_runs(runs: Sequence[RunTable], filters: Iterable[str]) -> list[RunTable]:
    """Keep the runs that pass every ``key=value[,value]`` or ``key!=value[,value]``.

    A list is one value, as in ``agent.policy.hidden=[64,64]``.

    Raises:
        UserError: no ``=``, an unknown key, or a filter that no run passes.
    """
    kept = list(runs)
    for text in filters:
        key, passes = _condition(text, runs)
        passing = [run for run in kept if passes(run.config.get(key))]
        if not passing:
            there = ", ".join(sorted({_typed(run.config.get(key)) for run in kept}))
            raise UserError(f"No run passes the filter {text!r}; {key} is one of: {there}.")
        kept = passing
    return kept


def predicate(filters: Iterable[str], runs: Sequence[RunTable]) -> Callable[[Mapping[str, Value]], bool]:
    """The filters of `filter_runs` as one test of a configuration; their keys are read as for ``runs``."""
    conditions = [_condition(text, runs) for text in filters]
    return lambda config: all(passes(config.get(key)) for key, passes in conditions)


def _condition(text: str, runs: Sequence[RunTable]) -> tuple[str, Callable[[Value], bool]]:
    """The key of a filter, and which of its values pass."""
    name, equals, wanted = text.partition("=")
    if not equals or not name.rstrip("!"):
        raise UserError(
            f"The filter {text!r} is no key=value; write for example objective=gipo or buffer.size!=512."
        )
    test = _reads_as(wanted)
    return resolve_key(name.rstrip("!"), runs), lambda value: test(value) is not name.endswith("!")


def _typed(value: Value) -> str:
    """A value as one types it in a filter."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _reads_as(text: str) -> Callable[[Value], bool]:
    """Whether a value is one of the texts typed: as a number if both are, else letter by letter."""
    wanted = text.split(",")

    def test(value: Value) -> bool:
        if isinstance(value, tuple):
            return "".join(text.split()) == _typed(value)
        if value is None or isinstance(value, bool):
            return json.dumps(value) in wanted
        if not isinstance(value, int | float):
            return str(value) in wanted
        return any(is_number(text) and float(text) == value for text in wanted)

    return test
