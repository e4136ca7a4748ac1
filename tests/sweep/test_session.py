"""``gipo sweep`` as a command: what it prints, writes and returns."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from sweep_harness import (
    PLAIN,
    STAND_IN,
    TINY,
    meanwhile,
    planned,
    plant,
    statuses,
    until,
    with_trial,
    workers,
)

from gipo_cli.commands import sweep_worker
from gipo_cli.runs.status import StatusFile
from gipo_cli.sweep.engine import LocalEngine
from gipo_cli.sweep.estimate import free_memory
from gipo_cli.sweep.folder import StudyDir, read_study
from gipo_cli.sweep.view import View

ONE = (*TINY, "seed=1", "--name", "grid")
TWO = (*TINY, "seed=1,2", "--name", "grid")


def name_of(root: Path, index: int = 0) -> str:
    return read_study(StudyDir(root / "grid")).runs[index].name


def content(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in root.rglob("*")}


def test_a_failed_run_stops_no_other(tmp_path: Path, sweep, stand_ins):
    with_trial(tmp_path, *TWO[:-2])
    stand_ins(s1="fail")
    failed = name_of(tmp_path)
    said = sweep(*TWO, "--jobs", "1")
    assert said.code == 1
    assert [status.state for _, status in sorted(statuses(tmp_path / "grid").items())] == ["failed", "done"]
    summary = said.out[said.out.index("\ngrid: 1 done, 1 failed") :]
    assert f"{failed}: at step 768: loss is nan\n    error: the last words\n" in summary
    assert "--retry-failed" in summary
    assert f"gipo list runs --runs {tmp_path / 'grid'}" in summary

    again = sweep(*TWO)
    assert again.code == 1
    assert "1 of 2 runs are finished and skipped" in again.out
    assert "1 failed before and are left alone; try them again with --retry-failed" in again.out
    assert statuses(tmp_path / "grid")[failed].attempt == 1

    stand_ins()
    assert sweep(*TWO, "--retry-failed").code == 0
    assert {status.state for status in statuses(tmp_path / "grid").values()} == {"done"}
    assert statuses(tmp_path / "grid")[failed].attempt == 2


def test_dry_run_writes_nothing(
    tmp_path: Path, sweep, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    """And a trial runs no file of the current directory."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    mark = plant(Path.cwd())
    said = sweep(*TINY, "objective=gipo,sapo", "--name", "grid", "--dry-run")
    assert said.code == 0, said.err
    assert "2 runs to do, " in said.out
    assert "(from a short trial)" in said.out
    assert not list(tmp_path.iterdir())
    assert not mark.exists()
    assert max(map(len, said.out.splitlines()[:4])) <= 80


def test_the_manifest_is_written_before_anything_starts(
    tmp_path: Path, sweep, monkeypatch: pytest.MonkeyPatch
):
    class StopHereError(Exception):
        pass

    def submit(engine: LocalEngine, names: Sequence[str]) -> None:
        assert [run.name for run in read_study(StudyDir(tmp_path / "grid")).runs] == list(names)
        assert statuses(tmp_path / "grid") == {}
        raise StopHereError

    with_trial(tmp_path, *TWO[:-2])
    (tmp_path / "grid" / "study.json").unlink()
    monkeypatch.setattr(LocalEngine, "submit", submit)
    with pytest.raises(StopHereError):
        sweep(*TWO)


def test_a_terminal_shows_a_live_table(tmp_path: Path, sweep, stand_ins, monkeypatch: pytest.MonkeyPatch):
    with_trial(tmp_path, *TWO[:-2])
    for name, value in {"TERM": "xterm", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    stand_ins(s1="hang")

    def later() -> None:
        until(lambda: statuses(tmp_path / "grid"), "the start")
        time.sleep(1.5)
        stand_ins()

    with meanwhile(later):
        text = sweep(*TWO).out
    assert "\x1b[1A" in text, "drawn over what was there"
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").splitlines()
    rows = [line for line in lines if line.startswith("Pendulum-v1-")]
    assert any("running" in row for row in rows)
    assert any("done" in row and "100%" in row for row in rows)
    assert max(map(len, rows)) <= 80


def test_a_file_gets_lines_whatever_is_forced(
    tmp_path: Path, sweep, stand_ins, monkeypatch: pytest.MonkeyPatch
):
    with_trial(tmp_path, *ONE)
    monkeypatch.setenv("FORCE_COLOR", "1")
    said = sweep(*ONE)
    assert said.code == 0
    assert "\x1b[1A" not in said.out
    assert f"{name_of(tmp_path)}: done, step 1536 of 1536" in said.out


def test_a_plan_that_is_gone_is_written_anew(tmp_path: Path, sweep, stand_ins):
    with_trial(tmp_path, *TWO[:-2])
    assert sweep(*TWO).code == 0
    folder = StudyDir(tmp_path / "grid")
    folder.manifest.unlink()
    assert f"{folder.manifest} is missing; restore it, or write it anew" in refused(sweep("--status", "grid"))
    said = sweep(*TWO)
    assert said.code == 0
    assert f"{folder.manifest} is missing; it is written anew" in said.out
    assert "2 of 2 runs are finished and skipped" in said.out
    assert len(read_study(folder).runs) == 2


def test_a_run_that_lost_its_configuration_is_named_and_kept(tmp_path: Path, sweep, stand_ins):
    with_trial(tmp_path, *TWO[:-2])
    assert sweep(*TWO).code == 0
    lost = StudyDir(tmp_path / "grid").run(name_of(tmp_path)) / "config.yaml"
    lost.unlink()
    before = content(lost.parent)
    for more in ((), ("--retry-failed",)):
        said = sweep(*TWO, *more)
        assert said.code == 1
        assert f"{lost} is missing; restore it, or move that folder away" in said.out
    assert content(lost.parent) == before


def test_printed_commands_do_the_study(tmp_path: Path, sweep, monkeypatch: pytest.MonkeyPatch):
    """Whatever lies in the directory where they were printed."""
    monkeypatch.chdir(tmp_path)
    mark = plant(tmp_path)
    root = tmp_path / "with space"
    grid = (*TWO, "--runs", str(root), "--print-commands")
    lines = sweep(*grid).out.splitlines()
    assert len(lines) == 2
    done = subprocess.run(["bash", "-c", lines[0]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not mark.exists()
    study = read_study(StudyDir(root / "grid"))
    assert statuses(root / "grid")[study.runs[0].name].state == "done"
    killed = StudyDir(root / "grid").private / ".tmp-1-trials.json"
    killed.write_text("{")
    assert sweep(*grid).out.splitlines() == lines[1:]
    assert not killed.exists()


def test_waits_for_a_run_that_somebody_else_works_on(
    tmp_path: Path, sweep, stand_ins, monkeypatch: pytest.MonkeyPatch
):
    """A worker that outlived its sweep is waited for, and its run is done once."""
    with_trial(tmp_path, *ONE)
    stand_ins(s1="hang")
    name = name_of(tmp_path)
    other = subprocess.Popen(
        [sys.executable, str(STAND_IN), str(tmp_path / "grid"), name], env=os.environ | PLAIN
    )
    until(lambda: statuses(tmp_path / "grid"), "the other's start")
    note = View.note

    def heard(view: View, text: str) -> None:
        note(view, text)
        if text == f"waiting for process {other.pid}, which works on {name}":
            stand_ins()

    monkeypatch.setattr(View, "note", heard)
    said = sweep(*ONE)
    assert said.code == 0, said
    assert other.wait(60) == 0
    assert statuses(tmp_path / "grid")[name].attempt == 1


def test_gives_up_on_a_run_that_is_held_for_ever(
    tmp_path: Path, sweep, stand_ins, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gipo_cli.sweep.engine.HELD_SECONDS", 0.3)
    with_trial(tmp_path, *ONE)
    stand_ins(s1="hang")
    name = name_of(tmp_path)
    other = psutil.Popen(
        [sys.executable, str(STAND_IN), str(tmp_path / "grid"), name], env=os.environ | PLAIN
    )
    until(lambda: statuses(tmp_path / "grid"), "the other's start")
    said = sweep(*ONE)
    other.terminate()
    other.wait(60)
    assert said.code == 1
    assert f"{name} failed: is being written by process {other.pid}; stop that one, then type" in said.out


def test_status_of_an_unknown_study(tmp_path: Path, sweep):
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "study.json").write_text("{}")
    said = sweep("--status", "unknown")
    assert said.code == 2
    assert "there is no study 'unknown'" in said.err
    assert "there are: known" in said.err


def test_too_little_memory_is_said(tmp_path: Path, sweep):
    with_trial(tmp_path, *TWO[:-2], size=2**50)
    said = sweep(*TWO)
    assert said.code == 2
    assert "one run needs about 1048576.0 GiB" in said.err
    assert not statuses(tmp_path / "grid")


def test_fewer_at_a_time_than_asked_where_memory_is_short(tmp_path: Path, sweep, stand_ins):
    """A run needs over a third of what is free, so that two of three fit."""
    grid = (*TINY, "seed=1,2,3", "--name", "grid", "--jobs", "3")
    size = int(0.4 * free_memory())
    with_trial(tmp_path, *grid, size=size)
    stand_ins(s1="hang", s2="hang", s3="hang")

    def stop() -> None:
        until(lambda: len(statuses(tmp_path / "grid")) == 2, "two runs")
        assert len(workers(tmp_path)) == 2
        os.kill(os.getpid(), signal.SIGTERM)

    with meanwhile(stop):
        said = sweep(*grid)
    assert said.code == 143
    assert f"2 at a time instead of 3: each needs about {size / 2**30:.1f} GiB" in said.out
    assert "stopped; type the same command again to go on" in said.out
    assert [status.state for status in statuses(tmp_path / "grid").values()] == ["interrupted"] * 2


@pytest.mark.parametrize(
    ("more", "jobs"),
    [((), 8), (("runtime.torch_threads=4",), 2), (("env.vector=subproc", "env.n_envs=3"), 2)],
)
def test_runs_at_a_time_go_by_the_cores_that_each_needs(
    tmp_path: Path, sweep, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], jobs: int
):
    grid = (*(word for word in TINY if not word.startswith("env.n_envs")), "seed=range(1,10)", *more)
    with_trial(tmp_path, *grid, size=2**20)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    said = sweep("--dry-run", *grid, "--name", "grid")
    assert said.code == 0, said
    assert f"9 runs to do, {jobs} at a time" in said.out


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, sweep, stand_ins):
    with_trial(tmp_path, *ONE)
    stand_ins(s1="deaf")

    def stop() -> None:
        until(lambda: statuses(tmp_path / "grid"), "the start")
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)  # two at once would be one
        os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(stop):
        assert sweep(*ONE).code == 130
    assert not workers(tmp_path)


def test_status_tells_what_was_lost(tmp_path: Path, sweep):
    """A status that says ``running`` without a process behind it is an interrupted run."""
    with_trial(tmp_path, *ONE)
    run = StudyDir(tmp_path / "grid").run(name_of(tmp_path))
    run.mkdir()
    (run / "config.yaml").write_text("")
    StatusFile(run / "status.json", total_steps=1536, step=768)
    shown = sweep("--status", "grid").out
    assert "1 interrupted" in shown
    assert "50%" in shown


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
        ([*TWO, "--jobs", "0"], "--jobs 0 would run nothing"),
        ([*TWO, "--cpus", "4"], "--cpus and --gpus are of a cluster"),
        ([*TWO, "--backend", "ray", "--address", "127.0.0.1:1"], "nothing answers at 127.0.0.1:1"),
        ([*TWO, "--backend", "pbs"], "there is no backend 'pbs'"),
        (["seed=1,2", "--name", "../up"], "cannot be a run's name"),
        ([], "name what to sweep over"),
        (["--status", "nothing"], "there is no study 'nothing'"),
        (["--status", "nothing", "seed=1"], "leave the overrides out"),
    ],
)
def test_mistakes(tmp_path: Path, sweep, arguments: Sequence[str], message: str):
    """Every one ends in one sentence and exit code 2, and leaves the disk as it was."""
    assert message in refused(sweep(*arguments))
    assert not list(tmp_path.iterdir())


def refused(said) -> str:
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert said.err.startswith("error: ")
    return said.err


@pytest.mark.parametrize(
    "place", [".lock", ".sweep", ".sweep/claims", ".sweep/{}.out", ".sweep/{}.attempts", ".sweep/slurm", "{}"]
)
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_the_folder_is_refused_by_name(
    tmp_path: Path, sweep, capsys: pytest.CaptureFixture[str], place: str, exists: bool
):
    """Nothing is written, emptied or made behind it, by the sweep or by a worker that is started alone."""
    folder, study = planned(tmp_path, "seed=1,2")
    link = folder.path / place.format(study.runs[0].name)
    target = tmp_path / "elsewhere"
    if exists and "." in link.name[1:]:
        target.write_text("precious")
    elif exists:
        target.mkdir()
    if link.is_dir():
        link.rmdir()
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(target)
    before = content(tmp_path)
    assert f"{link} is a link" in refused(sweep(*TWO))
    assert sweep_worker.main([str(folder.path), study.runs[0].name]) == 2
    assert f"{link} is a link" in capsys.readouterr().err
    assert content(tmp_path) == before


@pytest.mark.parametrize("mode", ["--dry-run", "--print-commands", "--retry-failed"])
def test_a_folder_of_a_different_study(tmp_path: Path, sweep, mode: str):
    planned(tmp_path, "seed=1,3")
    before = content(tmp_path)
    said = refused(sweep(*TWO, mode))
    assert "was made by a different study: seed 1,3 there, 1,2 here; choose another folder" in said
    assert content(tmp_path) == before


@pytest.mark.parametrize("damage", [lambda text: text.replace("1536", "9999"), lambda text: text[:-99]])
@pytest.mark.parametrize("asked", [TWO, ("--status", "grid")])
def test_an_edited_or_cut_off_plan(tmp_path: Path, sweep, damage, asked: Sequence[str]):
    folder, _ = planned(tmp_path, "seed=1,2")
    folder.manifest.write_text(damage(folder.manifest.read_text()))
    before = content(tmp_path)
    said = refused(sweep(*asked))
    assert "damaged" in said
    assert "a study's plan is not edited by hand" in said
    assert content(tmp_path) == before
