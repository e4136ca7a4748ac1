"""Hydra overrides -> one checked ``RunConfig``.

Hydra only composes YAML here (Compose API, no ``instantiate``). Keys, types and ranges are the schema's,
so that a mistake is told in this package's words and not in Hydra's.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gipo_cli.errors import UserError
from gipo_cli.settings.checks import check_files, check_override
from gipo_cli.settings.explain import explain
from gipo_cli.settings.groups import IMPLIED, group_choices, search_dirs
from gipo_cli.settings.imports import import_user_modules
from gipo_cli.settings.schema import UNREGISTERED, RunConfig

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

SPECIALISED = IMPLIED | {"env", "objective", "preset"}
"""Groups whose values a preset may go on to change. In every other group, a choice that is typed stands."""

UNHASHED = ("seed", "total_steps", "runtime", "logging", "checkpoint", "diagnostics")
"""Not part of what is being learned: runs that differ only in these share a hash."""

_LOCK = threading.Lock()
_LIST = "tag:yaml.org,2002:seq"


@dataclass(frozen=True)
class Composed:
    """A checked configuration and how it came about."""

    config: RunConfig
    overrides: list[str]
    choices: dict[str, str]


def compose(overrides: Sequence[str], *, config_dirs: Sequence[Path] = ()) -> Composed:
    """Compose ``conf/config.yaml`` with ``overrides`` and check the result.

    Args:
        overrides: in Hydra's grammar: ``env=fetch_push``, ``buffer.size=500``, ``+env.kwargs.x=1``.
        config_dirs: the user's own configuration folders, searched before the shipped one.

    Raises:
        UserError: any mistake in the overrides, in the values or in a user's folder.
    """
    parsed = parse_overrides(overrides)
    choices = group_choices(config_dirs)
    imports = any(override.key_or_group == "imports" for override in parsed)
    for override in parsed:
        check_override(override, choices, imports=imports)
    folders = search_dirs(config_dirs)
    lines = [line for o in parsed if _pins(o, choices) for line in _pinned(o, folders)]
    lines += [_schema_line(o, choices) for o in parsed]
    data, picked = _load("config", lines, folders)
    check_files(data, picked)
    existing = {group: choice for group, choice in picked.items() if choice in choices.get(group, [])}
    return Composed(validate(data), list(overrides), existing)


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides with Hydra's parser.

    Raises: UserError for the first one that does not parse.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed = []
    for line in overrides:
        try:
            parsed.append(parser.parse_override(line))
        except HydraException as error:
            if "=" not in line:
                raise UserError(f"{line!r} is not an override; write key=value, such as seed=3") from error
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(
                f"{line!r} cannot be read ({reason}); quote odd values, as in env.task='a, b'"
            ) from error
    return parsed


def validate(data: dict[str, Any], *, imports: bool = True) -> RunConfig:
    """Import the modules that ``data`` names, then check every key, type and range.

    Without ``imports``, for data to look at only, an objective that is not registered is taken as it is.

    Raises: UserError with the first mistake.
    """
    names = data.get("imports")
    if imports:
        import_user_modules(names if isinstance(names, list) else [], "imports")
    try:
        return RunConfig.model_validate(data, context=None if imports else UNREGISTERED)
    except ValidationError as error:
        raise UserError(explain(error, RunConfig, data)) from error


def to_yaml(config: RunConfig) -> str:
    """The configuration as YAML, in the schema's order."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Sections in block style, lists on one line."""

    Dumper.add_representer(list, lambda dumper, data: dumper.represent_sequence(_LIST, data, flow_style=True))
    return yaml.dump(config.model_dump(mode="json"), Dumper=Dumper, sort_keys=False, width=100)


def config_hash(config: RunConfig) -> str:
    """Eight hex digits that are equal for runs which differ only in the fields of ``UNHASHED``."""
    data = config.model_dump(mode="json", exclude=set(UNHASHED))
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def _load(
    config_name: str, overrides: Sequence[str], folders: Sequence[Path]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Plain values and group choices of one composed file; the first folder that has a file wins."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    main = next(i for i, folder in enumerate(folders) if (folder / f"{config_name}.yaml").is_file())
    try:
        with _own_hydra(folders, main):
            # An empty search path makes Hydra read its list of folders again.
            composed = hydra.compose(
                config_name, ["hydra.searchpath=[]", *overrides], return_hydra_config=True
            )
        chosen = composed.hydra.runtime.choices
        data = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        values = OmegaConf.to_container(data, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise UserError(f"the configuration cannot be composed: {reason}") from error
    picked = {key: str(value) for key, value in chosen.items() if not key.startswith("hydra/")}
    return {str(key): value for key, value in dict(values).items()}, picked  # type: ignore[arg-type]


@contextmanager
def _own_hydra(folders: Sequence[Path], main: int) -> Iterator[None]:
    """Hydra over ``folders``; whatever Hydra the host process had set up is put back afterwards."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with _LOCK:
        instance = GlobalHydra.instance()
        saved, instance.hydra = instance.hydra, None
        try:
            with initialize_config_dir(config_dir=str(folders[main]), version_base="1.3"):
                path = instance.config_loader().get_search_path()
                for folder in folders[:main]:
                    path.prepend("user", f"file://{folder}", anchor="main")
                for folder in folders[main + 1 :]:
                    path.prepend("user", f"file://{folder}", anchor="schema")
                yield
        finally:
            # Hydra may have put another instance in its place.
            GlobalHydra.instance().hydra = saved


def _pins(override: Override, choices: dict[str, list[str]]) -> bool:
    key = override.key_or_group
    return key in choices and key not in SPECIALISED and not override.is_delete()


def _pinned(override: Override, folders: Sequence[Path]) -> list[str]:
    """The values of a group's file as overrides, so that a typed choice outweighs a preset's values."""
    group = override.key_or_group
    section, _ = _load(f"{group}/{override.value()}", [], folders)
    return [f"++{key}={json.dumps(value)}" for key, value in _leaves(section)]


def _leaves(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _schema_line(override: Override, choices: dict[str, list[str]]) -> str:
    """Let a value be set that the schema has and the chosen YAML files leave to its default."""
    line = str(override.input_line)
    plain = not (override.is_delete() or override.is_add() or override.is_force_add())
    return f"++{line}" if plain and override.key_or_group not in choices else line
