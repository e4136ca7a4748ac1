"""Attempts at a run: copied, published, dropped."""

import errno
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from sweep_harness import assert_same_runs, break_off, finished, only

from gipo_cli.errors import RunFailed
from gipo_cli.runs.checkpoint import CheckpointStore, Tree
from gipo_cli.runs.layout import RunDir
from gipo_cli.sweep import attempt
from gipo_cli.training.session import resume

ONE = ("objective=gipo", "seed=1")


def test_attempts_never_share_a_folder(tmp_path: Path, reference: Path):
    """A process given up for dead goes on beside its successor; one of the two becomes the run."""
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    break_off(path / run.name, 768)
    old = attempt.new_attempt(folder, run)
    attempt.continue_as(path / run.name, old)
    new = attempt.new_attempt(folder, run)
    attempt.continue_as(old, new)
    assert resume(new, overrides=[], allow_changes=False, quiet=True) == 0
    assert attempt.furthest(folder, run) == new
    attempt.publish(folder, run, new)
    published = (path / run.name / "metrics.csv").stat().st_ino
    assert resume(old, overrides=[], allow_changes=False, quiet=True) == 0
    attempt.publish(folder, run, old)
    assert (path / run.name / "metrics.csv").stat().st_ino == published
    attempt.drop_attempts(folder, run)
    assert not folder.attempts(run.name).exists()
    assert_same_runs(path, reference / "grid", [run.name])


def test_copy_from_under_a_writer(tmp_path: Path, reference: Path):
    """A table grows, checkpoints appear and vanish: the copy always has what its checkpoint counts on."""
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    store = CheckpointStore(RunDir(path / run.name).checkpoints, keep_last=1)
    payload = store.load("last")
    table = RunDir(path / run.name).metrics
    end = threading.Event()

    def save_on() -> None:
        step = 2000
        while not end.wait(0.05):
            step += 1
            with table.open("ab") as file:
                file.write(b"1\n")
            state = {**payload.state, "rows": table.stat().st_size}
            store.save(step, Tree(state, payload.tensors, payload.arrays))

    writer = threading.Thread(target=save_on)
    writer.start()
    try:
        copies = []
        for _ in range(10):
            copies.append(attempt.new_attempt(folder, run))
            attempt.continue_as(path / run.name, copies[-1])
            time.sleep(0.03)
    finally:
        end.set()
        writer.join()
    for copy in copies:
        loaded = CheckpointStore(RunDir(copy).checkpoints).load("last")
        assert RunDir(copy).metrics.stat().st_size >= loaded.state.get("rows", 0)


def test_a_copy_that_the_disk_refuses_is_not_tried_again(
    tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
):
    tries = []

    def full(source: object, target: object, **options: object) -> None:
        tries.append(target)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    source = finished(tmp_path, reference) / only(tmp_path)[1].name
    monkeypatch.setattr("shutil.copyfile", full)
    files = sum(path.is_file() for path in (source / "checkpoints").rglob("*"))
    with pytest.raises(RunFailed, match=r"could not copy .*No space left on device"):
        attempt.continue_as(source, tmp_path / "attempt")
    assert 0 < len(tries) <= files
    assert not (tmp_path / "attempt").exists()


def test_a_copy_is_never_behind_its_checkpoint(
    tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
):
    """The writer saves once more between the copying of the checkpoints and of the rest."""
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    source = RunDir(path / run.name)
    store = CheckpointStore(source.checkpoints)
    copytree = shutil.copytree

    copied = []

    def interrupted(src: Path, dst: Path, *arguments: object, **options: object) -> object:
        copied.append(Path(dst))
        result = copytree(src, dst, *arguments, **options)  # type: ignore[arg-type]
        if Path(dst) == own / "checkpoints":
            with source.metrics.open("ab") as file:
                file.write(b"1\n")
            store.save(2000, store.load("last"))
        return result

    own = attempt.new_attempt(folder, run)
    monkeypatch.setattr(shutil, "copytree", interrupted)
    attempt.continue_as(source.path, own)
    assert copied[0] == own / "checkpoints", "else the order is the file system's"
    assert CheckpointStore(RunDir(own).checkpoints).steps()[-1] < 2000
    assert RunDir(own).metrics.read_bytes() == source.metrics.read_bytes()


def test_silent_attempts_go_once_another_one_goes_on(
    tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
):
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    source, silent, own = (attempt.new_attempt(folder, run) for _ in range(3))
    for copy in (source, silent, own):
        shutil.copytree(path / run.name, copy)
    attempt.drop_older(folder, run, source, own)
    assert silent.exists(), "it may have only just begun"
    monkeypatch.setattr(attempt, "OVERTAKEN_SECONDS", -1.0)
    attempt.drop_older(folder, run, source, own)
    assert (source.exists(), silent.exists(), own.exists()) == (True, False, True)
    assert (path / run.name).exists()
