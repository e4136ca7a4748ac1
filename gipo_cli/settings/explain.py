"""One clear sentence for every mistake in a configuration."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from gipo_cli.core.objectives import OBJECTIVES, ObjectiveParams
from gipo_cli.errors import ALIASES, suggest

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


def is_number(text: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted keys of all values below ``model``; an objective contributes every known objective's knobs."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        dotted = f"{prefix}{name}"
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, ObjectiveParams):
            knobs = {knob for params in OBJECTIVES.values() for knob in params.model_fields} - {"name"}
            keys += [f"{dotted}.{knob}" for knob in sorted(knobs)]
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += known_keys(kind, f"{dotted}.")
        elif dotted not in FOLLOWS:
            keys.append(dotted)
    return keys


def allowed(model: type[BaseModel], name: str) -> str:
    """What a field may hold, in words, such as ``> 0 and < 1``; empty if anything of its type."""
    words: list[str] = []
    for variant in _variants(model, name):
        variant = variant.get("items", variant)
        if "enum" in variant:
            words += [str(value) for value in variant["enum"]]
        elif bounds := [f"{sign} {_plain(variant[key])}" for key, sign in _BOUNDS.items() if key in variant]:
            words.append(" and ".join(bounds))
        elif variant.get("type") == "null" and words:
            words.append("null")
    return " or ".join(words)


def _plain(bound: float) -> str:
    return f"{bound:.0f}" if bound == int(bound) else f"{bound:g}"


def kinds(model: type[BaseModel], key: str) -> set[str]:
    """What the value of a dotted key may be, as JSON Schema's types; empty for a section or no key at all."""
    path = key.split(".")
    variants = _variants(_owner(model, path, None), path[-1])
    return {variant["type"] for variant in variants if "type" in variant}


def _variants(model: type[BaseModel], name: str) -> list[dict[str, Any]]:
    """The schemas of which a field's value meets one."""
    schema = model.model_json_schema()["properties"].get(name, {})
    variants: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return variants


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
    return f"{key}={shown(first['input'])} {_must(first, owner, path)}"


def _unknown_key(key: str, leaf: str, owner: type[BaseModel]) -> str:
    section = key.rpartition(".")[0]
    known = [f"{section}.{name}" if section else name for name in owner.model_fields]
    known = [name for name in known if name not in FOLLOWS]
    if section == "objective":
        who, names = owner.model_fields["name"].default, [_leaf(name) for name in known]
        near = _elsewhere(leaf) or suggest(leaf, names)
        has = f"its parameters: {', '.join(names) or 'none'}"
        return f"the objective {who} has no parameter {leaf!r}{near}; {has}"
    return f"there is no key {key!r}{suggest(key, known) or '; known here: ' + ', '.join(known)}"


def _elsewhere(knob: str) -> str:
    """Which objectives have the parameter, in brackets, or nothing if none has it."""
    name = _leaf(ALIASES.get(knob.lower(), knob))
    having = [objective for objective, params in OBJECTIVES.items() if name in params.model_fields]
    return f" (objective.{name} is a parameter of {', '.join(having)})" if having else ""


def _must(first: Any, owner: type[BaseModel], path: list[str]) -> str:
    value, kind = first["input"], first["type"]
    words = _KINDS.get(kind)
    name = next((part for part in reversed(path) if part in owner.model_fields), path[-1])
    if words and isinstance(value, float) and value.is_integer():
        return f"{words}; write {int(value)}"
    if kind == "list_type":
        return f"{words} {_LISTS[_variants(owner, name)[0]['items']['type']]}"
    section = owner.model_fields[name].annotation if name in owner.model_fields else None
    if words and isinstance(section, type) and issubclass(section, BaseModel):
        return f"{words} {', '.join(known_keys(section, '.'.join([*path, ''])))}"
    if words:
        nullable = any(variant.get("type") == "null" for variant in _variants(owner, name))
        return f"{words} or null" if nullable else words
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
        named = OBJECTIVES.get(str(data.get("name"))) if isinstance(data, dict) else None
        model = named if named and issubclass(kind, ObjectiveParams) else kind
    return model


def shown(value: Any) -> str:
    """A value as it is typed: YAML's words for None, true and false."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
