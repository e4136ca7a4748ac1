import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from synthetic_runs import write_study

from gipo_cli.commands.compare import compare
from gipo_cli.compare import output, present
from gipo_cli.errors import UserError


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("watch", 0.0, "--watch 0 is no waiting time"),
        ("watch", float("nan"), "--watch nan"),
        ("threshold", float("nan"), "--threshold nan is no value"),
        ("threshold", float("inf"), "--threshold inf is no value"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_before_anything_is_read(option, value, words):
    with pytest.raises(UserError, match=words):
        compare(["nowhere"], **{option: value})


@pytest.fixture
def study(tmp_path):
    write_study(tmp_path / "runs", seeds=1, points=2, buffers=(2000,))
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda own: own.name)
@pytest.mark.parametrize("moment", ["while it draws", "while it writes"])
def test_a_signal_stops_it_and_leaves_nothing(study, monkeypatch, number, moment):
    """In this process: the handler is the command's own, and what was there before comes back."""

    def interrupted(*args, **kwargs):
        os.kill(os.getpid(), number)
        raise AssertionError("the signal was not heard")

    if moment == "while it draws":
        monkeypatch.setattr(present, "report_files", interrupted)
    else:
        monkeypatch.setattr(present, "report_files", lambda *_, **__: {"summary.json": b"{}"})
        monkeypatch.setattr(output.os, "replace", interrupted)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as caught:
        compare([str(study / "runs")], out=study / "out")
    if number != signal.SIGINT:
        assert caught.value.code == 128 + number
    assert [path.name for path in study.iterdir()] == ["runs"]
    assert signal.getsignal(number) is before


def test_killed_among_its_workers_it_leaves_neither_a_folder_nor_a_process(study):
    """Nothing can be done about SIGKILL: so nothing is there before all is computed, and workers follow."""
    code = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from gipo_cli.compare import gather, parallel, present\n"
        "def work(shared, item):\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"
        "    time.sleep(600)\n"
        "present.gather = lambda found, **_: list(parallel.spread(work, None, [0, 1], workers=2))\n"
        "present.compare([sys.argv[1]], out=Path(sys.argv[2]))\n"
    )
    words = [sys.executable, "-c", code, str(study / "runs"), str(study / "out")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        try:
            workers = [int(parent.stdout.readline()) for _ in range(2)]
        finally:
            parent.kill()
        for worker in workers:
            wait_for_end(worker)
    assert [path.name for path in study.iterdir()] == ["runs"]


def wait_for_end(pid):
    """Until a process that is not our child is gone or has ended; the test's own time limit is the limit."""
    try:
        while (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.05)
    except (FileNotFoundError, ProcessLookupError):
        pass
