import csv
import json
import math
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.layout import create
from gipo_cli.runs.recorder import Recorder, cell, flatten

SINKS = {
    "columns": ["step", "iteration", "train/return", "health/ess"],
    "eval_columns": ["step", "success", "return_mean", "time/wall"],
    "diagnostics_columns": ["step", "reference", "family", "knob", "value", "trained", "bias2", "cosine"],
    "tensorboard": True,
}


def rows(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def events(run):
    read = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0, "histograms": 0})
    read.Reload()
    return read


def points(run, tag):
    return [(event.step, event.value) for event in events(run).Scalars(tag)]


@given(st.floats(allow_nan=False))
def test_floats_round_trip(value):
    assert float(cell(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (3, "3"),
        (True, "1"),
        (np.bool_(False), "0.0"),
        (np.int64(7), "7"),
        (np.float32(0.1), "0.10000000149011612"),
        (1e-5, "1e-05"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("gipo", "gipo"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


def test_rows_and_events_agree(tmp_path):
    run = create(tmp_path, "a")
    recorder = Recorder.start(run, **SINKS)
    recorder.metrics({"step": 100, "iteration": 1, "train/return": None, "health/ess": 0.25})
    recorder.metrics({"step": 200, "iteration": 2, "train/return": np.float32(-1.5)})
    recorder.evaluation({"step": 200, "success": 1.0, "return_mean": -2.0, "time/wall": 3.5})
    recorder.diagnostics(
        [
            {
                "step": 200,
                "reference": "on_policy",
                "family": "gipo",
                "knob": "sigma",
                "value": 0.5,
                "bias2": 2.0,
            },
            {
                "step": 200,
                "reference": "importance_sampled",
                "family": "gipo",
                "knob": "sigma",
                "value": 0.5,
                "bias2": 3.0,
            },
            {
                "step": 200,
                "reference": "on_policy",
                "family": "no_clip",
                "knob": "",
                "bias2": 4.0,
                "cosine": 1.0,
            },
        ]
    )
    recorder.close()
    assert run.metrics.read_bytes() == (b"step,iteration,train/return,health/ess\n100,1,,0.25\n200,2,-1.5,\n")
    assert run.evaluations.read_text().splitlines()[1] == "200,1.0,-2.0,3.5"
    assert run.diagnostics.read_text().splitlines()[1:] == [
        "200,on_policy,gipo,sigma,0.5,,2.0,",
        "200,importance_sampled,gipo,sigma,0.5,,3.0,",
        "200,on_policy,no_clip,,,,4.0,1.0",
    ]
    assert points(run, "train/return") == [(200, -1.5)]
    assert points(run, "iteration") == [(100, 1.0), (200, 2.0)]
    assert points(run, "eval/success") == [(200, 1.0)]
    assert points(run, "time/wall") == [(200, 3.5)]
    assert points(run, "diagnostics/on_policy/bias2/gipo-sigma=0.5") == [(200, 2.0)]
    assert points(run, "diagnostics/importance_sampled/bias2/gipo-sigma=0.5") == [(200, 3.0)]
    assert points(run, "diagnostics/on_policy/cosine/no_clip") == [(200, 1.0)]
    assert "step" not in events(run).Tags()["scalars"]


def test_text_with_commas_and_quotes_survives(tmp_path):
    run = create(tmp_path, "a")
    recorder = Recorder.start(run, **SINKS)
    name = 'my "own", objective\nü'
    recorder.diagnostics([{"step": 1, "reference": "on_policy", "family": name, "bias2": 1.0}])
    recorder.close()
    assert rows(run.diagnostics)[0]["family"] == name


def test_an_unknown_column_is_an_error_and_writes_nothing(tmp_path):
    run = create(tmp_path, "a")
    recorder = Recorder.start(run, **SINKS)
    with pytest.raises(ValueError, match=r"metrics\.csv has no column loss/actr"):
        recorder.metrics({"step": 1, "loss/actr": 1.0})
    assert len(rows(run.metrics)) == 0


def test_a_new_run_never_overwrites_records(tmp_path):
    run = create(tmp_path, "a")
    run.evaluations.write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        Recorder.start(run, **SINKS)
    assert run.evaluations.read_text() == "mine"
    assert not run.metrics.exists()


def test_histograms_leave_out_what_is_not_finite(tmp_path):
    run = create(tmp_path, "a")
    recorder = Recorder.start(run, **SINKS)
    values = np.array([[-1.0, 0.0, 1.0, np.nan], [np.inf, -np.inf, 1e300, 2.0]])
    recorder.histogram("health/log_ratio", values, 10)
    recorder.histogram("nothing", np.array([np.nan]), 10)
    recorder.histogram("constant", np.zeros(5, np.float32), 10)
    recorder.close()
    read = events(run)
    histogram = read.Histograms("health/log_ratio")[0].histogram_value
    assert (histogram.num, histogram.min, histogram.max) == (4, -1.0, 2.0)
    assert read.Tags()["histograms"] == ["health/log_ratio", "constant"]


def test_hyperparameters_are_declared_with_their_metrics_at_the_start(tmp_path):
    from tensorboard.backend.event_processing import data_provider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.list_session_groups import Handler

    run = create(tmp_path, "a")
    recorder = Recorder.start(run, **SINKS)
    config = {
        "seed": 3,
        "objective": {"name": "gipo", "sigma": 0.5, "sides": ["a"], "rho_max": None, "on": True},
    }
    recorder.hparams(flatten(config), ["eval/success"])
    recorder.evaluation({"step": 50, "success": 0.75})
    recorder.close()

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


def write(recorder, first, last):
    for step in range(first, last):
        recorder.metrics({"step": step, "iteration": step, "train/return": step / 3})
        if step % 5 == 0:
            recorder.evaluation({"step": step, "success": 1 / (step + 1)})


def test_resuming_drops_what_came_after_and_nothing_else(tmp_path):
    straight, broken = create(tmp_path, "straight"), create(tmp_path, "broken")
    recorder = Recorder.start(straight, **SINKS)
    write(recorder, 0, 40)
    recorder.close()

    recorder = Recorder.start(broken, **SINKS)
    write(recorder, 0, 10)
    position = recorder.position()
    for end in (12, 17, 40):
        write(recorder, 10, end)
        recorder.close()
        recorder = Recorder.resume(broken, position, **SINKS)
    write(recorder, 10, 20)
    position = recorder.position()
    write(recorder, 20, 33)
    recorder.close()
    recorder = Recorder.resume(broken, position, **SINKS)
    write(recorder, 20, 40)
    recorder.close()

    assert broken.metrics.read_bytes() == straight.metrics.read_bytes()
    assert broken.evaluations.read_bytes() == straight.evaluations.read_bytes()
    for tag in ("train/return", "eval/success"):
        assert points(broken, tag) == points(straight, tag)
    assert [path.name[-1] for path in sorted(broken.tensorboard.iterdir())] == ["1", "2", "3"]


def test_resuming_before_the_first_checkpoint_starts_the_records_anew(tmp_path):
    run = create(tmp_path, "a")
    recorder = Recorder.start(run, **SINKS)
    write(recorder, 0, 7)
    recorder.close()
    recorder = Recorder.resume(run, None, **SINKS)
    write(recorder, 0, 3)
    recorder.close()
    assert [row["step"] for row in rows(run.metrics)] == ["0", "1", "2"]
    assert [step for step, _ in points(run, "train/return")] == [0, 1, 2]


def saved(tmp_path):
    run = create(tmp_path, "a")
    recorder = Recorder.start(run, **SINKS)
    write(recorder, 0, 7)
    position = recorder.position()
    recorder.close()
    return run, position


@pytest.mark.parametrize(
    "name", ["metrics.csv", "eval.csv", "diagnostics.csv", "tb/events.out.tfevents.0000000001"]
)
def test_records_that_changed_since_the_checkpoint_are_refused(tmp_path, name):
    run, position = saved(tmp_path)
    path = run.path / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (flipped, whole[:-1], whole[1:], b""):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="restore it, or start a new run"):
            Recorder.resume(run, position, **SINKS)
        assert path.read_bytes() == damaged
    path.unlink()
    with pytest.raises(UserError, match="restore it, or start a new run"):
        Recorder.resume(run, position, **SINKS)


def test_damaged_curves_can_be_given_up(tmp_path):
    run, position = saved(tmp_path)
    for path in run.tensorboard.iterdir():
        path.unlink()
    run.tensorboard.rmdir()
    recorder = Recorder.resume(run, position, **SINKS)
    write(recorder, 7, 9)
    recorder.close()
    assert [step for step, _ in points(run, "train/return")] == [7, 8]
    assert len(rows(run.metrics)) == 9


def test_other_columns_are_refused(tmp_path):
    run, position = saved(tmp_path)
    with pytest.raises(UserError, match="other columns"):
        Recorder.resume(run, position, **{**SINKS, "columns": ["step", "new"]})


def test_without_tensorboard(tmp_path):
    run = create(tmp_path, "a")
    sinks = {**SINKS, "tensorboard": False}
    recorder = Recorder.start(run, **sinks)
    recorder.hparams({}, [])
    recorder.histogram("h", np.zeros(3), 1)
    write(recorder, 0, 3)
    position = recorder.position()
    recorder.close()
    Recorder.resume(run, position, **sinks).close()
    assert not run.tensorboard.exists()


def test_curves_of_before_survive_an_attempt_without_tensorboard(tmp_path):
    run = create(tmp_path, "a")
    recorder = Recorder.start(run, **SINKS)
    write(recorder, 0, 10)
    position = recorder.position()
    recorder.close()
    recorder = Recorder.resume(run, position, **{**SINKS, "tensorboard": False})
    write(recorder, 10, 20)
    position = recorder.position()
    recorder.close()
    recorder = Recorder.resume(run, position, **SINKS)
    write(recorder, 20, 30)
    recorder.close()
    assert [step for step, _ in points(run, "train/return")] == [*range(10), *range(20, 30)]


WRITER = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from gipo_cli.runs.layout import RunDir
    from gipo_cli.runs.recorder import Recorder
    run, sinks = RunDir(Path(sys.argv[1])), json.loads(sys.argv[2])
    saved = run.path / "position.json"
    content = json.loads(saved.read_text()) if saved.exists() else None
    recorder = Recorder.resume(run, content and content["position"], **sinks)
    step = content["step"] if content else 0
    while True:
        step += 1
        recorder.metrics({"step": step, "iteration": step, "train/return": step / 3})
        if step % 50 == 0:
            aside = run.path / "position.tmp"
            aside.write_text(json.dumps({"step": step, "position": recorder.position()}))
            aside.replace(saved)
    """
)


def test_kills_at_any_moment_leave_every_row_once(tmp_path):
    run = create(tmp_path, "a")
    saved, reached = run.path / "position.json", 0
    for delay in (0.0, 0.013, 0.031, 0.057):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(run.path), json.dumps(SINKS)]) as writer:
            while not saved.exists() or json.loads(saved.read_text())["step"] == reached:
                assert writer.poll() is None
                time.sleep(0.001)
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
        reached = json.loads(saved.read_text())["step"]
        assert writer.returncode == -signal.SIGKILL
    content = json.loads(saved.read_text())
    Recorder.resume(run, content["position"], **SINKS).close()
    expected = [str(step) for step in range(1, content["step"] + 1)]
    assert [row["step"] for row in rows(run.metrics)] == expected
    assert [str(step) for step, _ in points(run, "train/return")] == expected


def test_a_row_that_does_not_fit_on_the_disk_is_taken_back(tmp_path):
    import resource

    run = create(tmp_path, "a")
    recorder = Recorder.start(run, **{**SINKS, "tensorboard": False})
    write(recorder, 0, 3)
    whole = run.metrics.read_bytes()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 5, hard))
    try:
        with pytest.raises(RunFailed, match=r"metrics\.csv: the disk took 5 of"):
            recorder.metrics({"step": 3, "iteration": 3, "train/return": 1 / 3})
        assert run.metrics.read_bytes() == whole
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole), hard))
        with pytest.raises(RunFailed, match=r"metrics\.csv: File too large"):
            recorder.metrics({"step": 3, "iteration": 3, "train/return": 1 / 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    assert run.metrics.read_bytes() == whole


def test_a_resume_that_is_refused_changes_nothing(tmp_path):
    run = create(tmp_path, "a")
    recorder = Recorder.start(run, **SINKS)
    recorder.metrics({"step": 100, "iteration": 1})
    recorder.evaluation({"step": 100, "success": 1.0})
    position = recorder.position()
    recorder.metrics({"step": 200, "iteration": 2})
    recorder.close()
    run.evaluations.write_text(run.evaluations.read_text().replace("1.0", "0.9"))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"eval\.csv was changed"):
        Recorder.resume(run, position, **SINKS)
    run.evaluations.unlink()
    with pytest.raises(UserError, match=r"eval\.csv is missing"):
        Recorder.resume(run, position, **SINKS)
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert after == {path: data for path, data in before.items() if path != run.evaluations}
