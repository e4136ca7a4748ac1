"""One run of a study, whatever state it is in; in this process, with the real training loop."""

import errno
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from sweep_harness import assert_same_runs, numbers, planned, tiny

from gipo_cli.commands import sweep_worker
from gipo_cli.commands.sweep_worker import work, work_apart
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.runs.checkpoint import CheckpointStore, Tree
from gipo_cli.runs.durable import write_sealed
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.lock import run_lock
from gipo_cli.runs.status import StatusFile, read_status
from gipo_cli.sweep import attempt
from gipo_cli.sweep.folder import StudyDir, read_study
from gipo_cli.sweep.plan import PlannedRun, plan
from gipo_cli.sweep.state import finished_in, last_words, observe
from gipo_cli.training.session import resume

ONE = ("objective=gipo", "seed=1")


def only(root: Path) -> tuple[StudyDir, PlannedRun]:
    folder = StudyDir(root / "grid")
    return folder, read_study(folder).runs[0]


def finished(root: Path, reference: Path) -> Path:
    shutil.copytree(reference / "grid", root / "grid")
    return root / "grid"


def break_off(path: Path, step: int) -> None:
    """What a process leaves that was killed some iterations after it had saved ``step``."""
    store = CheckpointStore(RunDir(path).checkpoints)
    for saved in store.steps():
        if saved > step:
            for file in store.path(saved).iterdir():
                file.unlink()
            store.path(saved).rmdir()
    StatusFile(RunDir(path).status, total_steps=1536, step=step)


@pytest.mark.parametrize("step", ["work", "work_apart"])
def test_starts_then_says_that_it_is_finished(
    tmp_path: Path, reference: Path, capsys: pytest.CaptureFixture[str], step: str
):
    folder, study = planned(tmp_path, *ONE)
    run = study.runs[0]
    assert observe(folder, run).state == "waiting"
    assert getattr(sweep_worker, step)(folder, run) == 0
    assert_same_runs(folder.path, reference / "grid", [run.name])
    assert observe(folder, run).state == "done"
    assert not folder.attempts(run.name).exists()
    assert (folder.run(run.name) / "overrides.txt").read_text().splitlines() == list(run.overrides)
    capsys.readouterr()
    before = (folder.run(run.name) / "status.json").read_bytes()
    assert getattr(sweep_worker, step)(folder, run) == 0
    assert capsys.readouterr().out == f"{run.name} is finished: 1536 steps\n"
    assert (folder.run(run.name) / "status.json").read_bytes() == before


@pytest.mark.parametrize("step", [work, work_apart])
def test_goes_on_after_a_kill_and_with_more_steps(tmp_path: Path, reference: Path, step):
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    break_off(path / run.name, 1280)
    assert observe(folder, run).state == "interrupted"
    assert step(folder, run) == 0
    assert_same_runs(path, reference / "grid", [run.name])
    planned(tmp_path, *ONE, steps=2048)
    folder, run = only(tmp_path)
    assert observe(folder, run).state == "interrupted"
    assert observe(folder, run).left == 512
    assert step(folder, run) == 0
    assert_same_runs(path, reference / "longer" / "grid", [run.name])
    assert read_status(RunDir(path / run.name).status).total_steps == 2048
    # The new budget is sealed in the run's own configuration: a further attempt goes on from there.
    break_off(path / run.name, 1792)
    assert step(folder, run) == 0
    assert_same_runs(path, reference / "longer" / "grid", [run.name])


def test_killed_after_its_last_checkpoint(tmp_path: Path, reference: Path):
    """Everything is on disk but the word ``done``."""
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    StatusFile(RunDir(path / run.name).status, total_steps=1536, step=1536)
    assert observe(folder, run).state == "interrupted"
    assert work(folder, run) == 0
    assert finished_in(path / run.name, run)
    assert_same_runs(path, reference / "grid", [run.name])


def test_a_folder_without_a_configuration_is_begun_anew(tmp_path: Path):
    folder, study = planned(tmp_path, *ONE)
    run = study.runs[0]
    folder.run(run.name).mkdir()
    (folder.run(run.name) / "overrides.txt").write_text("half a run\n")
    # What the sweep itself is just about to rename is none of the worker's business.
    half_written = folder.private / ".tmp-1-trials.json"
    half_written.write_text("{")
    assert work(folder, run) == 0
    assert finished_in(folder.run(run.name), run)
    assert half_written.exists()


@pytest.mark.parametrize("step", [work, work_apart])
def test_data_without_a_configuration_is_never_trained_over(tmp_path: Path, reference: Path, step):
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    RunDir(path / run.name).config.unlink()
    before = {file: file.stat().st_mtime_ns for file in (path / run.name).rglob("*")}
    for _ in range(2):
        assert observe(folder, run).state == "failed"
        with pytest.raises(UserError, match=r"config\.yaml is missing; restore it, or move that folder away"):
            step(folder, run)
        # Nor is it put aside for another attempt.
        attempt.continue_as(reference / "grid" / run.name, attempt.new_attempt(folder, run))
    assert {file: file.stat().st_mtime_ns for file in (path / run.name).rglob("*")} == before


def test_refuses_while_another_process_works(tmp_path: Path):
    folder, study = planned(tmp_path, *ONE)
    run = study.runs[0]
    folder.claims.mkdir()
    with run_lock(folder.claim(run.name)), pytest.raises(UserError, match=f"process {os.getpid()}"):
        work(folder, run)
    assert not folder.run(run.name).exists()


def test_refuses_a_run_with_other_settings(tmp_path: Path, reference: Path):
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    resume(
        path / run.name,
        overrides=["total_steps=2048", "agent.update.rounds=5"],
        allow_changes=True,
        quiet=True,
    )
    planned(tmp_path, *ONE, steps=2048)
    folder, run = only(tmp_path)
    StatusFile(RunDir(path / run.name).status, total_steps=2048, step=100)
    for step in (work, work_apart):
        with pytest.raises(UserError, match="other settings than the study's"):
            step(folder, run)


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


def test_an_attempt_killed_while_it_published_is_found(tmp_path: Path, reference: Path):
    """Between the two renames the run's folder is missing; the finished attempt is still there."""
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    own = attempt.new_attempt(folder, run)
    (path / run.name).rename(own)
    assert observe(folder, run).state == "done"
    for step in (work_apart, work):
        assert step(folder, run) == 0
        assert_same_runs(path, reference / "grid", [run.name])
        assert not folder.attempts(run.name).exists()


def test_work_here_takes_over_from_a_cluster(tmp_path: Path, reference: Path):
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    own = attempt.new_attempt(folder, run)
    (path / run.name).rename(own)
    break_off(own, 1024)
    assert work(folder, run) == 0
    assert read_status(RunDir(path / run.name).status).step == 1536
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


def test_goes_on_apart_after_a_kill_before_the_first_checkpoint(tmp_path: Path, reference: Path):
    folder, study = planned(tmp_path, *ONE)
    (run,) = study.runs
    killed = attempt.new_attempt(folder, run)
    shutil.copytree(reference / "grid" / run.name, killed)
    shutil.rmtree(RunDir(killed).checkpoints)
    for table in (RunDir(killed).metrics, RunDir(killed).evaluations):
        lines = table.read_text().splitlines(keepends=True)
        table.write_text("".join(lines[:2] if table == RunDir(killed).metrics else lines[:1]))
    StatusFile(RunDir(killed).status, total_steps=1536, step=100)
    assert work_apart(folder, run) == 0
    assert_same_runs(folder.path, reference / "grid", [run.name])


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


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder, _ = planned(tmp_path, *ONE)
    assert sweep_worker.main([str(folder.path), "no-such-run"]) == 2
    assert "has no run 'no-such-run'" in capsys.readouterr().err
    assert sweep_worker.main([str(tmp_path / "nowhere"), "x"]) == 2
    assert "study.json cannot be read" in capsys.readouterr().err


def test_last_words(tmp_path: Path, reference: Path):
    path = finished(tmp_path, reference)
    folder, run = only(tmp_path)
    assert last_words(folder, run.name, 1)[0].endswith("saved")
    folder.output(run.name).write_text("".join(f"line {n}\n" for n in range(9)) + "\n")
    assert last_words(folder, run.name, 2) == ["line 7", "line 8"]
    assert len(numbers(path / run.name / "eval.csv")) == 3


def test_a_trial_measures_with_a_full_buffer(monkeypatch: pytest.MonkeyPatch):
    (run,) = plan([*tiny(1536), *ONE]).runs
    held = []
    update = GIPO.update
    monkeypatch.setattr(GIPO, "update", lambda agent: held.append(len(agent.buffer)) or update(agent))
    trial = sweep_worker.try_out(json.dumps(run.config.model_dump(mode="json")))
    assert held == [run.config.rollout_size, run.config.buffer_size]
    assert trial.steps == run.config.rollout_size
    assert min(trial.model_dump().values()) > 0
    monkeypatch.setattr(sweep_worker, "free_memory", lambda: 0)
    sweep_worker.try_out(json.dumps(run.config.model_dump(mode="json")))
    assert held[2:] == [run.config.rollout_size, 2 * run.config.rollout_size], "memory is short"
