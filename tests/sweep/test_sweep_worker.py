"""One run of a study, whatever state it is in; in this process, with the real training loop."""

import json
import os
import shutil
from pathlib import Path

import pytest
from sweep_harness import assert_same_runs, break_off, finished, only, planned, tiny

from gipo_cli.commands import sweep_worker
from gipo_cli.commands.sweep_worker import work, work_apart
from gipo_cli.errors import UserError
from gipo_cli.learning.learner import Learner
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.lock import run_lock
from gipo_cli.runs.status import StatusFile, read_status
from gipo_cli.sweep import attempt
from gipo_cli.sweep.plan import plan
from gipo_cli.sweep.state import finished_in, observe
from gipo_cli.training.session import resume

ONE = ("objective=gipo", "seed=1")


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


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder, _ = planned(tmp_path, *ONE)
    assert sweep_worker.main([str(folder.path), "no-such-run"]) == 2
    assert "has no run 'no-such-run'" in capsys.readouterr().err
    assert sweep_worker.main([str(tmp_path / "nowhere"), "x"]) == 2
    assert "study.json cannot be read" in capsys.readouterr().err


def test_a_trial_measures_with_a_full_buffer(monkeypatch: pytest.MonkeyPatch):
    (run,) = plan([*tiny(1536), *ONE]).runs
    held = []
    update = Learner.update
    monkeypatch.setattr(
        Learner, "update", lambda learner, steps: held.append(len(learner.buffer)) or update(learner, steps)
    )
    trial = sweep_worker.try_out(json.dumps(run.config.model_dump(mode="json")))
    assert held == 2 * [run.config.buffer_size]
    assert trial.steps == run.config.rollout_size
    assert min(trial.model_dump().values()) > 0
    monkeypatch.setattr(sweep_worker, "free_memory", lambda: 0)
    sweep_worker.try_out(json.dumps(run.config.model_dump(mode="json")))
    assert held[2:] == [run.config.rollout_size, 2 * run.config.rollout_size], "memory is short"
