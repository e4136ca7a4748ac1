import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from gipo_cli.errors import UserError
from gipo_cli.runs.lock import holder, last_beat, run_lock

HOLD = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from gipo_cli.runs.lock import run_lock
    with run_lock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
    """
)


def hold(path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def end(process):
    process.communicate("\n")


def test_the_last_beat_is_of_the_holder_and_ends_with_it(tmp_path):
    path = tmp_path / ".lock"
    assert last_beat(path) == 0
    with run_lock(path, beat_seconds=0.05):
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 30
        while last_beat(path) == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert abs(last_beat(path) - time.time()) < 5
    assert last_beat(path) == 0


def test_a_live_holder_is_refused_by_name(tmp_path):
    path = tmp_path / ".lock"
    other = hold(path)
    try:
        with pytest.raises(UserError, match=f"being written by process {other.pid} on "):
            run_lock(path).__enter__()
        assert holder(path)["pid"] == other.pid
    finally:
        end(other)
    assert holder(path) is None
    with run_lock(path):
        assert holder(path)["pid"] == os.getpid()


def test_a_killed_holder_is_taken_over_at_once_and_cleaned_up_after(tmp_path):
    path = tmp_path / ".lock"
    other = hold(path)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    (tmp_path / ".tmp-1-status.json").write_text("half")
    (tmp_path / "mine.txt").write_text("whole")
    assert holder(path) is None
    with run_lock(path):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock", "mine.txt"]


def test_two_locks_of_one_process_exclude_each_other(tmp_path):
    with run_lock(tmp_path / ".lock"), pytest.raises(UserError, match="being written"):
        run_lock(tmp_path / ".lock").__enter__()


def test_an_exception_releases(tmp_path):
    with pytest.raises(KeyError), run_lock(tmp_path / ".lock"):
        raise KeyError
    with run_lock(tmp_path / ".lock"):
        pass


def test_looking_does_not_disturb_a_writer(tmp_path):
    path = tmp_path / ".lock"
    path.touch()
    looking = path.open("rb")
    fcntl.flock(looking, fcntl.LOCK_SH)
    timer = threading.Timer(0.2, looking.close)
    timer.start()
    with run_lock(path):
        pass
    timer.join()


def foreign(path, beat):
    record = {"host": "another-host", "pid": 1, "process_started": 0.0, "beat": beat}
    path.touch()
    # In one write, as a beat is.
    with path.open("r+b", buffering=0) as handle:
        handle.write(json.dumps(record).ljust(511).encode() + b"\n")


def test_a_holder_on_another_host_that_beats_is_refused(tmp_path):
    # No flock is shared here, as on some network file systems: only the heartbeat tells.
    path = tmp_path / ".lock"
    foreign(path, 1)
    stop = threading.Event()

    def beat():
        number = 1
        while not stop.wait(0.02):
            number += 1
            foreign(path, number)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(UserError, match="process 1 on another-host"):
            run_lock(path, beat_seconds=0.1).__enter__()
    finally:
        stop.set()
        thread.join()


def test_a_holder_under_another_host_name_is_none_after_a_minute_of_silence(tmp_path):
    """As a container's host name changes at every start."""
    path = tmp_path / ".lock"
    foreign(path, 41)
    assert holder(path)["pid"] == 1
    os.utime(path, (time.time() - 61, time.time() - 61))
    assert holder(path) is None


def test_the_lock_of_a_stranger_is_no_link(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(UserError, match="is a link"):
        run_lock(tmp_path / ".lock").__enter__()
    assert (tmp_path / "target").read_text() == "precious"


def test_a_silent_holder_on_another_host_is_taken_over(tmp_path):
    path = tmp_path / ".lock"
    foreign(path, 41)
    assert holder(path)["host"] == "another-host"
    with run_lock(path, beat_seconds=0.05):
        assert holder(path)["pid"] == os.getpid()


def test_the_heart_beats(tmp_path):
    path = tmp_path / ".lock"
    with run_lock(path, beat_seconds=0.02):
        first = holder(path)["beat"]
        deadline = time.monotonic() + 10
        while holder(path)["beat"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b"\xff" * 600, b'{"host": 5}'])
def test_a_damaged_lock_file_is_no_holder(tmp_path, content):
    (tmp_path / ".lock").write_bytes(content)
    with run_lock(tmp_path / ".lock", beat_seconds=0.02):
        pass


def test_a_full_disk_is_one_sentence_and_leaves_the_lock_free(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(UserError, match="cannot be written: No space left on device"):
            run_lock(tmp_path / ".lock").__enter__()
    with run_lock(tmp_path / ".lock"):
        pass


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        run_lock(tmp_path / "missing" / ".lock").__enter__()
