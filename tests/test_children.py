"""No file of the current directory runs as code, in this package's processes and in those of others."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gipo_cli import children

NAMES = ("torch", "ctypes", "multiprocessing", "mujoco", "gymnasium", "typing", "subprocess", "sitecustomize")
TINY = ["total_steps=200", "agent.rollout_steps=100", "agent.update.rounds=1", "agent.update.batch_size=50",
        "eval.interval=null", "eval.episodes=1", "runtime.env_timeout_s=60"]  # fmt: skip
PENDULUM = ["env=gymnasium", "env.id=Pendulum-v1"]


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A directory full of modules that leave a mark when they are imported."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(
            f"import pathlib\npathlib.Path({str(tmp_path)!r}, 'ran-{name}').touch()\nraise SystemExit(66)\n"
        )
    return tmp_path


def gipo(folder: Path, *words: str, **extra: str) -> str:
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIPO_")} | extra
    # What the console script is: a program that does not lie in the current directory.
    program = [sys.executable, "-P", "-c", "from gipo_cli.commands.app import main; main()"]
    done = subprocess.run([*program, *words], cwd=folder, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert not [file.name for file in folder.iterdir() if file.name.startswith("ran-")]
    return done.stdout


def test_training_with_processes_and_a_watchdog_and_a_film(planted: Path):
    """MuJoCo and GLFW start processes of their own; no renderer complains when the program ends."""
    many = ["env.vector=subproc", "env.n_envs=2", "env.max_episode_steps=5"]
    # A renderer that is missing on most machines, in capitals: who trains draws nothing.
    gipo(planted, "train", *TINY, *many, "--name", "r", "--quiet", MUJOCO_GL="OSMesa")
    gipo(planted, "video", "r", "--out", "a.gif")


def test_a_sweep(planted: Path):
    gipo(planted, "sweep", *PENDULUM, *TINY, "seed=1,2", "--name", "s", "-j", "1")


def test_the_module_is_as_safe_as_the_console_script(planted: Path):
    """``python -m`` itself looks into the current directory first, until the package is found."""
    for name in ("json", "logging", "pathlib", "yaml", "hydra", "typer"):
        shutil.copy(planted / "torch.py", planted / f"{name}.py")
    command = [sys.executable, "-m", "gipo_cli", "train", *PENDULUM, "--dry-run"]
    done = subprocess.run(command, cwd=planted, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(planted.glob("ran-*"))


@pytest.mark.parametrize("first", ["", "HERE", "OTHER"])
def test_protection_takes_the_current_directory_off_the_search_path_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    path = [{"HERE": str(tmp_path), "OTHER": "/usr/lib"}.get(first, first), "/usr/share"]
    monkeypatch.setattr(sys, "path", path)
    children.protect()
    assert path == (["/usr/lib", "/usr/share"] if first == "OTHER" else ["/usr/share"])
    assert os.environ["PYTHONSAFEPATH"] == "1"


def test_a_child_starts_by_the_hidden_command_alone():
    assert children.command("watchdog", "a b")[1:] == ["-P", "-m", "gipo_cli", "--child", "watchdog", "a b"]
    assert children.environment(MINE="2").items() >= {"PYTHONSAFEPATH": "1", "MINE": "2"}.items()
    done = subprocess.run(children.command("nobody"), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: there is no child process 'nobody'\n")
