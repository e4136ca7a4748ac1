"""What was chance in a run with actors elsewhere is repeated to the bit."""

import random
import shutil

import pytest
import torch
from stage import Stage, composed

from gipo_cli.actors import open as opening
from gipo_cli.actors.replayed import read_arrivals
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.training.session import resume, train

SETTINGS = [
    "actors=processes",
    "actors.n=3",
    "actors.max_lag=2",
    "env.normalize_obs=true",
    "total_steps=640",
]


def cells(run, apart=("time/", "actors/")):
    header, *lines = (run / "metrics.csv").read_text().splitlines()
    found = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    return [{name: cell for name, cell in row.items() if not name.startswith(apart)} for row in found]


def assert_same(run, other):
    assert cells(run) == cells(other)
    lags = [[row["actors/arrival_lag"] for row in cells(folder, ("time/",))] for folder in (run, other)]
    assert lags[0] == lags[1]
    one, two = (CheckpointStore(folder / "checkpoints").load("last") for folder in (run, other))
    assert all(
        torch.equal(value, two.tensors["policy"][name]) for name, value in one.tensors["policy"].items()
    )
    assert torch.equal(one.tensors["generator"], two.tensors["generator"])
    assert one.state["running"] == two.state["running"]


def start(config, folder, **given):
    assert train(config, run_dir=folder, overrides=[], command=["gipo"], quiet=True, **given) == 0
    return folder


def replayed(config):
    return config.model_copy(update={"actors": config.actors.model_copy(update={"kind": "replayed"})})


@pytest.fixture(scope="module", params=["pace gipo", "drop gipo_decoupled", "mask gipo"])
def recorded(request, tmp_path_factory):
    """A run in which actors died, that was stopped and resumed; and its configuration."""
    overflow, objective = request.param.split()
    config = composed(*SETTINGS, f"actors.overflow={overflow}", f"objective={objective}")
    folder = tmp_path_factory.mktemp("recorded") / "run"
    crews = iter(range(9))

    def crew(parts, seconds):
        return Stage(parts, random.Random(next(crews)), deaths=0.2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "Processes", crew)
        start(config.model_copy(update={"total_steps": 256}), folder)
        assert resume(folder, overrides=["total_steps=640"], allow_changes=False, quiet=True) == 0
    return folder, config


def test_the_run_is_repeated_to_the_bit_also_when_the_repetition_is_resumed(recorded, tmp_path):
    run, config = recorded
    rows = read_arrivals(run / "arrivals.csv", 640)
    assert {row.actor for row in rows} == {0, 1, 2}
    assert len({row.iteration - row.version for row in rows}) > 1
    assert sum(row.size for row in rows if row.fate != "dropped") == 640
    again = start(replayed(config), tmp_path / "again", arrivals=run / "arrivals.csv")
    assert_same(again, run)
    # As a kill leaves it before its last checkpoint.
    shutil.rmtree(CheckpointStore(again / "checkpoints").path(640))
    (again / "status.json").unlink()
    assert resume(again, overrides=[], allow_changes=False, quiet=True) == 0
    assert_same(again, run)


def test_a_record_that_does_not_fit_is_refused(recorded, tmp_path):
    run, config = recorded
    with pytest.raises(
        UserError, match=r"covers 640 of 999 steps; finish that run first: gipo train --resume"
    ):
        read_arrivals(run / "arrivals.csv", 999)
    with pytest.raises(UserError, match="only runs with actors=processes or actors=ray record arrivals"):
        read_arrivals(tmp_path / "arrivals.csv", 1)
    (tmp_path / "odd.csv").write_text("iteration,actor\n1,x\n")
    with pytest.raises(UserError, match="is damaged or cannot be read"):
        read_arrivals(tmp_path / "odd.csv", 1)
    header, first, *rest = (run / "arrivals.csv").read_text().splitlines(keepends=True)
    (tmp_path / "twice.csv").write_text("".join([header, first, first, *rest]))
    with pytest.raises(RunFailed, match=r"arrivals.csv does not fit this run at its row 2"):
        start(replayed(config), tmp_path / "twice", arrivals=tmp_path / "twice.csv")


def test_a_repetition_takes_no_settings_and_is_not_typed_as_one(recorded, tmp_path):
    from gipo_cli.commands.train import train as command

    with pytest.raises(
        UserError, match="takes that run's settings; add --name, --runs, --quiet or --trust only"
    ):
        command(ctx=None, overrides=["seed=2"], replay_arrivals="r")
    with pytest.raises(UserError, match=r"is made by gipo train --replay-arrivals RUN"):
        start(replayed(recorded[1]), tmp_path / "typed")
