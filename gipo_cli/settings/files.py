"""A YAML file of settings among the words of a command, turned into the overrides that it stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gipo_cli.errors import UserError
from gipo_cli.settings.explain import FOLLOWS
from gipo_cli.settings.groups import read
from gipo_cli.settings.overrides import parse_overrides
from gipo_cli.text import flatten

SUFFIXES = (".yaml", ".yml")
_WORDS = ("true", "false", "null", "nan", "inf")


def with_files(words: Sequence[str]) -> list[str]:
    """Replace every ``FILE.yaml`` by the overrides that it stands for.

    Groups may be chosen by name (``env: metaworld``) or by the section that a run's ``config.yaml`` has
    (``env: {name: metaworld, ...}``). Of two values for one key the later word's stands.

    Raises:
        UserError: A file is missing or is no mapping of settings.
    """
    files = [word for word in words if "=" not in word and Path(word).suffix in SUFFIXES]
    if not files:
        return list(words)
    lines: dict[str, str] = {}
    for word in words:
        for line in _lines(Path(word)) if word in files else [word]:
            key = str(parse_overrides([line])[0].key_or_group)
            lines.pop(key, None)  # the later one's place counts too
            lines[key] = line
    return list(lines.values())


def _lines(file: Path) -> list[str]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    usage = "write one setting a line, such as total_steps: 200000 or agent.update.actor_lr: 1e-4"
    text = read(file)
    try:
        content = OmegaConf.to_container(OmegaConf.create(text))
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{file} cannot be read as YAML: {str(error).splitlines()[0]}") from error
    # A lone word would become a key without a value.
    if not isinstance(content, dict) or not content or ":" not in text:
        raise UserError(f"{file} holds no settings; {usage}")
    if odd := [key for key in content if not isinstance(key, str)]:
        raise UserError(f"{file}: {odd[0]!r} is no setting's name; {usage}")
    flat = flatten({str(key): value for key, value in content.items()})
    chosen = [f"{key.removesuffix('.name')}={flat.pop(key)}" for key in FOLLOWS if key in flat]
    return [*chosen, *(f"{key}={_typed(value)}" for key, value in flat.items())]


def _typed(value: Any) -> str:
    """A value as Hydra's grammar writes it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_typed(own)}" for key, own in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_typed, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str) or (value.isidentifier() and value.lower() not in _WORDS):
        return str(value)
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + found[2].replace('"', r"\""), value)
    return f'"{escaped}"'
