import json

import numpy as np
import pytest
from synthetic_runs import config, write_diagnostics, write_run

from gipo_cli.compare.csv_text import DamagedFile
from gipo_cli.compare.load import find_runs, find_studies, flatten, load_run, load_runs
from gipo_cli.compare.metric import find_metric, usual_metric
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import seal_text


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "study" / "a", config(seed=3), [0.2, 0.4])


def test_a_run_folder_reads_back_what_was_written(run):
    table = load_run(run)
    assert (table.seed, table.objective, table.buffer, table.state, table.budget) == (
        3, "gipo", 2000, "done", 100_000
    )  # fmt: skip
    assert table.eval["success"].tolist() == [0.2, 0.4]
    assert table.eval["step"].tolist() == [50_000, 100_000]
    assert table.config["objective.sigma"] == 0.5
    assert table.wall(100_000) == 600
    assert table.wall(50_000) == 300
    assert np.isnan(table.wall(10))


def test_null_buffer_is_one_rollout_of_all_environments(tmp_path):
    tree = config(buffer=None, **{"env.n_envs": 4})
    assert load_run(write_run(tmp_path / "a", tree, [1])).buffer == 2000


def test_flatten_keeps_lists_comparable():
    assert flatten({"a": {"b": [1, [2]], "c": {}}, "d": None}) == {"a.b": (1, (2,)), "a.c": (), "d": None}


def test_absent_cells_are_not_values(run):
    steps, values = load_run(run, extra_column="train/return").column("metrics", "train/return")
    assert len(steps) == 19
    assert values.tolist() == [1.0] * 19


def test_runs_are_found_by_folder_by_study_and_by_glob_once(run, tmp_path):
    other = write_run(tmp_path / "study" / "deep" / "er" / "b", config(seed=4), [0.1])
    found = find_runs([str(run), str(tmp_path / "study"), str(tmp_path / "*" / "a")])
    assert found == sorted([run.resolve(), other.resolve()])


def test_hidden_folders_and_checkpoints_are_not_searched(run, tmp_path):
    write_run(tmp_path / "study" / ".trash" / "c", config(), [0.1])
    write_run(run / "checkpoints" / "d", config(), [0.1])
    assert find_runs([str(tmp_path)]) == [run.resolve()]


def test_runs_are_found_by_name_below_the_folder_of_runs(run, tmp_path):
    assert find_runs(["a"], tmp_path / "study") == [run.resolve()]
    assert find_runs(["?"], tmp_path / "study") == [run.resolve()]


def test_studies_are_found_where_they_are_searched_whole(run, tmp_path):
    study = tmp_path / "study"
    (study / "study.json").write_text("{}")
    for path in (tmp_path, study, study / "*", tmp_path / "*"):
        assert find_studies([str(path)]) == [study.resolve()]
    assert find_studies(["study"], tmp_path) == [study.resolve()]
    assert find_studies([str(run)]) == find_studies([str(study / "a*")]) == []


def test_a_study_without_runs_says_where_to_look(tmp_path):
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"No runs found in .* files\. A study's runs on a cluster .*--status"
    ):
        find_runs([str(tmp_path)])


def test_nothing_found_says_what_was_searched(tmp_path):
    with pytest.raises(UserError, match="No runs found in") as caught:
        find_runs([str(tmp_path)])
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(UserError, match="Nothing is at"):
        find_runs([str(tmp_path / "nowhere")])


def break_file(folder, name, content):
    path = folder / name
    path.unlink() if content is None else path.write_text(content)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("status.json", None, "status.json"),
        ("status.json", "{", "status.json"),
        ("status.json", "[]", "no mapping"),
        ("status.json", '{"state": "done"}', "total_steps"),
        ("status.json", '{"state": "done", "total_steps": "1e6"}', "'1e6', which is no whole number"),
        ("config.yaml", "seed: [", "config.yaml"),
        ("config.yaml", "env: {name: x}\nobjective: {name: gipo}", "seed"),
        ("config.yaml", "seed: one\nenv: {name: x}\nobjective: {name: gipo}", "no whole number"),
        ("config.yaml", "seed: true\nenv: {name: x}\nobjective: {name: gipo}", "no whole number"),
        ("eval.csv", "step,success\n1,0.5\n2,0.", "eval.csv is cut off"),
        ("metrics.csv", "step,health/ess\n1,x\n", "health/ess"),
        ("diagnostics.csv", "step,family\n1,gipo\n", "lacks the columns"),
        ("meta.json", "nonsense", "meta.json"),
    ],
)
def test_a_damaged_run_is_named_and_the_others_go_on(run, tmp_path, name, content, words):
    whole = write_run(tmp_path / "study" / "b", config(seed=4), [0.1])
    break_file(run, name, content)
    runs, left_out = load_runs([run, whole], extra_column="")
    assert [table.path for table in runs] == [whole]
    assert [out.path for out in left_out] == [run]
    assert left_out[0].reason.startswith("damaged: ")
    assert words in left_out[0].reason


def test_return_is_compared_where_no_run_reports_success(run, tmp_path):
    table = load_run(run)
    assert usual_metric([table]) == "success"
    rows = (run / "eval.csv").read_text().splitlines()
    column = rows[0].split(",").index("success")
    cells = [row.split(",") for row in rows]
    text = "\n".join(",".join([*row[:column], "", *row[column + 1 :]]) for row in cells[1:])
    (run / "eval.csv").write_text(f"{rows[0]}\n{text}\n")
    assert usual_metric([load_run(run)]) == "return"


@pytest.mark.parametrize("lines", [slice(None), slice(None, -1)], ids=["edited", "without its digest"])
def test_an_edited_configuration_is_noticed(run, lines):
    meta = {**json.loads((run / "meta.json").read_text()), "files": {}}
    (run / "meta.json").write_text(json.dumps(meta))
    whole = seal_text((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(whole)
    assert load_run(run).config["objective.sigma"] == 0.5
    edited = whole.replace("sigma: 0.5", "sigma: 0.4").splitlines(keepends=True)[lines]
    (run / "config.yaml").write_text("".join(edited))
    with pytest.raises(DamagedFile, match="was changed since it was written"):
        load_run(run)


def test_a_run_without_any_table_is_damaged(run):
    (run / "eval.csv").unlink()
    (run / "metrics.csv").unlink()
    with pytest.raises(DamagedFile, match="neither"):
        load_run(run)


def test_the_last_line_of_a_running_run_may_be_unfinished(run):
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "running"}))
    with (run / "eval.csv").open("a") as file:
        file.write("150000,20,3")
    assert load_run(run).eval["success"].tolist() == [0.2, 0.4]


def test_several_processes_read_the_same(run, tmp_path):
    write_diagnostics(run, config(seed=3))
    others = [write_run(tmp_path / f"r{seed}", config(seed=seed), [seed / 10]) for seed in range(4)]
    ticks = []
    alone, _ = load_runs([run, *others], extra_column="")
    spread, _ = load_runs([run, *others], extra_column="", workers=2, tick=lambda: ticks.append(1))
    assert [table.path for table in spread] == [table.path for table in alone]
    for one, other in zip(alone, spread, strict=True):
        np.testing.assert_array_equal(one.eval["success"], other.eval["success"])
    assert len(ticks) == 5


class TestMetric:
    def test_short_names_and_full_columns(self, run):
        runs = [load_run(run)]
        assert find_metric("return", runs).column == "return_mean"
        assert find_metric("success", runs).table == "eval"
        assert find_metric("health/ess", runs).table == "metrics"

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("sucess", "Did you mean 'success' or 'success_any' or 'success_last'?"),
            ("ess", "Did you mean 'health/ess' or 'success'?"),
            ("utilization", "Did you mean 'health/utilisation' or 'health/utilisation_lag_0'?"),
            ("qqq", "Usual ones are: success, return, length."),
        ],
    )
    def test_an_unknown_one_names_the_nearest_and_where_all_are(self, run, name, words):
        with pytest.raises(UserError) as caught:
            find_metric(name, [load_run(run)])
        assert str(caught.value) == f"No run has the metric {name!r}. {words} docs/metrics.md lists all."
