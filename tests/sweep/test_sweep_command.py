"""``gipo sweep`` as a command: what it prints, writes and returns."""

import os
import re
import signal
import subprocess
import termios
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from sweep_harness import (
    PATIENCE,
    PLAIN,
    TINY,
    command,
    finish,
    progress,
    start,
    statuses,
    until,
    with_trial,
    workers,
)
from typer.testing import CliRunner

from gipo_cli import children
from gipo_cli.commands.app import app
from gipo_cli.runs.status import StatusFile
from gipo_cli.sweep.estimate import free_memory
from gipo_cli.sweep.local import LocalEngine
from gipo_cli.sweep.manifest import StudyDir, read_study

BROKEN = '''
import gymnasium as gym
import numpy as np

class Broken(gym.Env):
    """Its observations become NaN in its fortieth step."""
    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, broken=False):
        self.broken, self.steps = broken, 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.steps += 1
        value = np.nan if self.broken and self.steps == 40 else 0.5
        return np.full(3, value, np.float32), 1.0, False, self.steps % 20 == 0, {}

gym.register("Broken-v0", entry_point="my_broken:Broken")
'''
SMALL = tuple(word for word in TINY if not word.startswith(("env.id", "total_steps")))
GRID = (
    *SMALL,
    "env.id=Broken-v0",
    "env.imports=[my_broken]",
    "total_steps=256",
    "seed=1",
    "+env.kwargs.broken=true,false",
    "--name",
    "grid",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with an environment that fails."""
    (tmp_path / "my_broken.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_failed_run_stops_no_other(here: Path):
    with_trial(here, *GRID)
    done = finish(here, *GRID, "--jobs", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    states = {name: status.state for name, status in statuses(here / "grid").items()}
    assert sorted(states.values()) == ["done", "failed"]
    failed = next(name for name, state in states.items() if state == "failed")
    summary = done.stdout[done.stdout.index("\ngrid: 1 done, 1 failed") :]
    assert f"{failed}: " in summary
    assert "    error: " in summary
    assert "--retry-failed" in summary
    assert f"gipo list runs --runs {here / 'grid'}" in summary

    attempts = statuses(here / "grid")[failed].attempt
    again = finish(here, *GRID, "--jobs", "1")
    assert again.returncode == 1
    assert "1 failed before and are left alone; try them again with --retry-failed" in again.stdout
    assert statuses(here / "grid")[failed].attempt == attempts

    (here / "my_broken.py").write_text(BROKEN.replace("np.nan if", "0.4 if"))
    retried = finish(here, *GRID, "--jobs", "1", "--retry-failed")
    assert retried.returncode == 0, retried.stdout + retried.stderr
    assert {status.state for status in statuses(here / "grid").values()} == {"done"}


def test_dry_run_writes_nothing(tmp_path: Path):
    done = finish(tmp_path, *TINY, "objective=gipo,sapo", "--name", "grid", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 runs to do, " in done.stdout
    assert "(from a short trial)" in done.stdout
    assert not list(tmp_path.iterdir())
    assert max(map(len, done.stdout.splitlines()[:4])) <= 80


def test_runs_that_cannot_start_are_refused_with_the_plan(tmp_path: Path):
    grid = (*TINY, "env.id=Pendulm-v1", "objective=gipo,sapo")
    done = finish(tmp_path, *(word for word in grid if word != "env.id=Pendulum-v1"), "--dry-run")
    assert done.returncode == 2, done.stdout
    assert "cannot run: Gymnasium knows no environment 'Pendulm-v1'; did you mean" in done.stderr


def test_the_manifest_is_written_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class StopHereError(Exception):
        pass

    def submit(engine: LocalEngine, names: Sequence[str]) -> None:
        assert [run.name for run in read_study(StudyDir(tmp_path / "grid")).runs] == list(names)
        assert statuses(tmp_path / "grid") == {}
        raise StopHereError

    grid = (*TINY, "seed=1,2", "--name", "grid")
    with_trial(tmp_path, *grid[:-2])
    (tmp_path / "grid" / "study.json").unlink()
    monkeypatch.setattr(LocalEngine, "submit", submit)
    with pytest.raises(StopHereError):
        CliRunner().invoke(app, ["sweep", "--runs", str(tmp_path), *grid], catch_exceptions=False)


def test_a_terminal_shows_a_live_table(tmp_path: Path):
    grid = (*TINY, "seed=1,2", "--name", "grid")
    with_trial(tmp_path, *grid[:-2])
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    shown = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "CI")}
    sweep = subprocess.Popen(
        command(tmp_path, *grid),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=shown | {"TERM": "xterm", "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    os.close(theirs)
    written = b""
    with suppress(OSError):  # raised once nobody writes any more
        while part := os.read(ours, 65536):
            written += part
    os.close(ours)
    assert sweep.wait(PATIENCE) == 0
    text = written.decode()
    assert "\x1b[1A" in text, "drawn over what was there"
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").splitlines()
    rows = [line for line in lines if line.startswith("Pendulum-v1-")]
    assert any("running" in row for row in rows)
    assert any("done" in row and "100%" in row for row in rows)
    assert max(map(len, rows)) <= 80


def test_printed_commands_do_the_study(tmp_path: Path):
    root = tmp_path / "with space"
    printed = finish(root, *TINY, "seed=1,2", "--name", "grid", "--print-commands")
    assert printed.returncode == 0, printed.stderr
    lines = printed.stdout.splitlines()
    assert len(lines) == 2
    done = subprocess.run(["bash", "-c", lines[0]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    study = read_study(StudyDir(root / "grid"))
    assert statuses(root / "grid")[study.runs[0].name].state == "done"
    killed = StudyDir(root / "grid").private / ".tmp-1-trials.json"
    killed.write_text("{")
    left = finish(root, *TINY, "seed=1,2", "--name", "grid", "--print-commands").stdout.splitlines()
    assert left == lines[1:]
    assert not killed.exists()


def test_waits_for_a_run_that_somebody_else_works_on(tmp_path: Path):
    """A worker that outlived its sweep is waited for, and its run is done once."""
    grid = (*TINY, "seed=1", "--name", "grid")
    with_trial(tmp_path, *grid)
    study = read_study(StudyDir(tmp_path / "grid"))
    name = study.runs[0].name
    other = subprocess.Popen(
        children.command("sweep-worker", str(tmp_path / "grid"), name),
        env=os.environ | PLAIN,
        stdout=subprocess.DEVNULL,
    )
    until(lambda: statuses(tmp_path / "grid"), "the other's start")
    other.send_signal(signal.SIGSTOP)
    said = tmp_path / "said"
    with said.open("wb") as output:
        sweep = start(tmp_path, *grid, output=output.fileno())
    waiting = f"waiting for process {other.pid}, which works on {name}"
    until(lambda: waiting in said.read_text(), "the sweep's word")
    other.send_signal(signal.SIGCONT)
    assert other.wait(60) == 0
    assert sweep.wait(60) == 0, said.read_text()
    assert statuses(tmp_path / "grid")[name].attempt == 1


def test_status_of_an_unknown_study(tmp_path: Path):
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "study.json").write_text("{}")
    done = finish(tmp_path, "--status", "unknown")
    assert done.returncode == 2
    assert "there is no study 'unknown'" in done.stderr
    assert "there are: known" in done.stderr


def test_too_little_memory_is_said(tmp_path: Path):
    grid = (*TINY, "seed=1,2", "--name", "grid")
    with_trial(tmp_path, *grid, size=2**50)
    done = finish(tmp_path, *grid)
    assert done.returncode == 2
    assert "one run needs about 1048576.0 GiB" in done.stderr
    assert not statuses(tmp_path / "grid")


def test_fewer_at_a_time_than_asked_where_memory_is_short(tmp_path: Path):
    """A run needs over a third of what is free, so that two of three fit."""
    grid = (*TINY, "seed=1,2,3", "--name", "grid", "--jobs", "3")
    size = int(0.4 * free_memory())
    with_trial(tmp_path, *grid, size=size)
    said = tmp_path / "said"
    with said.open("wb") as output:
        sweep = start(tmp_path, *grid, output=output.fileno())
    until(lambda: len(statuses(tmp_path / "grid")) == 2, "two runs")
    assert len(workers(tmp_path)) == 2
    assert f"2 at a time instead of 3: each needs about {size / 2**30:.1f} GiB" in said.read_text()
    sweep.terminate()
    assert sweep.wait(60) == 143


@pytest.mark.parametrize(
    ("more", "jobs"),
    [((), 8), (("runtime.torch_threads=4",), 2), (("env.vector=subproc", "env.n_envs=3"), 2)],
)
def test_runs_at_a_time_go_by_the_cores_that_each_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], jobs: int
):
    grid = (*(word for word in TINY if not word.startswith("env.n_envs")), "seed=range(1,10)", *more)
    with_trial(tmp_path, *grid, size=2**20)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    result = CliRunner().invoke(app, ["sweep", "--runs", str(tmp_path), "--dry-run", *grid, "--name", "grid"])
    assert result.exit_code == 0, result.output
    assert f"9 runs to do, {jobs} at a time" in result.output


def test_second_ctrl_c_ends_at_once(tmp_path: Path):
    grid = (*TINY, "seed=1", "--name", "grid")
    with_trial(tmp_path, *grid)
    sweep = start(tmp_path, *grid)
    until(lambda: progress(tmp_path / "grid") > 0, "progress")
    sweep.terminate()
    sweep.terminate()
    assert sweep.wait(60) == 143
    assert not workers(tmp_path)


def test_status_tells_what_was_lost(tmp_path: Path):
    """A status that says ``running`` without a process behind it is an interrupted run."""
    grid = (*TINY, "seed=1", "--name", "grid")
    with_trial(tmp_path, *grid)
    folder = StudyDir(tmp_path / "grid")
    name = read_study(folder).runs[0].name
    folder.run(name).mkdir()
    (folder.run(name) / "config.yaml").write_text("")
    StatusFile(folder.run(name) / "status.json", total_steps=1536, step=768)
    shown = finish(tmp_path, "--status", "grid").stdout
    assert "1 interrupted" in shown
    assert "50%" in shown
