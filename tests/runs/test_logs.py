import errno
import logging
import os
import re
import threading
import time
import warnings

import pytest

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.logs import log_to


def test_lines_are_stamped_in_utc_and_appended(tmp_path, monkeypatch):
    # pytest would capture the odd character too, and its workers cannot send it.
    monkeypatch.setattr(logging.getLogger("gipo"), "propagate", False)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        path = tmp_path / "log.txt"
        for word in ("first", "ü \udce9"):
            before = time.strftime("%Y-%m-%dT%H", time.gmtime())
            with log_to(path) as log:
                log.info("said %s", word)
                logging.getLogger("gipo.part").warning("from a part")
            log.info("not in the file")
    finally:
        monkeypatch.undo()
        time.tzset()
    lines = path.read_text().splitlines()
    assert len(lines) == 4
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING) ", line) for line in lines)
    assert lines[0].startswith(before)
    assert lines[2].endswith("said ü \\udce9")


def test_warnings_go_to_the_log(tmp_path):
    with log_to(tmp_path / "log.txt"), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("careful", UserWarning, stacklevel=1)
    assert "careful" in (tmp_path / "log.txt").read_text()


def test_a_log_that_cannot_be_opened_is_one_sentence(tmp_path):
    with pytest.raises(RunFailed, match="could not write"), log_to(tmp_path / "missing" / "log.txt"):
        pass


def test_a_full_disk_behind_the_log_fails_nobody(tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with log_to(tmp_path / "log.txt") as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            log.info("lost")
        log.info("said")
    assert (tmp_path / "log.txt").read_text().endswith("INFO said\n")
    assert capsys.readouterr().err == ""


def test_what_fails_in_a_thread_is_in_the_log_and_not_on_the_screen(tmp_path, capsys):
    with log_to(tmp_path / "log.txt"):
        thread = threading.Thread(target=lambda: 1 / 0, name="worker")
        thread.start()
        thread.join()
    assert "worker ended: ZeroDivisionError" in (tmp_path / "log.txt").read_text()
    assert capsys.readouterr().err == ""


def test_a_link_in_place_of_the_log_is_refused(tmp_path):
    (tmp_path / "log.txt").symlink_to(tmp_path / "made")
    with pytest.raises(UserError, match="is a link"), log_to(tmp_path / "log.txt"):
        pass
    assert not (tmp_path / "made").exists()
