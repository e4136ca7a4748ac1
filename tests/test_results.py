"""Results pages show the numbers of the kept data, and the studies still have the settings that were run."""

import itertools
import runpy
import shutil
import tarfile

import pytest
import yaml
from doc_blocks import ROOT

from gipo_cli.runs.durable import read_sealed, write_sealed
from gipo_cli.settings.schema import RunConfig
from gipo_cli.sweep.plan import plan

RESULTS = ROOT / "docs/results"
STUDY = runpy.run_path(str(RESULTS / "study.py"))
STUDIES = sorted(path.stem for path in (RESULTS / "data").glob("*.yaml"))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for study in STUDIES:
        STUDY["unpack"](study, folder)
    return folder


def test_all_five_studies_are_kept():
    assert len(STUDIES) == 5


@pytest.mark.parametrize("study", STUDIES)
def test_pages_show_the_tables_of_the_data(study):
    tables = list(STUDY["tables"](study))
    buffers = 1 if study == "reach_lag" else 3
    assert len(tables) == 4 + (study in STUDY["EVALUATED"]) + buffers
    assert all(len(table.splitlines()) == 2 + buffers for table in tables[:4])
    page = (RESULTS / f"{study}.md").read_text()
    for table in tables:
        assert table in page, table


@pytest.mark.parametrize("study", STUDIES)
def test_every_planned_run_is_kept_with_the_settings_of_the_study(study, unpacked):
    """A changed study file, preset or default makes its page wrong."""
    planned = {STUDY["label"](run.config.model_dump()): run.config for run in plan([f"study={study}"]).runs}
    kept = {}
    for path in (unpacked / study).glob("*/config.yaml"):
        config = RunConfig.model_validate(yaml.load(path.read_text(), yaml.CSafeLoader))
        kept[STUDY["label"](config.model_dump())] = config
    assert kept == planned


def test_kept_files_are_those_of_their_own_runs(unpacked, tmp_path, monkeypatch):
    """Unpacking and keeping again changes nothing."""
    monkeypatch.setitem(STUDY["keep"].__globals__, "DATA", tmp_path)
    for study in ("reach_lag", "fetch_reach_buffers"):
        STUDY["keep"](unpacked / study)
        for table in ("metrics", "eval"):
            made = STUDY["data"](study, table)
            with STUDY["opened"](made, "r") as new, STUDY["opened"](RESULTS / "data" / made.name, "r") as old:
                assert new.read() == old.read()
        settings = (yaml.safe_load((of / f"{study}.yaml").read_text()) for of in (tmp_path, RESULTS / "data"))
        assert len(list(itertools.groupby(settings))) == 1


def test_an_archive_holds_finished_runs_only_and_no_names(unpacked, tmp_path, monkeypatch):
    monkeypatch.setitem(STUDY["archive"].__globals__, "DATA", tmp_path)
    study = tmp_path / "under_way"
    for name in ("gipo-n20000-s1", "tis-n20000-s1"):
        shutil.copytree(unpacked / "reach_lag" / name, study / name)
        for file in ("diagnostics.csv", "overrides.txt"):
            (study / name / file).touch()
    status = study / "tis-n20000-s1/status.json"
    status.write_text(status.read_text().replace("done", "running"))
    plan = {"study": "under_way", "command": "/home/someone/gipo", "directory": "/home/someone", "runs": []}
    write_sealed(study / "study.json", plan)
    with tarfile.open(STUDY["archive"](study)) as packed:
        packed.extract("under_way/study.json", tmp_path / "elsewhere", filter="data")
        members = [member for member in packed.getmembers() if member.name != "under_way/study.json"]
    kept = read_sealed(tmp_path / "elsewhere/under_way/study.json")
    assert kept == {**plan, "command": "gipo sweep study=under_way", "directory": ""}
    assert {member.name.split("/")[1] for member in members} == {"gipo-n20000-s1"}
    assert {member.name.split("/")[2] for member in members} == set(STUDY["ARCHIVED"])
    assert {(member.uname, member.uid) for member in members} == {("", 0)}
