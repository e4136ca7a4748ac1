"""What a run of a study is doing."""

import json
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest
from sweep_harness import finished, held_elsewhere, numbers, only, planned

from gipo_cli.commands.list import _progress
from gipo_cli.commands.sweep_worker import work
from gipo_cli.compare.load import read_runs
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import write_sealed
from gipo_cli.runs.layout import RunDir, find, list_runs
from gipo_cli.runs.lock import holder, run_lock
from gipo_cli.runs.status import StatusFile
from gipo_cli.sweep import attempt
from gipo_cli.sweep.state import last_words, observe, what_is_lost

ONE = ("objective=gipo", "seed=1")


def test_a_long_evaluation_elsewhere_is_not_silence(tmp_path: Path, reference: Path):
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    own = RunDir(attempt.new_attempt(folder, run))
    shutil.move(path / run.name, own.path)
    status = StatusFile(own.status, total_steps=1536).status
    silent = status.model_copy(update={"heartbeat": status.heartbeat - 3600})
    write_sealed(own.status, silent.model_dump(mode="json"))
    assert observe(folder, run).state == "interrupted"
    with run_lock(own.lock):
        assert observe(folder, run).state == "running"
    assert observe(folder, run).state == "interrupted"


def test_a_run_that_is_being_made_is_never_taken_for_broken(tmp_path: Path):
    """Looked at before every operation on its files."""
    folder, study = planned(tmp_path, *ONE, steps=128)
    run = study.runs[0]
    own, seen = folder.run(run.name), set()

    def look():
        assert what_is_lost(own) is None
        states = {observe(folder, run).state, *(_progress(there)[0] for there in list_runs(tmp_path))}
        held = holder(RunDir(own).lock) is not None
        try:
            find(tmp_path, f"grid/{run.name}")
        except UserError as error:
            states.add(str(error) if held else "not yet")
        if RunDir(own).exists():
            states |= {out.reason for out in read_runs([own])[1]}
        seen.update(states)

    watching = True

    def hook(event, arguments):
        nonlocal watching
        if (
            watching
            and event in ("open", "os.rename", "os.mkdir", "os.remove")
            and run.name in str(arguments)
        ):
            watching = False
            look()
            watching = True

    sys.addaudithook(hook)
    try:
        assert work(folder, run) == 0
    finally:
        watching = False
    told = f"{own} is just being started; type this again in some seconds"
    assert seen == {"waiting", "starting", "not yet", told, "just being started", "running", "done"}


def test_attempts_may_go_while_they_are_looked_at(tmp_path: Path, reference: Path, monkeypatch):
    finished(tmp_path, reference)
    folder, run = only(tmp_path)
    attempts = attempt.new_attempt(folder, run).parent

    def gone(path):
        shutil.rmtree(path)  # as the process that publishes the run does
        return os.listdir(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", gone)
        assert observe(folder, run).state == "done"
    assert not attempts.exists()
    assert observe(folder, run).state == "done"


def test_last_words(tmp_path: Path, reference: Path):
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    assert last_words(folder, run.name, 1)[0].endswith("saved")
    folder.output(run.name).write_text("".join(f"line {n}\n" for n in range(9)) + "\n")
    assert last_words(folder, run.name, 2) == ["line 7", "line 8"]
    folder.output(run.name).write_text("\x1b]0;title\x07hello\n")
    assert last_words(folder, run.name) == [r"\x1b]0;title\x07hello"]
    folder.output(run.name).unlink()
    os.mkfifo(folder.output(run.name))
    assert last_words(folder, run.name, 1)[0].endswith("saved")
    assert len(numbers(path / run.name / "eval.csv")) == 3


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
