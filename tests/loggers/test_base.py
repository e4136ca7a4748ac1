import csv

import numpy as np

from gipo_cli.analysis.probe import REFERENCES
from gipo_cli.loggers.base import Record
from gipo_cli.runs.catalog import CURVES, DIAGNOSTIC_CURVES
from gipo_cli.runs.layout import create
from gipo_cli.runs.tables import Tables


class Heard:
    def __init__(self):
        self.said = []

    def scalars(self, values, step):
        self.said.append((step, dict(values)))

    def histogram(self, tag, values, step):
        self.said.append((step, {tag: values.shape}))

    def close(self):
        self.said.append("closed")


def test_every_row_goes_into_its_table_and_to_all_who_listen(tmp_path):
    run, one, other = create(tmp_path, "a"), Heard(), Heard()
    tables = Tables(run)
    record = Record(tables, [one, other])
    record.metrics({"step": 200, "iteration": 2, "train/return": np.float32(-1.5), "train/success": None})
    record.evaluation({"step": 200, "success": 1.0, "return_mean": -2.0, "time/wall": 3.5})
    row = {"step": 200, "reference": "on_policy", "family": "gipo", "knob": "sigma", "value": 0.5}
    record.diagnostics([{**row, "trained": 1, "bias2": 2.0, "cosine": None}])
    record.diagnostics([{**row, "family": "no_clip", "knob": "", "value": None, "bias2": 4.0}])
    record.histogram("histogram/lag", np.zeros((3, 2)), 200)
    assert set(record.position()) == {"metrics", "evaluations", "diagnostics", "events"}
    tables.close()
    assert one.said == [
        (200, {"iteration": 2.0, "train/return": -1.5}),
        (200, {"eval/success": 1.0, "eval/return_mean": -2.0}),
        (200, {"diagnostics/on_policy/bias2": 2.0}),
        (200, {"histogram/lag": (3, 2)}),
    ]
    assert other.said == one.said
    with run.metrics.open() as file:
        (metrics,) = csv.DictReader(file)
    assert {key: cell for key, cell in metrics.items() if cell} == {
        "step": "200",
        "iteration": "2",
        "train/return": "-1.5",
    }
    with run.diagnostics.open() as file:
        assert [(row["family"], row["knob"], row["bias2"]) for row in csv.DictReader(file)] == [
            ("gipo", "sigma", "2.0"),
            ("no_clip", "", "4.0"),
        ]


def test_what_listeners_get_stays_readable():
    """At most 60 curves in all: three histograms and the diagnostics included, those after updates too."""
    assert len(CURVES) + 3 + (len(REFERENCES) + 1) * len(DIAGNOSTIC_CURVES) <= 60
    assert {"train/return", "eval/success", "loss/critic", "health/ess"} <= CURVES
    assert not any("_lag_" in tag for tag in CURVES)
