import csv
import json
import math
import resource
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.layout import create
from gipo_cli.runs.tables import Table, Tables, cell, last_row, last_step

COLUMNS = ("step", "name", "value")


def rows(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def write(tables, first, last):
    for step in range(first, last):
        tables.metrics.append({"step": step, "iteration": step, "train/return": step / 3})
        if step % 5 == 0:
            tables.evaluations.append({"step": step, "success": 1 / (step + 1)})


def contents(run):
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


@given(st.floats(allow_nan=False))
def test_floats_round_trip(value):
    assert float(cell(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (3, "3"),
        (True, "1"),
        (np.bool_(False), "0.0"),
        (np.int64(7), "7"),
        (np.float32(0.1), "0.10000000149011612"),
        (1e-5, "1e-05"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("gipo", "gipo"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


def test_a_table_is_its_header_and_whole_lines(tmp_path):
    path, name = tmp_path / "a.csv", 'my "own", objective\nü'
    table = Table(path, COLUMNS)
    assert path.read_bytes() == b"step,name,value\n"
    assert last_row(path) == {}
    table.append({"step": 1, "name": name, "value": None})
    table.append({"step": 2, "value": -1.5})
    table.close()
    assert [row["name"] for row in rows(path)] == [name, ""]
    assert path.read_bytes().endswith(b"\n2,,-1.5\n")
    assert last_step(last_row(path)) == 2
    with path.open("a") as file:
        file.write("3,half")
    assert last_row(path) == {"step": "2", "name": "", "value": "-1.5"}


def test_an_unknown_column_is_an_error_and_writes_nothing(tmp_path):
    table = Table(tmp_path / "a.csv", COLUMNS)
    with pytest.raises(ValueError, match=r"a\.csv has no column loss/actr"):
        table.append({"step": 1, "loss/actr": 1.0})
    assert rows(tmp_path / "a.csv") == []


def test_other_columns_are_refused_and_left_as_they_are(tmp_path):
    table = Table(tmp_path / "a.csv", COLUMNS)
    table.append({"step": 1})
    mark = table.mark()
    table.append({"step": 2})
    before = (tmp_path / "a.csv").read_bytes()
    with pytest.raises(UserError, match="other columns"):
        Table(tmp_path / "a.csv", ("step", "new"), mark)
    assert (tmp_path / "a.csv").read_bytes() == before


def test_a_row_that_does_not_fit_on_the_disk_is_taken_back(tmp_path):
    path = tmp_path / "a.csv"
    table = Table(path, COLUMNS)
    table.append({"step": 1, "value": 1 / 3})
    whole = path.read_bytes()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 5, hard))
    try:
        with pytest.raises(RunFailed, match=r"a\.csv: the disk took 5 of"):
            table.append({"step": 2, "value": 1 / 3})
        assert path.read_bytes() == whole
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole), hard))
        with pytest.raises(RunFailed, match=r"a\.csv: File too large"):
            table.append({"step": 2, "value": 1 / 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    assert path.read_bytes() == whole


def test_resuming_drops_what_came_after_and_nothing_else(tmp_path):
    straight, broken = create(tmp_path, "straight"), create(tmp_path, "broken")
    tables = Tables(straight)
    write(tables, 0, 40)
    tables.close()

    tables = Tables(broken)
    write(tables, 0, 10)
    marks = tables.marks()
    for end in (12, 17, 40):
        write(tables, 10, end)
        tables.close()
        tables = Tables(broken, json.loads(json.dumps(marks)))
    write(tables, 10, 20)
    marks = tables.marks()
    write(tables, 20, 33)
    tables.close()
    tables = Tables(broken, marks)
    write(tables, 20, 40)
    tables.close()
    for name in ("metrics.csv", "eval.csv", "diagnostics.csv"):
        assert (broken.path / name).read_bytes() == (straight.path / name).read_bytes()


def test_event_files_go_back_too(tmp_path):
    run = create(tmp_path, "a")
    run.tensorboard.mkdir()
    first, second = (run.tensorboard / f"events.out.tfevents.{n}.host" for n in (1, 2))
    first.write_bytes(b"one")
    tables = Tables(run)
    first.write_bytes(b"one")
    marks = tables.marks()
    first.write_bytes(b"one and more")
    second.write_bytes(b"two")
    (run.tensorboard / "notes.txt").write_text("mine")
    tables.close()
    Tables(run, marks).close()
    assert first.read_bytes() == b"one"
    assert sorted(path.name for path in run.tensorboard.iterdir()) == [first.name, "notes.txt"]
    first.unlink()
    Tables(run, marks).close()


def test_a_run_killed_before_its_first_checkpoint_starts_its_records_anew(tmp_path):
    run = create(tmp_path, "a")
    tables = Tables(run)
    write(tables, 0, 7)
    tables.close()
    tables = Tables(run)
    write(tables, 0, 3)
    tables.close()
    assert [row["step"] for row in rows(run.metrics)] == ["0", "1", "2"]


@pytest.mark.parametrize("part", ["metrics", "evaluations", "diagnostics"])
def test_records_that_changed_since_the_checkpoint_are_refused_and_nothing_is_cut(tmp_path, part):
    run = create(tmp_path, "a")
    tables = Tables(run)
    write(tables, 0, 7)
    marks = tables.marks()
    write(tables, 7, 11)
    tables.close()
    path = getattr(run, part)
    whole = path.read_bytes()[: marks[part]["bytes"]]
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (flipped, whole[:-1], whole[1:], b"", None):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        before = contents(run)
        with pytest.raises(UserError, match=rf"{path.name} .*restore it, or start a new run"):
            Tables(run, marks)
        assert contents(run) == before
        path.touch()


WRITER = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from gipo_cli.runs.layout import RunDir
    from gipo_cli.runs.tables import Tables
    run = RunDir(Path(sys.argv[1]))
    saved = run.path / "position.json"
    content = json.loads(saved.read_text()) if saved.exists() else None
    tables = Tables(run, content and content["marks"])
    step = content["step"] if content else 0
    while True:
        step += 1
        tables.metrics.append({"step": step, "iteration": step, "train/return": step / 3})
        if step % 50 == 0:
            aside = run.path / "position.tmp"
            aside.write_text(json.dumps({"step": step, "marks": tables.marks()}))
            aside.replace(saved)
    """
)


def test_kills_at_any_moment_leave_every_row_once(tmp_path):
    run = create(tmp_path, "a")
    saved, reached = run.path / "position.json", 0
    for delay in (0.0, 0.013, 0.031):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(run.path)]) as writer:
            while not saved.exists() or json.loads(saved.read_text())["step"] == reached:
                assert writer.poll() is None
                time.sleep(0.001)
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
        reached = json.loads(saved.read_text())["step"]
        assert writer.returncode == -signal.SIGKILL
    content = json.loads(saved.read_text())
    Tables(run, content["marks"]).close()
    assert [row["step"] for row in rows(run.metrics)] == [str(n) for n in range(1, content["step"] + 1)]
