"""Runs as folders, and what is printed about them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.manifest import write_config
from gipo_cli.runs.status import StatusFile
from gipo_cli.settings.compose import compose


def run_folder(root: Path, name: str, *overrides: str, step: int = 0, state: str = "done") -> RunDir:
    run = RunDir(root / name)
    run.path.mkdir(parents=True)
    write_config(run, compose(overrides).config)
    status = StatusFile(run.status, total_steps=800)
    status.beat(step)
    status.finish(state)
    return run


def printed(monkeypatch: pytest.MonkeyPatch, width: int, call, *args) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    call(*args)
    return screen.getvalue()
