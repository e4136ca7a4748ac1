"""A run, opened once and passed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.manifest import read_config

if TYPE_CHECKING:
    from gipo_cli.settings.schema import RunConfig


@dataclass(frozen=True)
class Run:
    """A run's folder and its resolved configuration."""

    folder: RunDir
    config: RunConfig

    @property
    def checkpoints(self) -> CheckpointStore:
        """Its checkpoints, kept as its configuration says."""
        keep = self.config.checkpoint
        return CheckpointStore(
            self.folder.checkpoints, keep_last=keep.keep_last, every=keep.every, best=keep.best
        )


def open_run(path: Path, *, trust: bool = False) -> Run:
    """Open a run that is there.

    Args:
        path: Its folder.
        trust: Import the modules that its configuration names.

    Raises:
        UserError: As :func:`gipo_cli.runs.manifest.read_config`.
    """
    folder = RunDir(path)
    return Run(folder, read_config(folder, trust=trust))
