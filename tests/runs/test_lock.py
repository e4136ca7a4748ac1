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
from gipo_cli.runs.lock import RunLock, holder, last_beat

HOLD = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from gipo_cli.runs.lock import RunLock
    with RunLock(Path(sys.argv[1])):
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
    with RunLock(path, beat_seconds=0.05):
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
            RunLock(path).acquire()
        assert holder(path)["pid"] == other.pid
    finally:
        end(other)
    assert holder(path) is None
    with RunLock(path):
        assert holder(path)["pid"] == os.getpid()


def test_a_killed_holder_is_taken_over_at_once_and_cleaned_up_after(tmp_path):
    path = tmp_path / ".lock"
    other = hold(path)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    (tmp_path / ".tmp-1-status.json").write_text("half")
    (tmp_path / "mine.txt").write_text("whole")
    assert holder(path) is None
    with RunLock(path):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock", "mine.txt"]


def test_two_locks_of_one_process_exclude_each_other(tmp_path):
    with RunLock(tmp_path / ".lock"), pytest.raises(UserError, match="being written"):
        RunLock(tmp_path / ".lock").acquire()


def test_an_exception_releases(tmp_path):
    with pytest.raises(KeyError), RunLock(tmp_path / ".lock"):
        raise KeyError
    with RunLock(tmp_path / ".lock"):
        pass


def test_looking_does_not_disturb_a_writer(tmp_path):
    path = tmp_path / ".lock"
    path.touch()
    looking = path.open("rb")
    fcntl.flock(looking, fcntl.LOCK_SH)
    timer = threading.Timer(0.2, looking.close)
    timer.start()
    with RunLock(path):
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
            RunLock(path, beat_seconds=0.1).acquire()
    finally:
        stop.set()
        thread.join()


def test_a_silent_holder_on_another_host_is_taken_over(tmp_path):
    path = tmp_path / ".lock"
    foreign(path, 41)
    assert holder(path)["host"] == "another-host"
    with RunLock(path, beat_seconds=0.05):
        assert holder(path)["pid"] == os.getpid()


def test_the_heart_beats(tmp_path):
    path = tmp_path / ".lock"
    with RunLock(path, beat_seconds=0.02):
        first = holder(path)["beat"]
        deadline = time.monotonic() + 10
        while holder(path)["beat"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b"\xff" * 600, b'{"host": 5}'])
def test_a_damaged_lock_file_is_no_holder(tmp_path, content):
    (tmp_path / ".lock").write_bytes(content)
    with RunLock(tmp_path / ".lock", beat_seconds=0.02):
        pass


def test_a_full_disk_is_one_sentence_and_leaves_the_lock_free(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(UserError, match="cannot be written: No space left on device"):
            RunLock(tmp_path / ".lock").acquire()
    with RunLock(tmp_path / ".lock"):
        pass


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        RunLock(tmp_path / "missing" / ".lock").acquire()
