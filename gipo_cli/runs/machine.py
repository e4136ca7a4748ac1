"""What a run's numbers depend on besides its configuration: libraries, hardware, uncommitted code."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from gipo_cli import __version__

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


def versions() -> dict[str, str | None]:
    """Versions of Python, gipo and the packages that results depend on; None for one that is missing."""
    found: dict[str, str | None] = {"python": platform.python_version(), "gipo": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def hardware() -> dict[str, Any]:
    """Host, system, processor, cores this process may use, memory in GiB, GPUs."""
    import psutil
    import torch

    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def processor() -> str:
    """The processor's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def typed_command() -> list[str]:
    """The command line of this process, as a user would type it."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def git_state() -> tuple[list[dict[str, Any]], str]:
    """Repositories that this run's code comes from, and their uncommitted changes."""
    roots: dict[str, None] = {}
    for folder in (Path.cwd(), Path(__file__).resolve().parent):
        # A virtual environment inside somebody's repository is no part of it.
        if "site-packages" not in folder.parts and (root := _git(folder, "rev-parse", "--show-toplevel")):
            roots[root.strip()] = None
    repositories, diffs = [], []
    for root in roots:
        diff = _git(Path(root), "diff", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", "HEAD")
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
    """Output of one git command, empty where there is no git or no repository.

    The repository may be a stranger's: no program that its settings name is run.
    """
    settings = {"core.fsmonitor": "false", "core.quotePath": "false"}
    for key in _run_git(folder, {}, "config", "--name-only", "--null", "--get-regexp", r"^filter\.").split(
        "\0"
    ):
        if key:
            settings[key] = "false" if key.endswith(".required") else ""
    return _run_git(folder, settings, *arguments)


def _run_git(folder: Path, settings: Mapping[str, str], *arguments: str) -> str:
    numbered = [
        (f"GIT_CONFIG_{part}_{number}", text)
        for number, item in enumerate(settings.items())
        for part, text in zip(("KEY", "VALUE"), item, strict=True)
    ]
    own = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_CONFIG_COUNT": str(len(settings))}
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, **own, **dict(numbered)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.decode(errors="backslashreplace") if result.returncode == 0 else ""
