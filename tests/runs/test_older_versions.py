"""Run folders that gipo 0.1.0 wrote (``runs-0.1.0.tar.xz``): read by everything but ``--resume``."""

import csv
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gipo_cli import load_run
from gipo_cli.commands.app import app
from gipo_cli.commands.film import Style
from gipo_cli.commands.renderer import choose_renderer
from gipo_cli.commands.video import record
from gipo_cli.errors import UserError
from gipo_cli.training.eval_report import evaluate_run

# Of two episodes.
ENDS = ("return_min", "return_max")


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(Path(__file__).with_name("runs-0.1.0.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    return folder / "runs"


def said(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def evaluations(run):
    with (run / "eval.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_they_are_listed_and_shown(old):
    listed = said("list", "runs", "--runs", old)
    assert [line.split()[0] for line in listed.splitlines()[1:3]] == ["pendulum", "reach"]
    shown = said("show", old / "reach")
    assert "gipo on fetch_reach, buffer 64, seed 1" in shown
    assert "128 of 128 (100%)" in shown
    assert "-6.642" in shown


def test_they_are_compared(old, tmp_path):
    out = tmp_path / "report"
    said("compare", old / "pendulum", old / "reach", "--metric", "return_mean", "--out", out)
    tables = "".join(path.read_text() for path in out.rglob("*.csv"))
    assert "-153.9" in tables
    assert "-6.64" in tables


@pytest.mark.parametrize("name", ["pendulum", "reach"])
def test_their_policies_are_evaluated_to_the_same_numbers(old, name):
    row = evaluations(old / name)[-1]
    report = evaluate_run(old / name)
    assert (report.step, report.episodes) == (128, 2)
    assert report.return_mean == pytest.approx(float(row["return_mean"]), rel=1e-9)


def test_their_policies_are_filmed(old, tmp_path):
    if choose_renderer()[0] is None:
        pytest.skip("no EGL or OSMesa here")
    film = record(old / "reach", out=tmp_path / "a.gif", style=Style(every=25))
    assert film.frames == 3
    assert film.returns[0] in (pytest.approx(float(evaluations(old / "reach")[-1][name])) for name in ENDS)


def test_their_policies_are_loaded(old):
    agent = load_run(old / "reach")
    assert agent.num_timesteps == 128
    action, _ = agent.predict(np.zeros(agent.observation_space.shape, np.float32), deterministic=True)
    assert action.shape == (4,)


@pytest.mark.parametrize("more", [[], ["--allow-changes"]])
def test_resuming_says_which_version_it_needs(old, more, tmp_path):
    shutil.copytree(old / "pendulum", tmp_path / "r")
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    with pytest.raises(
        UserError, match=r"was written by gipo 0\.1\.0.*; install gipo-cli==0\.1\.0 to resume"
    ):
        app(["train", "--resume", str(tmp_path / "r"), "total_steps=256", *more], standalone_mode=False)
    assert {p: p.read_bytes() for p in (tmp_path / "r").rglob("*") if p.is_file()} == before
