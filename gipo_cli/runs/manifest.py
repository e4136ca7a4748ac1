"""What a run was: its inputs as typed and resolved, and what it ran on."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gipo_cli.errors import UserError
from gipo_cli.runs.durable import read_own, read_sealed, seal_text, unseal_text, write_sealed, write_text
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.machine import git_state, hardware, processor, versions
from gipo_cli.settings.imports import import_user_modules, modules_of

if TYPE_CHECKING:
    from gipo_cli.settings.schema import RunConfig

FORMAT = 1
_SUCCESS = {
    "any": "the episode succeeds if its success signal is on at any step",
    "last": "the episode succeeds if its success signal is on at its last step",
}


def write_inputs(
    run: RunDir, config: RunConfig, *, overrides: Sequence[str], command: Sequence[str], device: str
) -> None:
    """Write everything a new run can be repeated from; ``command`` is the command line, word by word.

    Raises:
        RunFailed: The disk refused.
    """
    repositories, diff = git_state()
    texts = {run.overrides: "".join(f"{override}\n" for override in overrides)}
    texts[run.command] = shlex.join(command) + "\n"
    if diff:
        texts[run.git_diff] = diff
    for path, text in texts.items():
        write_text(path, text)
    facts = {
        "format": FORMAT,
        "run": run.name,
        "created": time.time(),
        "command": shlex.join(command),
        "directory": str(Path.cwd()),
        "git": repositories,
        "versions": versions(),
        "hardware": hardware(),
        "device": device,
        "seeds": {"run": config.seed, "evaluation": config.eval.seed},
        "success": _SUCCESS[config.env.success],
        "evaluation": config.eval.model_dump(mode="json"),
        "files": {path.name: _digest(path) for path in texts},
        "updates": [],
    }
    write_sealed(run.meta, facts)
    # Last: a folder is a run once its configuration is there.
    write_config(run, config)


class Manifest:
    """What ``meta.json`` says a run went on until now.

    Raises:
        UserError: It is missing, damaged or not one of this gipo.
    """

    def __init__(self, run: RunDir) -> None:
        self._run, self._facts = run, read_sealed(run.meta)
        try:
            newest = self._facts["updates"][-1] if self._facts["updates"] else self._facts
            self._versions, self._processor = dict(newest["versions"]), newest["hardware"]["cpu"]
            self.device: str | None = newest.get("device")
            """``cpu`` or ``cuda``, of the newest attempt; None where that was not written down."""
            self._files = dict(self._facts.get("files", {}))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{run.meta} is not one that gipo writes; restore it, or start anew") from error

    def moved_versions(self) -> list[str]:
        """What differs from the versions of the newest attempt, ``NAME then -> now`` each."""
        before, now = self._versions, versions()
        return [f"{name} {before.get(name)} -> {now[name]}" for name in now if before.get(name) != now[name]]

    def moved_processor(self) -> list[str]:
        """``then -> now`` if the processor is another model than that of the newest attempt."""
        now = processor()
        return [] if self._processor == now else [f"{self._processor} -> {now}"]

    def changed_texts(self) -> list[str]:
        """Names of the texts that are not as they were written; nothing depends on them."""
        paths = {name: self._run.path / name for name in self._files}
        return [n for n, path in paths.items() if not path.is_file() or _digest(path) != self._files[n]]

    def add_update(
        self, *, attempt: int, step: int, command: Sequence[str], changes: Sequence[str], device: str
    ) -> None:
        """Note that attempt number ``attempt`` (from 2) continues the run at ``step``, and on what.

        Raises:
            RunFailed: The disk refused.
        """
        self._facts["updates"].append(
            {
                "attempt": attempt,
                "step": step,
                "time": time.time(),
                "command": shlex.join(command),
                "changes": list(changes),
                "git": git_state()[0],
                "versions": versions(),
                "hardware": hardware(),
                "device": device,
            }
        )
        write_sealed(self._run.meta, self._facts)


def write_config(run: RunDir, config: RunConfig) -> None:
    """Write the resolved configuration, with a digest of itself in its last line.

    Raises:
        RunFailed: The disk refused.
    """
    import yaml

    write_text(run.config, seal_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)))


def read_config(run: RunDir, *, trust: bool = False) -> RunConfig:
    """Read a run's resolved configuration, to build from it what it describes.

    Args:
        run: The run folder.
        trust: Import the modules that it names, which run as code. The folder may be somebody else's, and
            modules are looked up in the current directory too.

    Raises:
        UserError: The file is missing, damaged or of another version, or names modules without being trusted.
    """
    values = config_values(run)
    modules = modules_of(values)
    if modules and not trust:
        raise UserError(
            f"{run.path} needs the code of {', '.join(modules)}: if you trust it and the folder, add --trust "
            "(in Python trust=True)"
        )
    # Those of the environment are imported where it is made.
    named = values.get("imports")
    import_user_modules(map(str, named if isinstance(named, list) else []), "imports")
    return _validated(run, values, None)


def peek_config(run: RunDir) -> RunConfig:
    """Read a run's resolved configuration to look at it: no code of its own is imported.

    The parameters of an objective that is not registered are unchecked.

    Raises:
        UserError: The file is missing, damaged or of another version.
    """
    from gipo_cli.settings.schema import UNREGISTERED

    return _validated(run, config_values(run), UNREGISTERED)


def trust_flag(run: RunDir) -> str:
    """`` --trust``, to put behind the run's name in a command, if its configuration names modules."""
    try:
        return " --trust" if modules_of(config_values(run)) else ""
    except UserError:
        return ""


def config_values(run: RunDir) -> dict[str, Any]:
    """A run's resolved configuration as plain values, as it was written.

    Raises:
        UserError: The file is missing or damaged.
    """
    import yaml

    text = unseal_text(read_own(run.config))
    if text is None:
        raise UserError(f"{run.config} was changed since it was written; restore it, or start a new run")
    try:
        values = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{run.config} is damaged: it is not YAML") from error
    if not isinstance(values, dict):
        raise UserError(f"{run.config} is not a configuration of this gipo: it is no mapping")
    return values


def _validated(run: RunDir, values: dict[str, Any], context: Any) -> RunConfig:
    from pydantic import ValidationError

    from gipo_cli.settings.schema import RunConfig

    try:
        return RunConfig.model_validate(values, context=context)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{run.config} is not a configuration of this gipo: {where}: {first['msg']}"
        ) from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
