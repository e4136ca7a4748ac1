"""Hydra overrides -> one checked ``RunConfig``.

Hydra only picks and merges YAML files here (Compose API, no ``instantiate``). Keys, types, ranges and
defaults are the schema's, so that a mistake is told in this package's words and not in Hydra's.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from gipo_cli.core.objectives import OBJECTIVES, ObjectiveParams
from gipo_cli.errors import UserError
from gipo_cli.settings.explain import explain, shown
from gipo_cli.settings.groups import IMPLIED, group_choices, read, search_dirs
from gipo_cli.settings.imports import import_user_modules
from gipo_cli.settings.overrides import check_files, check_override, parse_overrides
from gipo_cli.settings.schema import UNREGISTERED, RunConfig, keys_that_change
from gipo_cli.text import flatten

if TYPE_CHECKING:
    from omegaconf import DictConfig

SPECIALISED = IMPLIED | {"env", "objective", "preset"}
"""Groups whose values a preset may go on to change. In every other group, a choice that is typed stands."""

UNHASHED = tuple(key for key in keys_that_change("nothing", "draw", "budget") if "." not in key)
"""Settings and sections in which runs that share a hash may differ."""

_LOCK = threading.Lock()
_LIST, _FLOAT = "tag:yaml.org,2002:seq", "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$")


@dataclass(frozen=True)
class Composed:
    """A checked configuration and how it came about."""

    config: RunConfig
    overrides: list[str]
    choices: dict[str, str]


def compose(overrides: Sequence[str], *, config_dirs: Sequence[Path] = ()) -> Composed:
    """Compose ``conf/config.yaml`` with overrides such as ``env=fetch_push`` and check the result.

    The user's own ``config_dirs`` are searched before the shipped folder.

    Raises: UserError for any mistake in the overrides, in the values or in a user's folder.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    parsed = parse_overrides(overrides)
    choices, folders = group_choices(config_dirs), search_dirs(config_dirs)
    imports = any(override.key_or_group == "imports" for override in parsed)
    for override in parsed:
        check_override(override, choices, imports=imports)
    groups = [override for override in parsed if override.key_or_group in choices]
    try:
        picked, composed = _load("config", [str(override.input_line) for override in groups], folders)
        objective = OBJECTIVES.get(str(OmegaConf.select(composed, "objective.name")))
        default = _defaults(RunConfig, objective)
        config: Any = OmegaConf.unsafe_merge(OmegaConf.create(default), composed)
        for override in groups:
            group = override.key_or_group
            if group not in SPECIALISED and not override.is_delete():
                # A typed choice outweighs a preset's values.
                _, section = _load(f"{group}/{override.value()}", [], folders)
                plain = {group: default[group]} if group in default else {}
                config = OmegaConf.unsafe_merge(config, plain, section)
        for override in parsed:
            if override not in groups:
                _set(config, override)
        data: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise UserError(f"the configuration cannot be composed: {reason}") from error
    except UnicodeDecodeError:
        for file in (file for folder in folders[:-1] for file in folder.rglob("*.yaml")):
            read(file)
        raise
    check_files(data, picked, config_dirs)
    existing = {group: choice for group, choice in picked.items() if choice in choices.get(group, [])}
    return Composed(validate(data), list(overrides), existing)


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
    return as_yaml(config.model_dump(mode="json"))


def as_yaml(settings: Mapping[str, Any]) -> str:
    """Settings as YAML that reads back as they are."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Sections in block style, lists on one line."""

    # Text such as 1e5 is a number to other readers of YAML, OmegaConf among them, unless it is quoted.
    Dumper.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))
    Dumper.add_representer(list, lambda dumper, data: dumper.represent_sequence(_LIST, data, flow_style=True))
    return yaml.dump(settings, Dumper=Dumper, sort_keys=False, width=100)


def config_hash(config: RunConfig) -> str:
    """Eight hex digits that are equal for runs which differ only in the fields of ``UNHASHED``."""
    data = config.model_dump(mode="json", exclude=set(UNHASHED))
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def _defaults(model: type[BaseModel], objective: type[ObjectiveParams] | None) -> dict[str, Any]:
    """The schema's defaults as plain values, without what has none."""
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, ObjectiveParams):
            values[name] = _defaults(objective, None) if objective else {}
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            values[name] = _defaults(kind, objective)
        elif not field.is_required():
            values[name] = field.get_default(call_default_factory=True, validated_data={})
    return values


def _set(config: DictConfig, override: Any) -> None:
    """Apply one override of a value; what is taken away falls back to the schema's default."""
    from omegaconf import OmegaConf

    key = str(override.key_or_group)
    if not override.is_delete():
        OmegaConf.update(config, key, override.value(), merge=True, force_add=True)
        return
    parent, _, leaf = key.rpartition(".")
    section: Any = OmegaConf.select(config, parent) if parent else config
    if OmegaConf.is_dict(section):
        section.pop(leaf, None)


def _load(name: str, choices: Sequence[str], folders: Sequence[Path]) -> tuple[dict[str, str], DictConfig]:
    """Group choices and values of one composed file; the first folder that has a file wins."""
    files = (file for folder in folders for file in sorted(folder.rglob("*.yaml")))
    stamps = tuple((file, (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files)
    picked, values = _loaded(name, tuple(choices), tuple(folders), stamps)
    return picked, copy.deepcopy(values)


@lru_cache(maxsize=64)
def _loaded(
    name: str, choices: tuple[str, ...], folders: tuple[Path, ...], stamps: tuple[object, ...]
) -> tuple[dict[str, str], DictConfig]:
    """The same, done once for files that have not changed since: the runs of a grid share most of it."""
    import hydra
    from omegaconf import OmegaConf

    main = next(i for i, folder in enumerate(folders) if (folder / f"{name}.yaml").is_file())
    with _own_hydra(folders, main):
        # An empty search path makes Hydra read its list of folders again.
        composed = hydra.compose(name, ["hydra.searchpath=[]", *choices], return_hydra_config=True)
    picked = {key: str(value) for key, value in composed.hydra.runtime.choices.items()}
    values = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    OmegaConf.set_struct(values, False)
    return {key: value for key, value in picked.items() if not key.startswith("hydra/")}, values


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


def differing(config: RunConfig) -> Iterator[tuple[str, str, str]]:
    """Settings that differ from those of a plain ``gipo train``: key, value and default ("" without one)."""
    default = flatten(compose([]).config.model_dump(mode="json"))
    for key, value in flatten(config.model_dump(mode="json")).items():
        if key not in default:
            yield key, shown(value), ""
        elif default[key] != value:
            yield key, shown(value), shown(default[key])
