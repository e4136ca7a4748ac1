"""Sweeps of tiny runs, to be killed anywhere."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import warm

from gipo_cli.commands.sweep_worker import work
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.durable import write_sealed
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.status import Status, StatusFile, read_status
from gipo_cli.sweep.estimate import Trial
from gipo_cli.sweep.folder import StudyDir, read_study, write_study
from gipo_cli.sweep.plan import PlannedRun, Study, plan

TINY = (
    "env=gymnasium",
    "env.id=Pendulum-v1",
    "total_steps=1536",
    "agent.rollout_steps=128",
    "agent.update.rounds=4",
    "buffer.size=512",
    "eval.interval=512",
    "eval.episodes=1",
    "checkpoint.interval=256",
    "logging=csv",
)
PLAIN = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb", "OMP_NUM_THREADS": "1"}
PATIENCE = 180.0
STAND_IN = Path(__file__).with_name("stand_in.py")


def tiny(steps: int) -> list[str]:
    """The overrides of a tiny run of so many steps."""
    return [f"total_steps={steps}" if word.startswith("total_steps=") else word for word in TINY]


def planned(root: Path, *overrides: str, steps: int = 1536) -> tuple[StudyDir, Study]:
    """A study's folder with its plan and no run yet."""
    study = plan([*tiny(steps), *overrides], name="grid")
    folder = StudyDir(root / "grid")
    write_study(folder, study, command="")
    return folder, study


def undisturbed(root: Path, *overrides: str, steps: int = 1536) -> Path:
    """The study's folder after all runs went through in this process."""
    folder, study = planned(root, *overrides, steps=steps)
    assert [work(folder, run) for run in study.runs] == [0] * len(study.runs)
    return folder.path


def with_trial(root: Path, *overrides: str, size: int = 2**28) -> StudyDir:
    """A study's folder in which the trial is done already, to save its time."""
    words = [word for word in overrides if "=" in word and not word.startswith("-")]
    study = plan(words, name="grid")
    folder = StudyDir(root / "grid")
    write_study(folder, study, command="")
    trial = Trial(seconds=0.1, steps=128, start=1.0, evaluation=0.1, bytes=size)
    config = study.runs[0].config
    key = f"gymnasium {config.env.id} {config.buffer_size} {config.agent.rollout_steps}"
    write_sealed(folder.private / "trials.json", {key: trial.model_dump()})
    return folder


def command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "gipo_cli", "sweep", "--runs", str(root), *arguments]


def start(root: Path, *arguments: str, output: int | None = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return warm.Warm(
        ["sweep", "--runs", root, *arguments],
        stdout=output,
        stderr=subprocess.STDOUT,
        env=os.environ | PLAIN,
        start_new_session=True,
    )


def finish(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | PLAIN
    return warm.finish(["sweep", "--runs", root, *arguments], cwd=None, env=environment, timeout=PATIENCE)


def plant(folder: Path) -> Path:
    """Put files there that stand for modules of others; returns the mark that running one of them leaves."""
    mark = folder / "planted-code-ran"
    for name in ("ctypes", "multiprocessing", "numpy", "pickle", "psutil", "ray", "socket", "torch"):
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\nraise SystemExit(7)\n")
    return mark


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something, with a limit that only a fault reaches."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Act beside a sweep that goes on in this process; a failure there ends the sweep and is raised here."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            act()
        except BaseException as error:
            failures.append(error)
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=guarded)
    thread.start()
    yield
    thread.join()
    if failures:
        raise failures[0]


def workers(root: Path) -> list[psutil.Process]:
    """Processes that work on runs below a folder, and those started by them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        works = any(word == "sweep-worker" or word.endswith("stand_in.py") for word in words)
        if works and any(str(root) in word for word in words):
            found.append(process)
    return found


def names_of(study: Path) -> list[str]:
    """Names of the runs that have a folder."""
    return sorted(path.name for path in study.iterdir() if path.is_dir() and not path.name.startswith("."))


def attempts_of(study: Path) -> list[Path]:
    """Status files of attempts that are not published yet."""
    return list((study / ".sweep").glob("*.attempts/*/status.json"))


def statuses(study: Path) -> dict[str, Status]:
    """By name of run, those that can be read."""
    runs = (RunDir(path) for path in study.iterdir() if RunDir(path).status.exists())
    return {run.name: read_status(run.status) for run in runs}


def progress(study: Path) -> int:
    """Environment steps that any run of a study has reported."""
    return max((status.step for status in statuses(study).values()), default=0) if study.exists() else 0


def numbers(file: Path) -> list[dict[str, str]]:
    """Rows of a CSV file without its times, which are the only numbers that may differ between two runs."""
    with file.open(newline="") as handle:
        rows = [
            {name: cell for name, cell in row.items() if not name.startswith("time/")}
            for row in csv.DictReader(handle)
        ]
    assert rows
    return rows


def assert_same_runs(study: Path, reference: Path, names: Sequence[str]) -> None:
    for name in names:
        for file in ("metrics.csv", "eval.csv"):
            assert numbers(study / name / file) == numbers(reference / name / file), f"{name}/{file}"


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


def held_elsewhere(folder: StudyDir, name: str, beat: int) -> None:
    """The claim as a process on another host leaves it, or one of this machine before its name changed."""
    folder.claims.mkdir(exist_ok=True)
    record = {"host": "a-container-before", "pid": 17, "beat": beat}
    descriptor = os.open(folder.claim(name), os.O_WRONLY | os.O_CREAT)
    os.pwrite(descriptor, json.dumps(record).ljust(511).encode() + b"\n", 0)
    os.close(descriptor)
