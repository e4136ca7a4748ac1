"""What is checked of overrides and of users' files around Hydra: groups, their choices and keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gipo_cli.envs.registry import ENVIRONMENTS, METAWORLD_TASKS, typed
from gipo_cli.errors import UserError, suggest
from gipo_cli.settings.explain import FOLLOWS, is_number, kinds, known_keys
from gipo_cli.settings.groups import IMPLIED, STUDIES
from gipo_cli.settings.schema import RunConfig

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_EXAMPLES = {"env": "gymnasium", "objective": "gipo"}


def check_files(data: dict[str, Any], picked: dict[str, str]) -> None:
    """Refuse a group's file whose settings lie in the wrong place, or that does not say what it is.

    Args:
        data: the composed values.
        picked: which file of every group they came from.

    Raises:
        UserError: with the line that the file needs.
    """
    for group, choice in picked.items():
        file, section = f"{group}/{choice}.yaml", data.get(group)
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
        if group == "env" and (name := str(data["env"]["name"])) not in ENVIRONMENTS:
            raise UserError(
                f"{file}: unknown environment {name!r}{suggest(name, ENVIRONMENTS)}; "
                "an environment of one's own is written name: gymnasium and id: its Gymnasium id"
            )


def check_override(override: Override, choices: dict[str, list[str]], *, imports: bool) -> None:
    """Refuse sweeps, unknown group choices and unknown keys.

    Args:
        override: as typed.
        choices: every group and its files' names.
        imports: whether modules of the user's are imported, which may register objectives.

    Raises:
        UserError: with what to type instead.
    """
    key, line = override.key_or_group, str(override.input_line)
    typed = line.partition("=")[2]
    if override.is_sweep_override():
        if "array" in kinds(RunConfig, key):
            raise UserError(f"{key} is a list; write {key}=[{typed}]")
        raise UserError(
            f"{line!r} names several values and this is one run; quote the value, or use `gipo sweep`"
        )
    if key in choices:
        _check_choice(override, choices[key], typed, imports=imports)
    elif not override.is_add() and not override.is_force_add():
        check_key(key, choices)


def _check_choice(override: Override, known: Sequence[str], typed: str, *, imports: bool) -> None:
    """Refuse a group's choice that there is not, and Hydra's other ways to name one."""
    group, line = override.key_or_group, str(override.input_line)
    sign = line[: line.index(group)]
    if override.package is not None:
        sign = f"@{override.package}"
    if sign and group in RunConfig.model_fields:
        raise UserError(f"{line!r}: a run has one {group}; write {group}={typed or 'NAME'}, without {sign}")
    if override.is_delete() or str(override.value()) in known:
        return
    said = unknown_choice(group, typed, known)
    own = f"a file {group}/{typed}.yaml in a folder given by --config-dir"
    if imports and group == "objective":
        said = f"{said}; an objective of one's own needs {own}"
    elif not (suggest(typed, known) or is_number(typed) or _as_id(typed, known)):
        said = f"{said}; one's own is {own}"
    raise UserError(said)


def unknown_choice(group: str, value: str, known: Sequence[str]) -> str:
    """The sentence for a choice that a group does not have."""
    if group == "env" and (cure := _as_id(value, known)):
        return f"there is no env {value!r}; {cure}"
    text = f"there is no {group} {value!r}{suggest(value, known)}; choose from: {', '.join(known)}"
    keys = [key for key in known_keys(RunConfig) if key.startswith(f"{group}.")]
    keys = [key for key in keys if kinds(RunConfig, key) & {"integer", "number"}]
    if not keys or not is_number(value):
        return text
    more = f" (or {', '.join(keys[1:4])})" if keys[1:] else ""
    return f"{text}; a single value is set by its key, such as {keys[0]}={value}{more}"


def _as_id(value: str, known: Sequence[str]) -> str:
    """What to type for a Meta-World task or a Gymnasium id, both of which end in a version."""
    stem, _, version = value.rpartition("-v")
    if not stem or not version.isdigit():
        return ""
    task = f"{stem.lower()}-v3"
    if task in METAWORLD_TASKS:
        return f"it is a task of metaworld: type env=metaworld env.task={task}"
    if settings := typed(value):
        return f"it is typed {settings}"
    for name in known:
        if name.replace("_", "") == stem.lower():
            return f"it is typed env={name}"
    return f"an id of Gymnasium is typed env=gymnasium env.id={value}"


def check_key(key: str, choices: dict[str, list[str]]) -> None:
    """Refuse a dotted key that the schema does not have.

    Raises: UserError with the nearest keys.
    """
    if key == STUDIES:
        raise UserError("a study is many runs and this is one; type gipo sweep study=...")
    if key in FOLLOWS:
        raise UserError(f"{key} follows from the choice of its group; type {key[:-5]}=... instead")
    known = known_keys(RunConfig)
    open_ended = key.startswith(("env.kwargs.", "objective."))
    section = any(name.startswith(f"{key}.") for name in known)
    if not (open_ended or section or key in known):
        near = suggest(key, [*known, *choices]) or "; `gipo train --dry-run` prints all keys"
        raise UserError(f"there is no key {key!r}{near}")
