"""Shell completion of overrides: groups, their files, dotted keys and their fixed values. No Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from gipo_cli.core.objectives import OBJECTIVES, ObjectiveParams
from gipo_cli.settings.explain import known_keys
from gipo_cli.settings.groups import IMPLIED, group_choices
from gipo_cli.settings.schema import RunConfig


def complete(incomplete: str, typed: Sequence[str] = (), config_dirs: Sequence[Path] = ()) -> list[str]:
    """Words that the word under the cursor may become.

    Args:
        incomplete: the word so far. Bash breaks words at ``=``: there it is what follows the sign.
        typed: the words before it.
        config_dirs: the user's own configuration folders.
    """
    every = group_choices(config_dirs)
    choices = {group: names for group, names in every.items() if group not in IMPLIED}
    known = [*choices, *(name for name in known_keys(RunConfig) if name not in choices)]
    before = ["", "", *typed]
    if before[-1] == "=" or (not incomplete and before[-1] in known and before[-2] != "="):
        broken = before[-2] if before[-1] == "=" else before[-1]
        return [value for value in _values(broken, choices) if value.startswith(incomplete)]
    key, sign, start = incomplete.partition("=")
    if sign:
        return [f"{key}={value}" for value in _values(key, choices) if value.startswith(start)]
    near = [name for name in known if name.startswith(incomplete)]
    # A single key goes on to its values at once: the shell would put a space after a lone "key=".
    values = [f"{near[0]}={value}" for value in _values(near[0], choices)] if len(near) == 1 else []
    return values or [f"{name}=" for name in near]


def _values(key: str, choices: dict[str, list[str]]) -> list[str]:
    if key in choices:
        return choices[key]
    *sections, leaf = key.split(".")
    model: Any = RunConfig
    for section in sections:
        field = model.model_fields.get(section)
        model = field.annotation if field else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    owners = OBJECTIVES.values() if issubclass(model, ObjectiveParams) else [model]
    found = [value for owner in owners if leaf in owner.model_fields for value in _fixed(owner, leaf)]
    return list(dict.fromkeys(found))


def _fixed(owner: type[BaseModel], leaf: str) -> list[str]:
    """The values of a field that has a fixed list of them."""
    kind = owner.model_fields[leaf].annotation
    if kind is bool:
        return ["true", "false"]
    options: list[str] = []
    for part in (kind, *get_args(kind)):
        if part is type(None):
            options.append("null")
        else:
            options += [value for value in get_args(part) or (part,) if isinstance(value, str)]
    return list(dict.fromkeys(options))
