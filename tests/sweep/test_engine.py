"""The local engine, with stand-ins for workers."""

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from sweep_harness import planned, until

from gipo_cli.runs.status import StatusFile
from gipo_cli.sweep.engine import LocalEngine
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.state import observe


def held_elsewhere(folder: StudyDir, name: str, beat: int) -> None:
    """The claim as a process on another host leaves it, or one of this machine before its name changed."""
    folder.claims.mkdir(exist_ok=True)
    record = {"host": "a-container-before", "pid": 17, "beat": beat}
    descriptor = os.open(folder.claim(name), os.O_WRONLY | os.O_CREAT)
    os.pwrite(descriptor, json.dumps(record).ljust(511).encode() + b"\n", 0)
    os.close(descriptor)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("gipo_cli.sweep.engine.BEAT_SECONDS", 0.1)
    return 0.4


def test_a_claim_left_under_another_hostname_is_taken_once_it_is_silent(
    tmp_path: Path, stand_ins, patience: float
):
    folder, study = planned(tmp_path, "objective=gipo", "seed=1,2")
    (left, free) = (run.name for run in study.runs)
    held_elsewhere(folder, left, 5)
    engine = LocalEngine(folder, 2)
    engine.submit([left, free])
    begun, ended = time.monotonic(), engine.poll()
    assert engine.active() == [free, left], "it does not keep others waiting"
    until(lambda: ended.update(engine.poll()) or len(ended) == 2, "both ends", 60)
    assert time.monotonic() - begun > patience
    assert ended == {left: "", free: ""}
    assert all(observe(folder, run).state == "done" for run in study.runs)


def test_a_claim_of_another_host_that_beats_is_left_alone(
    tmp_path: Path, stand_ins, patience: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gipo_cli.sweep.engine.HELD_SECONDS", 1.5)
    folder, study = planned(tmp_path, "objective=gipo", "seed=1")
    name = study.runs[0].name
    end = threading.Event()

    def beat() -> None:
        count = 0
        while not end.wait(0.05):
            held_elsewhere(folder, name, count := count + 1)

    held_elsewhere(folder, name, 0)
    other = threading.Thread(target=beat)
    other.start()
    engine = LocalEngine(folder, 1)
    engine.submit([name])
    ended: dict[str, str] = {}
    try:
        until(lambda: ended.update(engine.poll()) or ended, "the end of patience", 30)
    finally:
        end.set()
        other.join()
    assert engine.notes == [f"waiting for process 17 on a-container-before, which works on {name}"]
    assert ended[name].startswith("is being written by process 17 on a-container-before; stop that one")
    assert not folder.run(name).exists()


def test_what_a_run_under_another_hostname_is_doing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, study = planned(tmp_path, "objective=gipo", "seed=1")
    run = study.runs[0]
    folder.run(run.name).mkdir()
    (folder.run(run.name) / "config.yaml").touch()
    StatusFile(folder.run(run.name) / "status.json", total_steps=1536, step=100)
    held_elsewhere(folder, run.name, 3)
    assert observe(folder, run).state == "running"
    monkeypatch.setattr("gipo_cli.runs.status.SILENT_SECONDS", -1.0)
    assert observe(folder, run).state == "interrupted"
    # Of a process of this host the kernel knows more than any clock: it has ended.
    record = {"host": socket.gethostname(), "pid": os.getpid(), "beat": 1}
    folder.claim(run.name).write_text(json.dumps(record).ljust(511) + "\n")
    monkeypatch.setattr("gipo_cli.runs.status.SILENT_SECONDS", 60.0)
    assert observe(folder, run).state == "interrupted"
