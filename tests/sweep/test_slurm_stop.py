"""Stopping a sweep on SLURM, whose commands are scripts here that write down what they are sent."""

import signal
from pathlib import Path

import pytest
from rich.console import Console
from sweep_harness import planned

from gipo_cli.errors import RunFailed
from gipo_cli.runs.durable import write_sealed
from gipo_cli.sweep.drive import Sweep
from gipo_cli.sweep.estimate import Estimate
from gipo_cli.sweep.on_slurm import SlurmEngine
from gipo_cli.sweep.view import View

STOP, KILL = "7", "--signal=KILL --full 7"
COMMANDS = {
    "srun": "",
    "scontrol": "",
    "squeue": "cat queue",
    "scancel": """
        echo "$@" >> sent
        [ ! -e deaf ] || { rm deaf; echo "scancel: error: Unable to contact slurm controller" >&2; exit 1; }
        [ ! -e obeyed ] || : > queue
    """,
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands and what they keep: ``queue``, what ``scancel`` was sent, and how it behaves."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, script in COMMANDS.items():
        command = folder / name
        command.write_text(f"#!/bin/sh\ncd {folder}\n{script}\n")
        command.chmod(0o755)
    (folder / "queue").write_text("7\n")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def following(root: Path) -> tuple[SlurmEngine, Sweep]:
    """A sweep, asked to stop, of one run that is job 7 already."""
    folder, study = planned(root, "objective=gipo", "seed=1")
    write_sealed(folder.private / "jobs.json", {"jobs": {study.runs[0].name: "7"}})
    engine = SlurmEngine(folder, None, cpus=1, gpus=0, options=[])
    view = View(study.name, Console(width=80))
    return engine, Sweep(folder, study, view, Estimate(), signal=signal.SIGINT)


def drain(engine: SlurmEngine) -> list[str]:
    notes, engine.notes = engine.notes, []
    return notes


def sent(slurm: Path) -> list[str]:
    return (slurm / "sent").read_text().splitlines()


def test_a_stop_that_slurm_refuses_is_told_and_sent_again(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("gipo_cli.sweep.on_slurm.QUEUE_SECONDS", 0.2)
    for mark in ("deaf", "obeyed"):
        (slurm / mark).touch()
    engine, going = following(tmp_path)
    going.run(engine, [run.name for run in going.study.runs])
    assert sent(slurm) == [STOP, STOP]
    assert "SLURM refuses scancel: scancel: error: Unable to contact slurm" in capsys.readouterr().out
    assert not going.failed


def test_a_kill_is_sent_once_per_look_at_the_queue(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch
):
    engine, going = following(tmp_path)
    names = [run.name for run in going.study.runs]
    engine.submit(names)
    engine.stop()
    assert engine.poll() == {}
    monkeypatch.setattr("gipo_cli.sweep.on_slurm.QUEUE_SECONDS", 0.0)
    assert engine.poll() == {}
    assert sent(slurm) == [STOP]
    monkeypatch.setattr("gipo_cli.sweep.on_slurm.QUEUE_SECONDS", 60.0)
    for _ in range(5):
        engine.kill()
        assert engine.poll() == {}
    assert sent(slurm) == [STOP, KILL]
    monkeypatch.setattr("gipo_cli.sweep.on_slurm.QUEUE_SECONDS", 0.0)
    (slurm / "deaf").touch()
    assert engine.poll() == {}
    assert engine.active() == names
    (slurm / "obeyed").touch()
    assert list(engine.poll()) == names
    assert sent(slurm) == [STOP, *[KILL] * 3]


def test_a_sweep_can_be_left_where_slurm_does_not_answer(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gipo_cli.sweep.on_slurm.QUEUE_SECONDS", 0.0)
    engine, going = following(tmp_path)
    engine.submit([run.name for run in going.study.runs])
    for command in ("squeue", "scancel"):
        (slurm / command).write_text("#!/bin/sh\nexit 1\n")
    engine.stop()
    assert [engine.poll() for _ in range(9)] == [{}] * 9
    engine.kill()
    assert engine.poll() == {}
    engine.kill()
    with pytest.raises(RunFailed, match="its jobs stay, and the same command follows them"):
        engine.poll()
    assert engine.active() == [run.name for run in going.study.runs]


def test_what_slurm_says_again_and_again_is_one_note(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gipo_cli.sweep.on_slurm.QUEUE_SECONDS", 0.0)
    engine, going = following(tmp_path)
    engine.submit([run.name for run in going.study.runs])
    assert drain(engine) == ["1 runs are in SLURM's queue already and are followed"]
    engine.stop()
    for expected in (["SLURM refuses scancel: scancel: error: Unable to contact slurm controller"], []):
        (slurm / "deaf").touch()
        engine.poll()
        assert drain(engine) == expected
