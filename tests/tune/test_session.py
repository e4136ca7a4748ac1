"""``gipo tune`` as a command, with real runs in this process."""

import csv
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from sweep_harness import PLAIN, TINY

from gipo_cli.commands.app import main
from gipo_cli.commands.sweep_worker import work
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.status import read_status
from gipo_cli.settings.compose import compose
from gipo_cli.settings.files import with_files
from gipo_cli.sweep.engine import Engine
from gipo_cli.sweep.folder import read_study
from gipo_cli.sweep.options import Options

SEARCH = (
    *(word for word in TINY if not word.startswith(("total_steps", "eval", "checkpoint", "buffer"))),
    "total_steps=512", "eval.episodes=1", "buffer.size=128", "agent.policy.hidden=[8,8]", "seed=1",
    "agent.update.actor_lr=log(1e-5,1e-2)", "objective.sigma=uniform(.1,2)", "--name", "found",
    "--trials", "4", "--batch", "4",
)  # fmt: skip


class InProcess(Engine[None]):
    """Does each run here; ends the search by a signal after so many runs."""

    left = 1_000

    def _start(self, name: str) -> None:
        if InProcess.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        InProcess.left -= 1
        assert work(self.folder, read_study(self.folder, only=name).runs[0]) == 0

    def _ended(self, name: str, task: None) -> str:
        return ""

    def _end(self, task: None, *, at_once: bool) -> None: ...


@pytest.fixture
def tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """``gipo tune --runs FOLDER ...``, stopped after so many runs: exit code and what it printed."""

    def call(*words: str, root: Path = tmp_path, runs: int = 1_000) -> tuple[int, str]:
        monkeypatch.setattr(InProcess, "left", runs)
        monkeypatch.setattr(sys, "argv", ["gipo", "tune", "--runs", str(root), *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out + said.err

    for name, value in PLAIN.items():
        monkeypatch.setenv(name, value)
    start: Any = lambda options, folder, study, jobs: InProcess(folder, 1)  # noqa: E731
    monkeypatch.setattr(Options, "start", start)
    monkeypatch.setattr("gipo_cli.sweep.session.measure", lambda *words, **more: ({}, []))
    return call


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_search_stopped_and_typed_again_finds_what_an_undisturbed_one_does(tmp_path: Path, tune):
    code, said = tune(*SEARCH, "--dry-run")
    assert (code, list(tmp_path.iterdir())) == (0, [])
    # 4 x 128 + 2 x 128 + 256 steps of 4 x 512.
    assert "4 trials of 1 run over agent.update.actor_lr, objective.sigma" in said
    assert "4 to 128, 2 to 256, 1 to 512 steps; 1,024 in all (2,048 without pruning)" in said

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    code, said = tune(*SEARCH, root=whole)
    assert code == 0, said
    assert "too few trials to tell which setting matters" in said
    assert f"gipo train {whole / 'found' / 'best.yaml'}" in said
    for runs in (2, 3):
        assert tune(*SEARCH, root=broken, runs=runs)[0] == 128 + signal.SIGTERM
        assert not (broken / "found" / "best.yaml").exists()
    assert tune(*SEARCH, root=broken)[0] == 0
    for file in ("trials.csv", "importance.csv", "best.yaml"):
        assert (whole / "found" / file).read_bytes() == (broken / "found" / file).read_bytes()

    found = rows(whole / "found" / "trials.csv")
    assert [row["steps"] for row in found] == ["512", "256", "128", "128"]
    steps = {row["runs"]: read_status(RunDir(whole / "found" / row["runs"]).status).step for row in found}
    assert [steps[row["runs"]] for row in found] == [512, 256, 128, 128]
    best = compose(with_files([str(whole / "found" / "best.yaml")])).config
    assert best.agent.update.actor_lr == float(found[0]["agent.update.actor_lr"])
    assert best.objective.sigma == float(found[0]["objective.sigma"])  # type: ignore[attr-defined]
    assert (best.env.id, best.total_steps, best.agent.policy.hidden) == ("Pendulum-v1", 512, [8, 8])

    # Typed again there is nothing to do; another search has no business there.
    assert tune(*SEARCH, root=whole, runs=0)[0] == 0
    code, said = tune(*SEARCH, "agent.advantage.gamma=0.9", root=whole)
    assert (code, "was made by another search" in said) == (2, True)
    code, said = tune(*SEARCH[:-2], "--batch", "2", root=whole)
    assert (code, "--batch=2 here" in said) == (2, True)


def test_a_missing_optuna_is_named(tmp_path: Path, tune, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert tune(*SEARCH) == (2, "error: Optuna is not installed; type: pip install optuna\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trials", "1"], "--trials"),
        (["--batch", "0"], "--batch"),
        (["seed=choice(1,2)"], "type its values as seed=a,b"),
        (["--backend", "lsf"], "there is no backend 'lsf'"),
    ],
)
def test_mistakes_write_nothing(tmp_path: Path, tune, words, said):
    code, printed = tune(*words)
    assert (code, said in printed, len(printed.splitlines())) == (2, True, 1)
    assert not list(tmp_path.iterdir())
