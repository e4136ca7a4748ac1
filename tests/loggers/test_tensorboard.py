import errno
import logging
import os
import time

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gipo_cli.loggers.tensorboard import TensorBoard
from gipo_cli.runs.layout import create
from gipo_cli.runs.tables import Tables
from gipo_cli.text import flatten


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    return events


def points(folder, tag):
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def write(board, first, last):
    for step in range(first, last):
        board.scalars({"train/return": step / 4, "eval/success": 1.0}, step)


def test_scalars_come_back(tmp_path):
    board = TensorBoard(tmp_path / "tb")
    board.scalars({"a": 1.5, "b/c": -2.0}, 100)
    board.scalars({"a": 2.5}, 200)
    # On disk at once, as a checkpoint's note of their length supposes.
    assert points(tmp_path / "tb", "a") == [(100, 1.5), (200, 2.5)]
    board.close()
    assert points(tmp_path / "tb", "b/c") == [(100, -2.0)]


def test_a_resumed_run_has_no_half_curves(tmp_path):
    run = create(tmp_path, "a")
    tables, board = Tables(run), TensorBoard(run.tensorboard)
    write(board, 1, 11)
    marks = tables.marks()
    # What comes after the checkpoint is lost with the process, in the middle of a record.
    write(board, 11, 14)
    tables.close()
    newest = max(run.tensorboard.iterdir())
    newest.write_bytes(newest.read_bytes()[:-5])
    tables = Tables(run, marks)
    board = TensorBoard(run.tensorboard, 10)
    write(board, 11, 21)
    board.close()
    tables.close()
    for tag in ("train/return", "eval/success"):
        assert [step for step, _ in points(run.tensorboard, tag)] == list(range(1, 21))


def test_a_tensorboard_that_watches_forgets_what_it_saw_beyond_the_checkpoint(tmp_path):
    first = TensorBoard(tmp_path)
    write(first, 1, 14)
    watching = read(tmp_path)
    assert len(watching.Scalars("train/return")) == 13
    first.close()
    second = TensorBoard(tmp_path, 10)
    write(second, 11, 12)
    second.close()
    watching.Reload()
    assert [event.step for event in watching.Scalars("train/return")] == list(range(1, 12))


def test_curves_of_before_survive_an_attempt_without_tensorboard(tmp_path):
    run = create(tmp_path, "a")
    tables, board = Tables(run), TensorBoard(run.tensorboard)
    write(board, 0, 10)
    marks = tables.marks()
    board.close()
    tables.close()
    time.sleep(1)  # files are read in the order of their names, which begin with the second
    for _ in range(2):
        tables = Tables(run, marks)
        marks = tables.marks()
        tables.close()
    board = TensorBoard(run.tensorboard, 20)
    write(board, 21, 30)
    board.close()
    assert [step for step, _ in points(run.tensorboard, "train/return")] == [*range(10), *range(21, 30)]


def test_histograms_leave_out_what_is_not_finite(tmp_path):
    board = TensorBoard(tmp_path)
    values = np.array([[-1.0, 0.0, 1.0, np.nan], [np.inf, -np.inf, 1e300, 2.0]])
    board.histogram("health/log_ratio", values, 10)
    board.histogram("nothing", np.array([np.nan]), 10)
    board.histogram("constant", np.zeros(5, np.float32), 10)
    board.close()
    events = read(tmp_path)
    histogram = events.Histograms("health/log_ratio")[0].histogram_value
    assert (histogram.num, histogram.min, histogram.max) == (4, -1.0, 2.0)
    assert events.Tags()["histograms"] == ["health/log_ratio", "constant"]


def test_a_disk_that_refuses_ends_the_curves_and_not_the_run(tmp_path, monkeypatch, caplog):
    board = TensorBoard(tmp_path / "tb")
    board.scalars({"a": 1.0}, 1)

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("threading.excepthook", lambda failed: None)
    monkeypatch.setattr("tensorboard.compat.tensorflow_stub.io.gfile.LocalFileSystem.append", full)
    with caplog.at_level(logging.WARNING, "gipo"):
        for step in range(2, 99):
            board.scalars({"a": 1.0}, step)
            board.histogram("h", np.zeros(3), step)
    board.close()
    assert [record.getMessage() for record in caplog.records] == [
        "TensorBoard's curves end here: No space left on device"
    ]
    assert points(tmp_path / "tb", "a") == [(1, 1.0)]
    (tmp_path / "file").touch()
    TensorBoard(tmp_path / "file" / "tb").scalars({"a": 1.0}, 1)


def test_hyperparameters_are_declared_with_their_metrics_at_the_start(tmp_path):
    from tensorboard.backend.event_processing import data_provider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.list_session_groups import Handler

    board = TensorBoard(tmp_path / "a" / "tb")
    config = {
        "seed": 3,
        "objective": {"name": "gipo", "sigma": 0.5, "sides": ["a"], "rho_max": None, "on": True},
    }
    board.hparams(flatten(config), ["eval/success"])
    board.scalars({"eval/success": 0.75}, 50)
    board.close()

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    context, request_context = Context(TBContext(data_provider=provider)), RequestContext()
    experiment = context.experiment_from_metadata(
        request_context,
        "",
        include_metrics=True,
        data_provider_hparams=context.hparams_from_data_provider(request_context, "", 99),
        hparams_run_to_tag_to_content=context.hparams_metadata(request_context, ""),
        hparams_limit=99,
    )
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=9, allowed_statuses=[api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_RUNNING]
    )
    for info in experiment.metric_infos:
        request.col_params.add(metric=info.name)
    (group,) = Handler(request_context, context, "", request).run().session_groups
    assert [(value.name.tag, value.value, value.training_step) for value in group.metric_values] == [
        ("eval/success", 0.75, 50)
    ]
    values = {
        name: value.WhichOneof("kind") and getattr(value, value.WhichOneof("kind"))
        for name, value in group.hparams.items()
    }
    assert values == {
        "seed": 3.0,
        "objective.name": "gipo",
        "objective.sigma": 0.5,
        "objective.sides": "['a']",
        "objective.rho_max": "None",
        "objective.on": True,
    }
