"""What a run of a study is doing."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
from sweep_harness import finished, held_elsewhere, numbers, only, planned

from gipo_cli.runs.durable import write_sealed
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.lock import run_lock
from gipo_cli.runs.status import StatusFile
from gipo_cli.sweep import attempt
from gipo_cli.sweep.state import last_words, observe

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
