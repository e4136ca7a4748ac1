"""Folders of results."""

from __future__ import annotations

from pathlib import Path

import pytest

from gipo_cli.analysis.output import check_free, writing_whole
from gipo_cli.errors import UserError


def interrupted(out: Path) -> None:
    with writing_whole(out) as folder:
        (folder / "one.txt").write_text("half")
        raise KeyboardInterrupt


def test_files_take_the_place_of_earlier_ones_only_once_all_are_there(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("earlier")
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["one.txt"]
    assert (tmp_path / "one.txt").read_text() == "earlier"


def test_an_earlier_result_is_known_by_its_table(tmp_path: Path) -> None:
    check_free(tmp_path, "gridworld.csv", "study", force=False)
    (tmp_path / "gridworld.csv").write_text("")
    with pytest.raises(UserError, match=r"already holds a study.*add --force"):
        check_free(tmp_path, "gridworld.csv", "study", force=False)
    check_free(tmp_path, "gridworld.csv", "study", force=True)
    with pytest.raises(UserError, match="is no earlier diagnosis"):
        check_free(tmp_path, "diagnostics.csv", "diagnosis", force=True)
