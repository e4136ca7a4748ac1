"""Printing is never a reason to fail."""

import os
import subprocess
import sys
import threading

import pytest

from gipo_cli.commands.app import main
from gipo_cli.runs.status import read_status
from gipo_cli.streams import Lasting, waiting

TINY = (
    "env=gymnasium env.id=Pendulum-v1 total_steps=64 agent.rollout_steps=32 agent.update.rounds=1 "
    "agent.update.batch_size=16 eval.interval=null eval.episodes=1 diagnostics=never "
    "runtime.env_timeout_s=null"
)


def full():
    return open("/dev/full", "w")


def left():
    """A pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


def terminal(*, closes):
    """A terminal that is closed at the start, or in the middle, when something was shown."""
    ours, theirs = os.openpty()
    if closes == "start":
        os.close(ours)
    else:
        threading.Thread(target=lambda: (os.read(ours, 1), os.close(ours)), daemon=True).start()
    return os.fdopen(theirs, "w")


STREAMS = {
    "disk": full,
    "pipe": left,
    "start": lambda: terminal(closes="start"),
    "middle": lambda: terminal(closes="middle"),
    "none": lambda: None,
}


def ended(monkeypatch, stream, *words):
    monkeypatch.setattr("sys.argv", ["gipo", *words])
    monkeypatch.setattr("sys.stdout", stream)
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.mark.parametrize("kind", STREAMS)
def test_a_run_goes_on_whatever_becomes_of_what_it_prints(kind, monkeypatch, tmp_path, capsys):
    words = ["train", "--runs", str(tmp_path), "--name", "r", *TINY.split()]
    assert ended(monkeypatch, STREAMS[kind](), *words) == 0
    assert read_status(tmp_path / "r" / "status.json").state == "done"
    assert capsys.readouterr().err == ""


def test_a_sweep_goes_on_whatever_becomes_of_what_it_prints(monkeypatch, tmp_path, capsys):
    words = ["sweep", "--dry-run", "--runs", str(tmp_path), "seed=1,2", *TINY.split()]
    assert ended(monkeypatch, full(), *words) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("kind", "code"), [("disk", 1), ("pipe", 0), ("start", 0), ("none", 0)])
def test_a_command_that_prints_says_where_that_is_not_whole(kind, code, monkeypatch, capsys):
    assert ended(monkeypatch, STREAMS[kind](), "list", "objectives") == code
    said = "error: what was printed is not whole: No space left on device\n"
    assert capsys.readouterr().err == (said if code else "")


def test_an_error_can_be_told_to_nobody(monkeypatch):
    monkeypatch.setattr("sys.stderr", full())
    assert ended(monkeypatch, full(), "show", "nothing-of-this-name") == 2


def test_what_is_lost_is_known():
    stream = Lasting(full())
    stream.write("x")
    assert stream.lost is None
    stream.flush()
    assert stream.lost == "No space left on device"
    stream.write("x" * 100_000)
    stream.flush()
    assert stream.lost == "No space left on device"


def test_what_is_printed_takes_the_place_of_what_was_waited_for(monkeypatch):
    ours, theirs = os.openpty()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", Lasting(os.fdopen(os.dup(theirs), "w")))
    waiting("starting ...")
    for text in ("seed: 1\n", "env: x\n"):
        sys.stdout.write(text)
        sys.stdout.flush()
    assert os.read(ours, 1000) == b"\x1b[2Kstarting ...\r\x1b[2K\rseed: 1\r\nenv: x\r\n"


def test_a_command_says_that_it_starts_before_it_loads_what_is_heavy(tmp_path):
    code = (
        "import sys\nfrom unittest.mock import patch\nfrom gipo_cli.commands import app, parsing\n"
        "heavy = {'torch', 'numpy', 'mujoco', 'gymnasium', 'hydra', 'scipy', 'matplotlib'}\n"
        "def told(text):\n    assert not text or not heavy & set(sys.modules)\n    print(text)\n"
        "with patch.object(parsing, 'waiting', told):\n    app.main()"
    )
    command = [sys.executable, "-c", code, "train", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("starting ...\nseed: 1")
