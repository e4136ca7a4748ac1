"""The kept results agree with themselves: tables, run folders, and the study that they are of."""

import runpy
import tarfile

import pytest
import yaml
from doc_blocks import ROOT

from gipo_cli.sweep.plan import plan

RESULTS = ROOT / "docs/results"
ARCHIVES = sorted((RESULTS / "data").glob("*.tar.xz"))
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
