import pytest
from synthetic_runs import config, write_run

from gipo_cli.compare.load import read_run
from gipo_cli.compare.selection import find_criterion
from gipo_cli.errors import UserError


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "a", config(seed=3), [0.2, 0.4])


def test_return_is_compared_where_no_run_reports_success(run, tmp_path):
    table = read_run(run)
    assert find_criterion(None, [table]).column == "success"
    rows = (run / "eval.csv").read_text().splitlines()
    column = rows[0].split(",").index("success")
    cells = [row.split(",") for row in rows]
    text = "\n".join(",".join([*row[:column], "", *row[column + 1 :]]) for row in cells[1:])
    (run / "eval.csv").write_text(f"{rows[0]}\n{text}\n")
    assert find_criterion(None, [read_run(run)]).column == "return_mean"


class TestMetric:
    def test_short_names_and_full_columns(self, run):
        runs = [read_run(run)]
        assert find_criterion("return", runs).column == "return_mean"
        assert find_criterion("success", runs).table == "eval"
        assert find_criterion("health/ess", runs).table == "metrics"

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("sucess", " (did you mean success or success_any?)"),
            ("ess", " (did you mean health/ess?)"),
            ("utilization", " (did you mean health/utilisation or health/utilisation_lag_0?)"),
            ("qqq", "; usual ones are success, return, length"),
        ],
    )
    def test_an_unknown_one_names_the_nearest_and_where_all_are(self, run, name, words):
        with pytest.raises(UserError) as caught:
            find_criterion(name, [read_run(run)])
        assert str(caught.value) == f"No run has the metric {name!r}{words}. docs/metrics.md lists all."
