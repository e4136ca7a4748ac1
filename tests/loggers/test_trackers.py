import logging
import struct

import pytest

from gipo_cli.errors import UserError
from gipo_cli.loggers import trackers
from gipo_cli.loggers.trackers import MLflow, Tracker, Wandb, missing
from gipo_cli.settings.compose import compose
from gipo_cli.settings.schema import LoggingConfig
from gipo_cli.training.workshop import Workshop

SETTINGS = {"seed": 3, "env.name": "x", "agent.policy.hidden": [64, 64], "eval.seed": None}


class Falls(Tracker):
    name = "falls"
    calls = 0

    def _log(self, values, step):
        self.calls += 1
        raise ValueError("no route")

    def _end(self):
        raise AssertionError("closed although it had ended")


def test_a_tracker_that_fails_is_left_out_and_the_log_says_so(caplog):
    tracker = Falls(lambda: None)
    with caplog.at_level(logging.WARNING):
        tracker.scalars({"a": 1.0}, 1)
        tracker.scalars({"a": 2.0}, 2)
        tracker.close()
    assert tracker.calls == 1
    assert [record.getMessage() for record in caplog.records] == ["falls ends here: ValueError: no route"]


def test_a_missing_extra_is_named_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    both = LoggingConfig(wandb=True, mlflow="sqlite:///x.db")
    assert missing(LoggingConfig()) is None
    assert missing(both) == (
        "logging.wandb needs a package that is not installed; type: "
        "pip install wandb mlflow-skinny sqlalchemy alembic"
    )
    with pytest.raises(UserError, match="type: pip install mlflow-skinny sqlalchemy alembic"):
        Workshop(compose(["logging=mlflow"]).config)


def wandb_records(path):
    """The messages of a ``.wandb`` file: LevelDB's log format, of W&B's own protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, message = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # what is left of a block is no header
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        message += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(message)
            message = b""


@pytest.mark.extras
def test_offline_runs_of_wandb_share_an_id_and_hold_the_numbers(tmp_path, monkeypatch, caplog):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    for step in (10, 20):
        tracker = Wandb(tmp_path / "name", "abc123", SETTINGS)
        tracker.scalars({"train/return": step / 4, "health/ess": 0.5}, step)
        tracker.close()
    folders = sorted((tmp_path / "wandb").glob("offline-run-*-abc123"))
    assert len(folders) == 2
    found = []
    for folder in folders:
        for record in wandb_records(next(folder.glob("*.wandb"))):
            items = {
                "/".join(item.nested_key) or item.key: float(item.value_json)
                for item in record.history.item
                if "_" not in item.key[1:]
            }
            found += [(items["_step"], items["train/return"])] if "train/return" in items else []
    assert found == [(10, 2.5), (20, 5)]
    assert caplog.records == []


@pytest.mark.extras
def test_mlflow_continues_its_run_and_reads_back_the_numbers(tmp_path):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    store = f"sqlite:///{tmp_path / 'm.db'}"
    for step in (10, 20):
        tracker = MLflow(store, tmp_path / "name", "abc123", SETTINGS, resumed=step > 10)
        tracker.scalars({"train/return": step / 4}, step)
        tracker.close()
    client = MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("gipo").experiment_id])
    assert (run.info.run_name, run.info.status) == ("name", "FINISHED")
    assert run.data.params["agent.policy.hidden"] == "[64, 64]"
    history = client.get_metric_history(run.info.run_id, "train/return")
    assert [(point.step, point.value) for point in history] == [(10, 2.5), (20, 5.0)]
