"""What several files of this folder start from."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sweep_harness import PLAIN, STAND_IN, undisturbed

from gipo_cli.commands.app import main
from gipo_cli.sweep.folder import StudyDir


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of 1536 steps, done without a disturbance, and in ``longer`` one of 2048 steps."""
    root = tmp_path_factory.mktemp("reference")
    undisturbed(root, "objective=gipo", "seed=1,2,3")
    undisturbed(root / "longer", "objective=gipo", "seed=1", steps=2048)
    return root


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """``gipo sweep --runs tmp_path ...`` in this process."""

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["gipo", "sweep", "--runs", str(tmp_path), *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return Said(int(end.value.code or 0), said.out, said.err)

    for name, value in PLAIN.items():
        monkeypatch.setenv(name, value)
    return call


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs of ``tmp_path/grid`` are worked on by stand-ins; call it to say what becomes of which run."""

    def command(folder: StudyDir, name: str, *options: str) -> list[str]:
        return [sys.executable, str(STAND_IN), *options, str(folder.path), name]

    def behave(**behaviour: str) -> None:
        file = tmp_path / "grid" / "behaviour.json"
        file.with_suffix(".new").write_text(json.dumps(behaviour))
        file.with_suffix(".new").rename(file)

    monkeypatch.setattr("gipo_cli.sweep.worker.worker_command", command)
    return behave
