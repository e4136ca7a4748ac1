"""The kept results agree with themselves: tables, run folders, and the study that they are of."""

import csv
import itertools
import runpy
import shutil
import tarfile
from collections import defaultdict

import numpy as np
import pytest
import yaml
from doc_blocks import ROOT

from gipo_cli.sweep.plan import plan

RESULTS = ROOT / "docs/results"
ARCHIVES = sorted((RESULTS / "data").glob("*.tar.xz"))
BUFFERS = {
    "reach_lag": 1,
    "reach_buffers": 3,
    "handle_press_buffers": 3,
    "door_close_buffers": 3,
    "fetch_reach_buffers": 3,
}
"""Buffer sizes of each study, with a table each."""
PASSED = {"fetch_reach_buffers": ["--passed", "-4", "-2"]}
"""Returns whose first passing a page shows, where they are not those of a Meta-World task."""
STUDIES = sorted({path.name.rpartition("_")[0] for path in ARCHIVES})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for path in ARCHIVES:
        with tarfile.open(path) as kept:
            kept.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("study", STUDIES)
def test_tables_are_those_of_the_run_folders(study, runs, tmp_path):
    keep = runpy.run_path(str(RESULTS / "keep.py"))
    keep["main"].__globals__["DATA"] = tmp_path
    keep["main"]([str(runs / study)])
    for name in (f"{study}.csv", f"{study}_eval.csv"):
        written, kept = ((folder / name).read_text() for folder in (tmp_path, RESULTS / "data"))
        assert len(written.splitlines()) > 20
        assert written == kept


@pytest.mark.parametrize("study", STUDIES)
def test_run_folders_are_of_the_study_as_it_is_now(study, runs):
    planned = {run.name: run for run in plan([f"study={study}"]).runs}
    for folder in (runs / study).iterdir():
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config == planned[folder.name].config.model_dump(mode="json")


@pytest.mark.parametrize("study", STUDIES)
def test_pages_show_the_tables_of_the_run_folders(study, runs, capsys):
    runpy.run_path(str(RESULTS / "tables.py"))["main"]([str(runs / study), *PASSED.get(study, [])])
    printed = capsys.readouterr().out.strip()
    assert printed.count("| final training return, by seed |") == BUFFERS[study]
    assert printed in (RESULTS / f"{study}.md").read_text()


@pytest.mark.parametrize("study", [study for study in STUDIES if BUFFERS[study] > 1])
def test_pages_show_the_differences_from_gipo(study, runs, capsys):
    runpy.run_path(str(RESULTS / "tables.py"))["main"]([str(runs / study), "--against", "gipo"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| difference of IQMs")]
    page = (RESULTS / f"{study}.md").read_text()
    assert len(lines) == BUFFERS[study]
    for line in lines:
        _, _, gipo, *others, _ = line.split("|")
        assert not gipo.strip()
        assert f"|{'|'.join(others)}|" in page


@pytest.mark.parametrize("study", STUDIES)
def test_pages_show_who_learns_faster(study, runs, capsys):
    runpy.run_path(str(RESULTS / "tables.py"))["main"]([str(runs / study), "--whole"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| against PPO-clip")]
    page = (RESULTS / f"{study}.md").read_text()
    assert len(lines) == BUFFERS[study]
    for line in lines:
        _, _, gipo, baseline, *others, _ = line.split("|")
        assert not baseline.strip()
        assert f"|{'|'.join([gipo, *others])}|" in page


@pytest.mark.parametrize(
    ("study", "buffers", "steps", "form"),
    [
        ("fetch_reach_buffers", (200, 2_000, 8_000), (5_000, 10_000, 15_000), ".2f"),
        ("handle_press_buffers", (500, 5_000, 20_000), (20_000, 40_000), ".0f"),
    ],
)
def test_pages_show_the_evaluations(study, buffers, steps, form):
    """Of tasks on which training return and evaluation return rank objectives differently."""
    returns = defaultdict(list)
    with (RESULTS / f"data/{study}_eval.csv").open() as file:
        for row in csv.DictReader(file):
            returns[row["objective"], int(row["buffer"]), int(row["step"])].append(float(row["return_mean"]))
    page = (RESULTS / f"{study}.md").read_text()
    for buffer, step in itertools.product(buffers, steps):
        own = [returns[name, buffer, step] for name in ("gipo", "ppo_clip", "sapo", "tis", "no_clip")]
        assert [len(one) for one in own] == [5] * 5
        assert f"| {buffer:,}, {step:,} | {' | '.join(format(np.mean(one), form) for one in own)} |" in page


def test_seeds_that_not_every_objective_has_are_left_out(runs, tmp_path, capsys):
    some = tmp_path / "runs"
    for run in (runs / "reach_lag").iterdir():
        if "-s1-" in run.name or "-s2-" in run.name or "-gipo-" in run.name:
            shutil.copytree(run, some / run.name)
    runpy.run_path(str(RESULTS / "tables.py"))["main"]([str(some)])
    (finals,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| final")]
    assert [entry.count("·") for entry in finals.split("|")[2:-1]] == [1] * 5


def test_an_archive_holds_one_seed_and_no_paths(runs, tmp_path):
    keep = runpy.run_path(str(RESULTS / "keep.py"))
    keep["main"].__globals__["DATA"] = tmp_path
    keep["main"]([str(runs / "reach_lag"), "--archive", "1"])
    with tarfile.open(tmp_path / "reach_lag_s1.tar.xz") as kept:
        members = kept.getmembers()
    assert len({member.name.split("/")[1] for member in members}) == 5
    assert {member.name.split("/")[1][-11:-9] for member in members} == {"s1"}
    assert {(member.uname, member.uid) for member in members} == {("", 0)}
    assert not any("meta.json" in member.name or "log" in member.name for member in members)
