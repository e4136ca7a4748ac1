"""What every setting may be, read off the schema, and one clear sentence for every mistake in a value."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from gipo_cli.core.objectives import OBJECTIVES, ObjectiveParams
from gipo_cli.errors import ALIASES, suggest
from gipo_cli.settings.schema import RunConfig

_KINDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list, such as",
    "dict_type": "must be a mapping, such as {width:480}",
    "model_type": "is a section, not a value; set one of its keys:",
    "model_attributes_type": "is a section, not a value; set one of its keys:",
}
_LISTS = {"integer": "[64,64]", "number": "[0.5,1.0]", "string": "[my_module]"}
_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
FOLLOWS = ("env.name", "objective.name")
"""Keys that follow from the choice of their group and are not typed."""


def known_keys(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """Dotted keys of all values below ``model``; every objective contributes its parameters."""
    keys = dict.fromkeys(f"{prefix}{key}" for key, _, _ in _fields(model))
    return [key for key in keys if key not in FOLLOWS]


def described() -> list[dict[str, str]]:
    """Every setting that can be typed: its key, default, what is allowed and what it means."""
    found = []
    for key, owner, leaf in _fields(RunConfig):
        if key not in FOLLOWS:
            field, of = owner.model_fields[leaf], ""
            if issubclass(owner, ObjectiveParams):
                of = f"{owner.model_fields['name'].default}: "
            default = "" if field.is_required() else shown(field.get_default(call_default_factory=True))
            allowed = " or ".join(options(owner, leaf))
            meaning = f"{of}{field.description or ''}"
            found.append({"key": key, "default": default, "allowed": allowed, "meaning": meaning})
    return found


def kinds(key: str) -> set[str]:
    """What the value of a run's dotted key may be, as JSON Schema's types; empty for a section or no key."""
    return {variant["type"] for variant in _variants_of(key) if "type" in variant}


def words(key: str) -> list[str]:
    """The values of a run's dotted key that are fixed words: choices, true, false and null."""
    fixed = {"boolean": ["true", "false"], "null": ["null"]}
    found = [variant.get("enum", fixed.get(variant.get("type", ""), [])) for variant in _variants_of(key)]
    return list(dict.fromkeys(word for some in found for word in some))


def options(model: type[BaseModel], name: str) -> list[str]:
    """What a field may hold, in words, such as ``> 0 and < 1`` or ``null``; empty if anything of its type."""
    found: list[str] = []
    for variant in _variants(model, name):
        variant = variant.get("items", variant)
        if "enum" in variant:
            found += [str(value) for value in variant["enum"]]
        elif bounds := [f"{sign} {_plain(variant[key])}" for key, sign in _BOUNDS.items() if key in variant]:
            found.append(" and ".join(bounds))
        elif variant.get("type") == "null" and found:
            found.append("null")
    return found


def explain(error: ValidationError, model: type[BaseModel], data: Any) -> str:
    """The first mistake of ``error`` as one sentence: dotted key, value, what is allowed.

    Args:
        error: what validating ``data`` as a ``model`` raised.
        model: the record that was validated.
        data: what was given; it names the objective whose parameters are meant.
    """
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
        return f"{key}: {reason}" if path else reason
    owner = _owner(model, path, data)
    if first["type"] == "extra_forbidden":
        return _unknown_key(key, owner)
    if first["type"] == "missing":
        return f"{key} has no value; give one with {key}=..."
    return f"{key}={shown(first['input'])} {_must(first, owner, path)}"


def shown(value: Any) -> str:
    """A value as it is typed: YAML's words for None, true and false."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def text_override(key: str, value: str) -> str:
    """An override whose value is read as text, whatever it looks like."""
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + found[2].replace('"', r"\""), value)
    return f'{key}="{escaped}"'


def as_text(key: str, value: str) -> str:
    """As :func:`text_override`, as a shell takes it."""
    return shlex.quote(text_override(key, value))


def accepting(group: str, number: float) -> list[str]:
    """Overrides that give a number to one of a group's settings."""
    found = []
    for key, owner, leaf in _fields(RunConfig):
        field = owner.model_fields[leaf]
        kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        whole = int(number) if number.is_integer() else number
        if key.startswith(f"{group}.") and group != "objective" and {"integer", "number"} & kinds(key):
            with suppress(ValidationError):
                found.append(f"{key}={TypeAdapter(kind).validate_python(whole, strict=True):.15g}")
    return found


def is_number(text: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unknown_key(key: str, owner: type[BaseModel]) -> str:
    section, _, leaf = key.rpartition(".")
    if section == "objective":
        names = [name for name in owner.model_fields if name != "name"]
        meant = ALIASES.get(leaf.lower(), leaf).rpartition(".")[2]
        having = [name for name, objective in OBJECTIVES.items() if meant in objective.model_fields]
        near = (
            f" (objective.{meant} is a parameter of {', '.join(having)})" if having else suggest(leaf, names)
        )
        who = owner.model_fields["name"].default
        return f"the objective {who} has no parameter {leaf!r}{near}; it has: {', '.join(names) or 'none'}"
    known = [f"{section}.{name}" if section else name for name in owner.model_fields]
    known = [name for name in known if name not in FOLLOWS]
    return f"there is no key {key!r}{suggest(key, known) or '; known here: ' + ', '.join(known)}"


def _must(first: Any, owner: type[BaseModel], path: list[str]) -> str:
    value, kind = first["input"], first["type"]
    text = _KINDS.get(kind)
    name = next((part for part in reversed(path) if part in owner.model_fields), path[-1])
    variants = _variants(owner, name)
    if text and isinstance(value, float) and value.is_integer():
        return f"{text}; write {int(value)}"
    if kind == "list_type":
        return f"{text} {_LISTS[variants[0]['items']['type']]}"
    section = owner.model_fields[name].annotation if name in owner.model_fields else None
    if text and isinstance(section, type) and issubclass(section, BaseModel):
        return f"{text} {', '.join(known_keys(section, '.'.join([*path, ''])))}"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"{text}; type {as_text('.'.join(path), shown(value))}"
    if text:
        return f"{text} or null" if any(variant.get("type") == "null" for variant in variants) else text
    allowed = options(owner, name)
    if kind == "too_short":
        return f"is too short: it needs at least {first['ctx']['min_length']} value"
    if kind == "literal_error":
        near = suggest(value, allowed) if isinstance(value, str) else ""
        return f"is not one of {' or '.join(allowed)}{near}"
    if allowed:
        return f"is out of range: it must be {' or '.join(allowed)}"
    return f"is not allowed: {first['msg'].lower()}"


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """Every value below a model: dotted key, the record that holds it and its name there."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, ObjectiveParams):
            for objective in OBJECTIVES.values():
                yield from _fields(objective, f"{prefix}{name}.")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", model, name


def _owner(model: type[BaseModel], path: list[str], data: Any) -> type[BaseModel]:
    """The record that holds the last named field of ``path``."""
    for part in path[:-1]:
        field = model.model_fields.get(part)
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            break
        data = data.get(part) if isinstance(data, dict) else None
        named = OBJECTIVES.get(str(data.get("name"))) if isinstance(data, dict) else None
        model = named if named and issubclass(kind, ObjectiveParams) else kind
    return model


def _variants(model: type[BaseModel], name: str) -> list[dict[str, Any]]:
    """The JSON schemas of which a field's value meets one."""
    schema = model.model_json_schema()["properties"].get(name, {})
    variants: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return variants


def _variants_of(key: str) -> list[dict[str, Any]]:
    """The same for a run's dotted key."""
    found = (_variants(owner, leaf) for name, owner, leaf in _fields(RunConfig) if name == key)
    return [variant for variants in found for variant in variants]


def _plain(bound: float) -> str:
    return f"{bound:.0f}" if bound == int(bound) else f"{bound:g}"
