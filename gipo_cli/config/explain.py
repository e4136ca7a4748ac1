"""One clear sentence for every mistake in a configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from gipo_cli.core.params import PARAMS, ObjectiveParams

_KINDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list, such as [64,64]",
    "dict_type": "must be a mapping, such as {width:480}",
    "model_type": "is a section, not a value; set one of its keys",
    "model_attributes_type": "is a section, not a value; set one of its keys",
}
_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def suggest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean ...?)`` with the nearest known names, or nothing if none is near."""
    names = list(known)
    by_leaf = {full.rpartition(".")[2]: full for full in reversed(names)}
    leaf = name.rpartition(".")[2]
    near = [by_leaf[key] for key in difflib.get_close_matches(leaf, by_leaf, n=2, cutoff=0.7)]
    near = near or difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    unique = list(dict.fromkeys(near))
    return f" (did you mean {' or '.join(unique)}?)" if unique else ""


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted keys of all values below ``model``; an objective contributes every known objective's knobs."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        dotted = f"{prefix}{name}"
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, ObjectiveParams):
            knobs = {knob for params in PARAMS.values() for knob in params.model_fields} - {"name"}
            keys += [f"{dotted}.{knob}" for knob in sorted(knobs)]
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += known_keys(kind, f"{dotted}.")
        else:
            keys.append(dotted)
    return keys


def allowed(model: type[BaseModel], name: str) -> str:
    """What a field may hold, in words, such as ``> 0 and < 1``; empty if anything of its type."""
    schema = model.model_json_schema()["properties"].get(name, {})
    variants = schema.get("anyOf", [schema.get("items", schema)])
    words: list[str] = []
    for variant in variants:
        if "enum" in variant:
            words += [str(value) for value in variant["enum"]]
        elif bounds := [f"{sign} {variant[key]:g}" for key, sign in _BOUNDS.items() if key in variant]:
            words.append(" and ".join(bounds))
        elif variant.get("type") == "null" and words:
            words.append("null")
    return " or ".join(words)


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
        return _unknown_key(key, path[-1], owner)
    if first["type"] == "missing":
        return f"{key} has no value; give one with {key}=..."
    return f"{key}={_shown(first['input'])} {_must(first, owner, path)}"


def _unknown_key(key: str, leaf: str, owner: type[BaseModel]) -> str:
    section = key.rpartition(".")[0]
    names = [name for name in owner.model_fields if name != "name" or section != "objective"]
    if section == "objective":
        who = owner.model_fields["name"].default
        has = f"its parameters: {', '.join(names) or 'none'}"
        return f"the objective {who} has no parameter {leaf!r}{suggest(leaf, names)}; {has}"
    known = [f"{section}.{name}" if section else name for name in names]
    return f"there is no key {key!r}{suggest(key, known) or '; known here: ' + ', '.join(known)}"


def _must(first: Any, owner: type[BaseModel], path: list[str]) -> str:
    value, kind = first["input"], first["type"]
    words = _KINDS.get(kind)
    if words and isinstance(value, float) and value.is_integer():
        return f"{words}; write {int(value)}"
    if words:
        return words
    name = next((part for part in reversed(path) if part in owner.model_fields), path[-1])
    options = allowed(owner, name)
    if kind == "too_short":
        return f"is too short: it needs at least {first['ctx']['min_length']} value"
    if kind == "literal_error":
        near = suggest(str(value), options.split(" or ")) if isinstance(value, str) else ""
        return f"is not one of {options}{near}"
    if options:
        return f"is out of range: it must be {options}"
    return f"is not allowed: {first['msg'].lower()}"


def _owner(model: type[BaseModel], path: list[str], data: Any) -> type[BaseModel]:
    """The record that holds the last named field of ``path``."""
    for part in path[:-1]:
        field = model.model_fields.get(part)
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            break
        data = data.get(part) if isinstance(data, dict) else None
        named = PARAMS.get(str(data.get("name"))) if isinstance(data, dict) else None
        model = named if named and issubclass(kind, ObjectiveParams) else kind
    return model


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
