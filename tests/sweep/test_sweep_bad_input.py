"""Every mistake ends in one sentence and exit code 2, and leaves the disk as it was."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from sweep_harness import TINY, planned

from gipo_cli.commands.app import main

GRID = (*TINY, "seed=1,2", "--name", "grid")


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What the command says, in this process."""
    monkeypatch.setattr(sys, "argv", ["gipo", "sweep", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert end.value.code == 2, said
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


def content(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in root.rglob("*")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed="], "has no values"),
        (["sed=1,2"], "did you mean seed"),
        (["study=smoke", "seed=7"], "'seed=7' contradicts 'seed=1,2' of the study smoke"),
        (["smoke"], "type study=smoke"),
        (["conf/study/smoke.yaml"], "type study=smoke"),
        (["study=conf/study/smoke.yaml"], "type study=smoke"),
        (["seed=1-3"], "for a range write seed='range(1,4)'"),
        (["study=smok"], "did you mean smoke"),
        ([*GRID, "--jobs", "0"], "--jobs 0 would run nothing"),
        ([*GRID, "--cpus", "4"], "--cpus and --gpus are of a cluster"),
        ([*GRID, "--backend", "ray", "--address", "127.0.0.1:1"], "nothing answers at 127.0.0.1:1"),
        ([*GRID, "--backend", "pbs"], "there is no backend 'pbs'"),
        (["seed=1,2", "--name", "../up"], "cannot be a run's name"),
        ([], "name what to sweep over"),
        (["--status", "nothing"], "there is no study 'nothing'"),
        (["--status", "nothing", "seed=1"], "leave the overrides out"),
    ],
)
def test_mistakes(tmp_path: Path, capsys, monkeypatch, arguments: Sequence[str], message: str):
    assert message in refused(capsys, monkeypatch, "--runs", str(tmp_path), *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("backend", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_missing_extra(tmp_path: Path, capsys, monkeypatch, backend: str, module: str):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == module else find(name, *rest)
    )
    said = refused(capsys, monkeypatch, "--runs", str(tmp_path), *GRID, "--backend", backend)
    assert f"type: pip install 'gipo-cli[{backend}]'" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["--dry-run", "--print-commands", "--retry-failed"])
def test_a_folder_of_a_different_study(tmp_path: Path, capsys, monkeypatch, mode: str):
    planned(tmp_path, "seed=1,3")
    before = content(tmp_path)
    said = refused(capsys, monkeypatch, "--runs", str(tmp_path), *GRID, mode)
    assert "was made by a different study: seed 1,3 there, 1,2 here; choose another folder" in said
    assert content(tmp_path) == before


@pytest.mark.parametrize("damage", [lambda text: text.replace("1536", "9999"), lambda text: text[:-99]])
@pytest.mark.parametrize("asked", ["sweep", "status"])
def test_an_edited_or_cut_off_plan(tmp_path: Path, capsys, monkeypatch, damage, asked: str):
    folder, _ = planned(tmp_path, "seed=1,2")
    folder.manifest.write_text(damage(folder.manifest.read_text()))
    before = content(tmp_path)
    arguments = GRID if asked == "sweep" else ("--status", "grid")
    said = refused(capsys, monkeypatch, "--runs", str(tmp_path), *arguments)
    assert "damaged" in said
    assert "a study's plan is not edited by hand" in said
    assert content(tmp_path) == before
