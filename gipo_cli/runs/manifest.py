"""What a run was: its inputs as typed and resolved, and what it ran on."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gipo_cli import __version__
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import read_sealed, write_sealed, write_text
from gipo_cli.runs.layout import RunDir
from gipo_cli.settings.imports import import_user_modules, modules_of
from gipo_cli.settings.sealed import seal, unseal

if TYPE_CHECKING:
    from gipo_cli.settings.schema import RunConfig

FORMAT = 1
PACKAGES = (
    "torch",
    "stable-baselines3",
    "gymnasium",
    "gymnasium-robotics",
    "metaworld",
    "mujoco",
    "numpy",
    "scipy",
    "hydra-core",
    "tensorboard",
)
_GIT_SECONDS = 10
_DIFF_CHARACTERS = 4_000_000
_SUCCESS = {
    "any": "the episode succeeds if its success signal is on at any step",
    "last": "the episode succeeds if its success signal is on at its last step",
}


def write_inputs(
    run: RunDir, config: RunConfig, *, overrides: Sequence[str], command: Sequence[str], device: str
) -> None:
    """Write everything a new run can be repeated from.

    Args:
        run: The new run folder.
        config: Resolved configuration.
        overrides: As typed.
        command: The command line, word by word.
        device: ``cpu`` or ``cuda``.

    Raises:
        RunFailed: The disk refused.
    """
    repositories, diff = _git_state()
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
        "files": {path.name: _digest(path.read_bytes()) for path in texts},
        "updates": [],
    }
    write_sealed(run.meta, facts)
    # Last: a folder is a run once its configuration is there.
    write_config(run, config)


def write_config(run: RunDir, config: RunConfig) -> None:
    """Write the resolved configuration, with a digest of itself in its last line.

    Args:
        run: The run folder.
        config: Resolved configuration.

    Raises:
        RunFailed: The disk refused.
    """
    import yaml

    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    write_text(run.config, seal(text))


def note_update(
    run: RunDir, *, attempt: int, step: int, command: Sequence[str], changes: Sequence[str], device: str
) -> None:
    """Add to ``meta.json`` that the run was continued, and on what.

    Args:
        run: The run folder.
        attempt: Number of this attempt, from 2.
        step: Environment step it goes on from.
        command: The command line, word by word.
        changes: What differs from the configuration so far, one ``key: old -> new`` each.
        device: ``cpu`` or ``cuda``.

    Raises:
        RunFailed: The disk refused.
        UserError: ``meta.json`` is damaged.
    """
    facts = read_sealed(run.meta)
    facts["updates"].append(
        {
            "attempt": attempt,
            "step": step,
            "time": time.time(),
            "command": shlex.join(command),
            "changes": list(changes),
            "git": _git_state()[0],
            "versions": versions(),
            "hardware": hardware(),
            "device": device,
        }
    )
    write_sealed(run.meta, facts)


def read_config(run: RunDir, *, trust: bool = False) -> RunConfig:
    """Read a run's resolved configuration, to build from it what it describes.

    Args:
        run: The run folder.
        trust: Import the modules that it names, which run as code. The folder may be somebody else's, and
            modules are looked up in the current directory too.

    Returns:
        The checked configuration.

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
    return _checked(run, values, None)


def peek_config(run: RunDir) -> RunConfig:
    """Read a run's resolved configuration to look at it: no code of its own is imported.

    Args:
        run: The run folder.

    Returns:
        The configuration; the parameters of an objective that is not registered are unchecked.

    Raises:
        UserError: The file is missing, damaged or of another version.
    """
    from gipo_cli.settings.schema import UNREGISTERED

    return _checked(run, config_values(run), UNREGISTERED)


def config_values(run: RunDir) -> dict[str, Any]:
    """A run's resolved configuration as plain values, as it was written.

    Args:
        run: The run folder.

    Raises:
        UserError: The file is missing or damaged.
    """
    import yaml

    try:
        content = run.config.read_bytes()
    except OSError as error:
        raise UserError(f"{run.config} cannot be read: {error.strerror or error}") from error
    text = unseal(content)
    if text is None:
        raise UserError(f"{run.config} was changed since it was written; restore it, or start a new run")
    try:
        values = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{run.config} is damaged: it is not YAML") from error
    if not isinstance(values, dict):
        raise UserError(f"{run.config} is not a configuration of this gipo: it is no mapping")
    return values


def _checked(run: RunDir, values: dict[str, Any], context: Any) -> RunConfig:
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


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def versions() -> dict[str, str | None]:
    """Versions of Python, gipo and the packages that results depend on; None for one that is missing."""
    found: dict[str, str | None] = {"python": platform.python_version(), "gipo": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def moved_versions(run: RunDir) -> list[str]:
    """What differs from the machine and the versions of the run's newest attempt, ``NAME then -> now`` each.

    Args:
        run: The run folder.

    Raises:
        UserError: ``meta.json`` is damaged.
    """
    facts = read_sealed(run.meta)
    before = facts["updates"][-1]["versions"] if facts["updates"] else facts["versions"]
    now = versions()
    return [f"{name} {before.get(name)} -> {now[name]}" for name in now if before.get(name) != now[name]]


def trained_on(run: RunDir) -> str | None:
    """``cpu`` or ``cuda``, as the run's newest attempt had it; None where that was not written down.

    Raises:
        UserError: ``meta.json`` is damaged.
    """
    facts = read_sealed(run.meta)
    device: str | None = (facts["updates"][-1] if facts["updates"] else facts).get("device")
    return device


def moved_processor(run: RunDir) -> str | None:
    """``then -> now`` if the processor is another model than that of the run's newest attempt.

    Args:
        run: The run folder.

    Raises:
        UserError: ``meta.json`` is damaged.
    """
    facts = read_sealed(run.meta)
    before = (facts["updates"][-1] if facts["updates"] else facts)["hardware"]["cpu"]
    now = _cpu_model()
    return None if before == now else f"{before} -> {now}"


def changed_texts(run: RunDir) -> list[str]:
    """Names of the texts beside the configuration that are not as they were written; nothing depends on them.

    Args:
        run: The run folder.

    Raises:
        UserError: ``meta.json`` is damaged.
    """
    return [
        name
        for name, digest in read_sealed(run.meta).get("files", {}).items()
        if not (run.path / name).is_file() or _digest((run.path / name).read_bytes()) != digest
    ]


def hardware() -> dict[str, Any]:
    """The machine: host, system, processor, cores this process may use, memory in GiB, GPUs."""
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _git_state() -> tuple[list[dict[str, Any]], str]:
    """Repositories that this run's code comes from, and their uncommitted changes."""
    roots: dict[str, None] = {}
    for folder in (Path.cwd(), Path(__file__).resolve().parent):
        # A virtual environment inside somebody's repository is no part of it.
        if "site-packages" not in folder.parts and (root := _git(folder, "rev-parse", "--show-toplevel")):
            roots[root.strip()] = None
    repositories, diffs = [], []
    for root in roots:
        diff = _git(Path(root), "diff", "--no-ext-diff", "--no-textconv", "HEAD")
        untracked = _git(Path(root), "ls-files", "--others", "--exclude-standard")
        repositories.append(
            {
                "root": root,
                "sha": _git(Path(root), "rev-parse", "HEAD").strip() or None,
                "dirty": bool(diff),
                "untracked": untracked.splitlines()[:100],
            }
        )
        if diff:
            cut = "" if len(diff) <= _DIFF_CHARACTERS else "\n# cut here: the changes are longer\n"
            diffs.append(f"# repository {root}\n{diff[:_DIFF_CHARACTERS]}{cut}")
    return repositories, "\n".join(diffs)


def _git(folder: Path, *arguments: str) -> str:
    """Output of one git command, empty where there is no git or no repository."""
    try:
        result = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *arguments],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.decode(errors="backslashreplace") if result.returncode == 0 else ""


def typed_command() -> list[str]:
    """The command line of this process, as a user would type it."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
