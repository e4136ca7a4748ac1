"""Folders of strangers: no command writes, truncates, creates or deletes outside the folder it was given."""

import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from gipo_cli.commands.app import app
from gipo_cli.errors import UserError

FILES = ("log.txt", ".lock", "metrics.csv", "eval.csv", "diagnostics.csv", "status.json", "config.yaml")
FOLDERS = ("tb", "checkpoints", "videos", "diagnose")


def said(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return str(result.exception) if isinstance(result.exception, UserError) else result.output


@pytest.fixture
def stranger(run, tmp_path):
    copy = tmp_path / "runs" / "r"
    shutil.copytree(run, copy)
    return copy


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "shell.rc").write_text("precious\n")
    (folder / "inner").mkdir()
    return folder


def plant(path, target):
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("name", [*FILES, *FOLDERS, "checkpoints/best.json", "tb/events.out.tfevents.9"])
def test_a_link_in_a_run_is_refused_by_name_and_nothing_is_written_through_it(stranger, outside, name):
    plant(stranger / name, outside if name in FOLDERS else outside / "shell.rc")
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*")}
    commands = [("train", "--resume", stranger, "total_steps=384", "--quiet")]
    if name in FOLDERS:
        commands += [("video", stranger), ("diagnose", stranger)]
    for command in commands:
        assert f"{stranger / name} is a link" in said(*command).replace("\n", " ")
    assert (outside / "shell.rc").read_text() == "precious\n"
    assert {path: path.stat().st_mtime_ns for path in outside.rglob("*")} == before


def test_a_link_that_dangles_creates_nothing(stranger, outside):
    plant(stranger / "log.txt", outside / "made")
    assert "log.txt is a link" in said("train", "--resume", stranger, "--quiet")
    assert not (outside / "made").exists()


def test_a_second_name_of_a_file_elsewhere_is_a_link_too(stranger, outside):
    (stranger / "log.txt").unlink()
    os.link(outside / "shell.rc", stranger / "log.txt")
    said("train", "--resume", stranger, "total_steps=384", "--quiet")
    assert (outside / "shell.rc").read_text() == "precious\n"


def test_a_pipe_in_place_of_a_file_does_not_hang(stranger):
    for name in ("log.txt", "metrics.csv", "config.yaml"):
        copy = stranger.with_name(name)
        shutil.copytree(stranger, copy)
        (copy / name).unlink()
        os.mkfifo(copy / name)
        assert name in said("train", "--resume", copy, "total_steps=384", "--quiet")


def test_a_run_may_lie_behind_a_link_of_its_owner(stranger, tmp_path):
    (tmp_path / "runs" / "mine").symlink_to(stranger)
    assert CliRunner().invoke(app, ["show", "mine", "--runs", str(tmp_path / "runs")]).exit_code == 0


def test_a_name_is_not_a_field(run, tmp_path):
    """Only what says in its own field that it was imported is an import, and only without checkpoints."""
    named = tmp_path / "runs" / "imported_from"
    shutil.copytree(run, named)
    meta = json.loads((named / "meta.json").read_text())
    (named / "meta.json").write_text(
        json.dumps({**meta, "directory": "imported_from", "imported_from": "/x"})
    )
    said("import-tb", tmp_path, "--out", named, "--force")
    assert (named / "checkpoints").is_dir()
    assert "is an import" not in said("eval", named, "--episodes", "1")


def test_compare_names_a_table_that_is_not_what_the_checkpoint_saw(stranger, run, tmp_path):
    table = stranger / "eval.csv"
    assert b"-" in table.read_bytes()
    table.write_bytes(table.read_bytes().replace(b"-", b"-1", 1))
    refused = said("compare", stranger, run, "--out", tmp_path / "report")
    assert "eval.csv was changed since the newest checkpoint was saved" in refused
