"""What is typed and what users' files say, checked before Hydra and the schema see it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gipo_cli.errors import ALIASES, UnknownChoice, UserError, guess, nearest, suggest
from gipo_cli.settings.explain import FOLLOWS, accepting, as_text, is_number, kinds, known_keys
from gipo_cli.settings.groups import IMPLIED, STUDIES, find_file, group_choices, read
from gipo_cli.settings.schema import RunConfig

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null"}
_EXAMPLES = {"env": "gymnasium", "objective": "gipo"}


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides with Hydra's parser.

    Raises: UserError for the first one that does not parse, or whose number is too large to be one.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    parsed = []
    for line in overrides:
        key, _, value = line.partition("=")
        override = _parsed(parser, line)
        if override is None and ("=" not in line or _parsed(parser, f"{key}=1") is None):
            raise UserError(f"{line!r} is not an override; write key=value, such as seed=3")
        if override is None:
            raise UserError(f"{line!r} cannot be read; type {as_text(key, value)} if the value is text")
        if not override.is_sweep_override() and _overflows(override.value()) and "inf" not in value.lower():
            cure = f"; type {as_text(key, value)} if the value is text" if value[:1] not in "[{" else ""
            raise UserError(f"{line!r} holds a number that is too large{cure}")
        parsed.append(override)
    return parsed


def _parsed(parser: Any, line: str) -> Override | None:
    from hydra.errors import HydraException

    try:
        override: Override = parser.parse_override(line)
    except HydraException:
        return None
    return override


def _overflows(value: Any) -> bool:
    if isinstance(value, list | dict):
        return any(map(_overflows, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and math.isinf(value)


def as_typed(key: str, value: str) -> str:
    """``key=value`` as a shell takes it, with quotes for Hydra where it could not be read without."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    line = f"{key}={value}"
    return as_text(key, value) if _parsed(OverridesParser.create(), line) is None else shlex.quote(line)


def value_of(line: str) -> tuple[str, Any]:
    """Key and value of an override outside of a run, of the type that a run's configuration would give it.

    Raises: UserError if it cannot be read, or is no value of that key.
    """
    (override,) = parse_overrides([line])
    key, value = str(override.key_or_group), override.value()
    if override.is_sweep_override() or override.is_delete():
        raise UserError(f"{line!r} does not set one value; write key=value, such as seed=3")
    allowed = kinds(key)
    if "integer" in allowed and isinstance(value, float) and value.is_integer():
        return key, int(value)
    if allowed == {"string"} or allowed == {"string", "null"}:
        return key, value if value is None or isinstance(value, str) else line.partition("=")[2]
    if isinstance(value, str) and allowed and not allowed & {"string", "array", "object"}:
        raise UserError(f"{key}={value} must be {' or '.join(_KINDS[kind] for kind in sorted(allowed))}")
    return key, value


def check_override(override: Override, choices: Mapping[str, Sequence[str]], *, imports: bool) -> None:
    """Refuse several values, unknown choices of a group and unknown keys.

    ``choices`` are the names of every group's files. With ``imports``, the user's modules may register
    objectives.

    Raises: UserError with what to type instead.
    """
    key, line = override.key_or_group, str(override.input_line)
    value = line.partition("=")[2]
    if override.is_sweep_override():
        if "array" in kinds(key):
            raise UserError(f"{key} is a list; write {as_typed(key, f'[{value}]')}")
        text = f"type {as_text(key, value)} for one text, or " if not kinds(key) - {"string", "null"} else ""
        raise UserError(f"{line!r} names several values and this is one run; {text}use `gipo sweep`")
    sign = f"@{override.package}" if override.package is not None else line[: line.index(key)]
    if key not in choices:
        if override.package is not None or not sign.startswith("+"):
            check_key(key, choices, value)
    elif sign and key in RunConfig.model_fields:
        raise UserError(f"{line!r}: a run has one {key}; write {key}={value or 'NAME'}, without {sign}")
    elif not override.is_delete() and str(override.value()) not in choices[key]:
        raise unknown_choice(key, value, choices[key], imports=imports)


def unknown_choice(group: str, value: str, known: Sequence[str], *, imports: bool = False) -> UnknownChoice:
    """The mistake of a choice that a group does not have."""
    own = f"a file {group}/{value}.yaml in a folder given by --config-dir"
    text = f"there is no {group} {value!r}{(near := suggest(value, known))}; choose from: {', '.join(known)}"
    stem, _, version = value.rpartition("-v")
    if group == "env" and stem and version.isdigit():
        text = f"there is no env {value!r}; an id of Gymnasium is typed env=gymnasium env.id={value}"
    elif is_number(value):
        lines = accepting(group, float(value))
        more = f" (or {', '.join(lines[1:4])})" if lines[1:] else ""
        text += f"; a single value is set by its key, such as {lines[0]}{more}" if lines else ""
    elif imports and group == "objective":
        text += f"; your own objective needs {own}"
    elif not near and group != STUDIES:
        text += f", or add {own}"
    return UnknownChoice(text, group, value)


def check_key(key: str, choices: Mapping[str, Sequence[str]], value: str = "NAME") -> None:
    """Refuse a dotted key that the schema does not have.

    Raises: UserError with the nearest keys.
    """
    if key == STUDIES:
        raise UserError(f"a study is many runs and this is one; type gipo sweep study={value}")
    if key in FOLLOWS:
        raise UserError(f"{key} follows from the choice of its group; type {key[:-5]}={value} instead")
    known = known_keys()
    open_ended = key.startswith(("env.kwargs.", "objective."))
    if not (open_ended or key in known or any(name.startswith(f"{key}.") for name in known)):
        near = [
            f"{name}={choice}" if (choice := next(iter(nearest(value, choices.get(name, []))), "")) else name
            for name in nearest(key, [*known, *choices])
        ]
        raise UserError(f"there is no key {key!r}{guess(near) or '; `gipo list settings` prints all keys'}")


def check_files(data: Mapping[str, Any], picked: Mapping[str, str], config_dirs: Sequence[Path]) -> None:
    """Refuse a picked file whose settings lie in the wrong place, or that does not say what it is.

    Raises: UserError with the line that the file needs.
    """
    for group, choice in picked.items():
        file, section = f"{group}/{choice}.yaml", data.get(group)
        if path := find_file(group, choice, config_dirs):
            read(path)
        if isinstance(section, dict) and isinstance(section.get(group), dict):
            raise UserError(
                f"{file} has its settings under a key {group!r}; write them at the top of the file, or begin "
                "it with the line '# @package _global_'"
            )
        if isinstance(section, dict) and group in {"preset", *IMPLIED}:
            raise UserError(f"{file} must begin with the line '# @package _global_'")
        if group in _EXAMPLES and not (isinstance(section, dict) and section.get("name")):
            raise UserError(
                f"{file} needs a line that says which {group} it is, such as name: {_EXAMPLES[group]}"
            )


def refuse_dashes(words: Sequence[str], options: Mapping[str, bool]) -> None:
    """Refuse a setting with dashes, an option without them and an unknown option.

    ``options`` are the command's, with their dashes, and whether each takes a value.
    """
    rest = list(words)
    while rest and rest[0] != "--":
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in options:
            del rest[: int(options[name] and not equals)]
        elif name.startswith("-") and name[:2] not in options:
            raise UserError(
                _unknown_option(name, value if equals else next(iter(rest), "VALUE"), word, options)
            )
        elif equals and (option := f"--{name.replace('_', '-')}") in options:
            example = f"{option} {shlex.quote(value)}" if options[option] else option
            raise UserError(f"{name} is an option of this command and no setting; write {example}")


def _unknown_option(option: str, value: str, word: str, options: Mapping[str, bool]) -> str:
    key = option.lstrip("-")
    if "." in key or key in {STUDIES, *RunConfig.model_fields, *group_choices()}:
        return f"settings have no dashes; write {as_typed(key, value)} instead of {shlex.quote(word)}"
    name = key.replace("-", "_")
    groups = {group: names for group, names in group_choices().items() if group not in IMPLIED}
    near = [f"{group}={name}" for group, names in groups.items() if name in names]
    near = near or ([] if name in ALIASES else nearest(option, options)[:1])
    near = near or [as_typed(found, value) for found in nearest(name, [*known_keys(), *groups])]
    return f"there is no option {option}{guess(near)}; settings are typed key=value, without dashes"
