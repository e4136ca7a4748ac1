"""Folders of results."""

from __future__ import annotations

from pathlib import Path

import pytest

from gipo_cli.analysis.output import check_free, replace, table
from gipo_cli.errors import UserError


def test_files_take_the_place_of_earlier_ones_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("earlier")
    (tmp_path / "notes.txt").write_text("mine")
    replace(tmp_path, {"one.txt": b"later", "two.csv": table(["a", "b"], [[1, None], ["x,y", 0.1]])})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "one.txt": b"later",
        "notes.txt": b"mine",
        "two.csv": b'a,b\r\n1,\r\n"x,y",0.1\r\n',
    }


def test_an_earlier_result_is_known_by_its_table(tmp_path: Path) -> None:
    check_free(tmp_path, "gridworld.csv", "study")
    (tmp_path / "gridworld.csv").write_text("")
    check_free(tmp_path, "gridworld.csv", "study")
    with pytest.raises(UserError, match="is no earlier diagnosis"):
        check_free(tmp_path, "diagnostics.csv", "diagnosis")
