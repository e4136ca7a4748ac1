"""Shell completion of overrides: groups, their files, dotted keys and their fixed values. No Hydra."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.settings.explain import known_keys, words
from gipo_cli.settings.groups import IMPLIED, group_choices


def complete(
    incomplete: str,
    typed: Sequence[str] = (),
    config_dirs: Sequence[Path] = (),
    more: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Words that the word under the cursor may become.

    Args:
        incomplete: the word so far. Bash breaks words at ``=``: there it is what follows the sign.
        typed: the words before it.
        config_dirs: the user's own configuration folders.
        more: values of further keys, or of keys whose values the schema does not know.
    """
    every = group_choices(config_dirs)
    choices = {**{group: names for group, names in every.items() if group not in IMPLIED}, **(more or {})}
    named = last_typed("objective", typed).split(",")
    objectives = [OBJECTIVES[name] for name in named if name in OBJECTIVES]
    knobs = {f"objective.{name}" for kind in objectives for name in kind.model_fields}
    keys = [key for key in known_keys() if not (knobs and key.startswith("objective.")) or key in knobs]
    known, before = list(dict.fromkeys([*choices, *keys])), ["", "", *typed]
    choices |= {f"objective.{kind.knob}": [f"{x:g}" for x in kind.grid] for kind in objectives if kind.knob}

    def completed(key: str, start: str = "", sign: str = "=") -> list[str]:
        values = choices.get(key) or words(key)
        return [f"{key if sign else ''}{sign}{value}" for value in values if value.startswith(start)]

    if before[-1] == "=" or (not incomplete and before[-1] in known and before[-2] != "="):
        return completed(before[-2] if before[-1] == "=" else before[-1], incomplete, sign="")
    key, sign, start = incomplete.partition("=")
    if sign:
        return completed(key, start)
    near = [name for name in known if name.startswith(incomplete)]
    # A single key goes on to its values at once: the shell would put a space after a lone "key=".
    return (completed(near[0]) if len(near) == 1 else []) or [f"{name}=" for name in near]


def last_typed(key: str, typed: Sequence[str]) -> str:
    """The value that a setting was last given, empty if none was. Bash hands over env=NAME in three words."""
    found = re.findall(rf"(?:^|\s){key} ?= ?(\S+)", " ".join(typed))
    return found[-1] if found else ""
