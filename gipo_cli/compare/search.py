"""Finding the run folders and the studies that a user names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gipo_cli.errors import UserError
from gipo_cli.runs.layout import runs_root

MARKS = ("config.yaml", "status.json", "metrics.csv", "eval.csv")
PLAN = "study.json"


@dataclass(frozen=True)
class Found:
    """What lies at the given paths: folders of runs and of studies, each once, sorted by path."""

    runs: list[Path]
    studies: list[Path]


def search(paths: Sequence[str], root: Path | None = None) -> Found:
    """Find the runs and studies named by, or lying below, the given folders and globs.

    What is not there from the current directory is looked for below ``root``, by default the folder of runs.
    Hidden folders and those inside a run are not searched.

    Raises:
        UserError: a path does not exist, or no run was found; the message says what was searched.
    """
    if not paths:
        raise UserError("No path was given; name run folders, a folder that holds runs, or a glob.")
    runs: set[Path] = set()
    studies: set[Path] = set()
    for top in _tops(paths, root or runs_root()):
        if top.name == PLAN:
            studies.add(top.parent.resolve())
        for folder, below, files in os.walk(top):
            if is_run := _is_run(files):
                runs.add(Path(folder).resolve())
            if PLAN in files:
                studies.add(Path(folder).resolve())
            below[:] = [] if is_run else [name for name in below if not name.startswith(".")]
    if not runs:
        hint = " A study's runs on a cluster appear once they are finished: see gipo sweep --status STUDY."
        raise UserError(
            f"No runs found in {', '.join(map(repr, paths))}: no folder there or below holds a config.yaml "
            f"with a status.json or CSV files.{hint if studies else ''}"
        )
    return Found(sorted(runs), sorted(studies))


def _tops(paths: Iterable[str], root: Path) -> list[Path]:
    tops: list[Path] = []
    for text in paths:
        found = _existing(text) or _existing(str(root / text))
        if not found:
            raise UserError(
                f"Nothing is at {text!r} (searched from {Path.cwd()} and {root}); name run folders or "
                "folders of runs."
            )
        tops += map(Path, found)
    return tops


def _existing(text: str) -> list[str]:
    return [text] if Path(text).exists() else sorted(glob.glob(text, recursive=True))


def _is_run(files: Iterable[str]) -> bool:
    return len(set(MARKS) & set(files)) >= 2
