import json
import os
import resource

import pytest

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs import status as status_module
from gipo_cli.runs.status import Rate, StatusFile, read_status


def test_a_run_from_start_to_end(tmp_path):
    path = tmp_path / "status.json"
    file = StatusFile(path, total_steps=100)
    first = read_status(path)
    assert (first.state, first.step, first.attempt, first.pid) == ("running", 0, 1, os.getpid())
    assert first.ended is None
    file.beat(50, latest={"return": -1.5}, force=True)
    file.beat(60, latest={"eval_success": float("nan")}, force=True)
    middle = read_status(path)
    assert middle.step == 60
    assert middle.steps_per_second > 0
    assert middle.latest == {"return": -1.5, "eval_success": None}
    file.finish("done")
    last = read_status(path)
    assert (last.state, last.reason, last.step) == ("done", None, 60)
    assert last.ended <= last.heartbeat


def test_beats_are_written_rarely_but_the_last_count_is_not_lost(tmp_path):
    path = tmp_path / "status.json"
    file = StatusFile(path, total_steps=100)
    for step in range(1, 50):
        file.beat(step)
    assert read_status(path).step == 0
    file.finish("interrupted", "stopped")
    assert read_status(path).step == 49


def test_a_second_attempt_counts_and_keeps_the_first_start(tmp_path):
    path = tmp_path / "status.json"
    first = StatusFile(path, total_steps=100)
    first.beat(30, latest={"return": 2.0}, force=True)
    StatusFile(path, total_steps=200, step=20)
    status = read_status(path)
    assert (status.attempt, status.step, status.total_steps) == (2, 20, 200)
    assert status.started == first.status.started
    assert status.latest == {"return": 2.0}


def test_pauses_between_attempts_are_not_active_time(tmp_path):
    path = tmp_path / "status.json"
    with pytest.MonkeyPatch.context() as patch:
        now = iter([100.0, 100.0, 100.0, 130.0, 130.0, 5000.0, 5000.0, 5000.0, 5007.0, 5007.0])
        patch.setattr(status_module.time, "monotonic", lambda: next(now))
        StatusFile(path, total_steps=100).beat(30, force=True)
        assert read_status(path).active_seconds == 30.0
        StatusFile(path, total_steps=100, step=30).beat(40, force=True)
        assert read_status(path).steps_per_second == pytest.approx(10 / 7)
    assert read_status(path).active_seconds == pytest.approx(37.0)


def test_the_format_is_the_documented_one(tmp_path):
    path = tmp_path / "status.json"
    StatusFile(path, total_steps=100)
    assert set(json.loads(path.read_text())) == {
        *(
            "format",
            "active_seconds",
            "state",
            "reason",
            "step",
            "total_steps",
            "attempt",
            "pid",
            "host",
            "started",
            "heartbeat",
        ),
        *("ended", "steps_per_second", "latest", "seal"),
    }


@pytest.mark.parametrize(
    ("old", "new"), [('"running"', '"flying"'), ('"format": 1', '"format": 2'), ("100", "900")]
)
def test_a_changed_status_is_refused_but_does_not_stop_a_resume(tmp_path, old, new):
    path = tmp_path / "status.json"
    StatusFile(path, total_steps=100)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match="status"):
        read_status(path)
    StatusFile(path, total_steps=100, step=5)
    assert read_status(path).step == 5


def test_last_words_are_written_in_place_where_nothing_new_can_be(tmp_path):
    path = tmp_path / "status.json"
    file = StatusFile(path, total_steps=100)
    (tmp_path / f".tmp-{os.getpid()}-status.json").mkdir()
    with pytest.raises(RunFailed, match=r"could not write .*status\.json: Is a directory"):
        file.beat(3, force=True)
    assert read_status(path).step == 0
    file.finish("failed", "disk full")
    assert (read_status(path).state, read_status(path).reason) == ("failed", "disk full")


def test_running_out_of_descriptors_is_one_sentence(tmp_path):
    path = tmp_path / "status.json"
    file = StatusFile(path, total_steps=100)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(RunFailed, match="Too many open files"):
            file.beat(3, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read_status(path).step == 0


def test_rate_is_steps_over_time():
    with pytest.MonkeyPatch.context() as patch:
        now = iter([10.0, *(11.0 + step for step in range(199))])
        patch.setattr(status_module.time, "monotonic", lambda: next(now))
        rate = Rate()
        assert rate.report(0) is None
        assert [rate.report(step * 7) for step in range(1, 200)] == [7.0] * 199
