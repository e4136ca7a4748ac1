import pytest
from synthetic_runs import config, write_run

from gipo_cli.compare.gather import search
from gipo_cli.errors import UserError


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "study" / "a", config(seed=3), [0.2, 0.4])


def test_runs_are_found_by_folder_by_study_and_by_glob_once(run, tmp_path):
    other = write_run(tmp_path / "study" / "deep" / "er" / "b", config(seed=4), [0.1])
    found = search([str(run), str(tmp_path / "study"), str(tmp_path / "*" / "a")]).runs
    assert found == sorted([run.resolve(), other.resolve()])


def test_hidden_folders_and_checkpoints_are_not_searched(run, tmp_path):
    write_run(tmp_path / "study" / ".trash" / "c", config(), [0.1])
    write_run(run / "checkpoints" / "d", config(), [0.1])
    assert search([str(tmp_path)]).runs == [run.resolve()]


def test_runs_are_found_by_name_below_the_folder_of_runs(run, tmp_path):
    assert search(["a"], tmp_path / "study").runs == [run.resolve()]
    assert search(["?"], tmp_path / "study").runs == [run.resolve()]


def test_studies_are_found_where_they_are_searched_whole(run, tmp_path):
    study = tmp_path / "study"
    (study / "study.json").write_text("{}")
    for path in (tmp_path, study, study / "*", tmp_path / "*"):
        assert search([str(path)]).studies == [study.resolve()]
    assert search(["study"], tmp_path).studies == [study.resolve()]
    assert search([str(run)]).studies == search([str(study / "a*")]).studies == []


def test_a_study_without_runs_says_where_to_look(tmp_path):
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"No runs found in .* files\. A study's runs on a cluster .*--status"
    ):
        search([str(tmp_path)])


def test_nothing_found_says_what_was_searched(tmp_path):
    with pytest.raises(UserError, match="No runs found in") as caught:
        search([str(tmp_path)])
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(UserError, match="Nothing is at"):
        search([str(tmp_path / "nowhere")])
