import hashlib
import json

import numpy as np
import pytest
import yaml
from synthetic_runs import config, write_diagnostics, write_run

from gipo_cli.compare import tables
from gipo_cli.compare.grouping import group_runs
from gipo_cli.compare.load import flat_settings, read_run, read_runs
from gipo_cli.compare.tables import DamagedFile
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.durable import seal_text


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "study" / "a", config(seed=3), [0.2, 0.4])


def test_a_run_folder_reads_back_what_was_written(run):
    table = read_run(run)
    assert (table.seed, table.objective, table.buffer, table.state, table.budget) == (
        3, "gipo", 2000, "done", 100_000
    )  # fmt: skip
    assert table.eval.numbers["success"].tolist() == [0.2, 0.4]
    assert table.eval.numbers["step"].tolist() == [50_000, 100_000]
    assert table.config["objective.sigma"] == 0.5
    assert table.wall(100_000) == 600
    assert table.wall(50_000) == 300
    assert np.isnan(table.wall(10))


def test_null_buffer_is_one_rollout_of_all_environments(tmp_path):
    tree = config(buffer=None, **{"env.n_envs": 4})
    assert read_run(write_run(tmp_path / "a", tree, [1])).buffer == 2000


def test_settings_stay_comparable():
    assert flat_settings({"a": {"b": [1, [2]], "c": {}}, "d": None}) == {
        "a.b": (1, (2,)),
        "a.c": (),
        "d": None,
    }


def test_absent_cells_are_not_values(run):
    steps, values = read_run(run, extra_column="train/return").column("metrics", "train/return")
    assert len(steps) == 19
    assert values.tolist() == [1.0] * 19


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
    runs, left_out = read_runs([run, whole])
    assert [table.path for table in runs] == [whole]
    assert [out.path for out in left_out] == [run]
    assert left_out[0].reason.startswith("damaged: ")
    assert words in left_out[0].reason


@pytest.mark.parametrize("lines", [slice(None), slice(None, -1)], ids=["edited", "without its digest"])
def test_an_edited_configuration_is_noticed(run, lines):
    meta = {**json.loads((run / "meta.json").read_text()), "files": {}}
    (run / "meta.json").write_text(json.dumps(meta))
    whole = seal_text((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(whole)
    assert read_run(run).config["objective.sigma"] == 0.5
    edited = whole.replace("sigma: 0.5", "sigma: 0.4").splitlines(keepends=True)[lines]
    (run / "config.yaml").write_text("".join(edited))
    with pytest.raises(DamagedFile, match="was changed since it was written"):
        read_run(run)


def test_a_run_without_any_table_is_damaged(run):
    (run / "eval.csv").unlink()
    (run / "metrics.csv").unlink()
    with pytest.raises(DamagedFile, match="neither"):
        read_run(run)


def test_the_last_line_of_a_running_run_may_be_unfinished(run):
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "running"}))
    with (run / "eval.csv").open("a") as file:
        file.write("150000,20,3")
    assert read_run(run).eval.numbers["success"].tolist() == [0.2, 0.4]


def test_several_processes_read_the_same(run, tmp_path):
    write_diagnostics(run, config(seed=3))
    others = [write_run(tmp_path / f"r{seed}", config(seed=seed), [seed / 10]) for seed in range(4)]
    alone, _ = read_runs([run, *others])
    spread, _ = read_runs([run, *others], workers=2)
    assert [table.path for table in spread] == [table.path for table in alone]
    for one, other in zip(alone, spread, strict=True):
        np.testing.assert_array_equal(one.eval.numbers["success"], other.eval.numbers["success"])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("status.json", '{"state": "done", "total_steps": 1%s}' % ("0" * 400), "more than 19 digits"),
        ("config.yaml", "seed: 1%s\nenv: {name: x}\nobjective: {name: gipo}" % ("0" * 400), "19 digits"),
        ("meta.json", '{"updates": 5}', "updates that are none"),
        ("meta.json", '{"updates": [5]}', "updates that are none"),
        ("meta.json", '{"versions": []}', "versions or changes"),
    ],
)  # fmt: skip
def test_values_that_would_stop_a_comparison_are_damage(run, name, content, words):
    (run / name).write_text(content)
    _, (out,) = read_runs([run])
    assert words in out.reason


def test_settings_of_odd_kinds_can_be_compared(tmp_path):
    odd = {"a": float("nan"), "b": {"x", "y"}, "c": 10**30, "d": 1e308, "e": b"bytes", "f": True}
    runs, _ = read_runs(
        [write_run(tmp_path / str(seed), config(seed=seed, **{"odd": odd}), [0.5]) for seed in (1, 2)]
    )
    assert runs == []
    del odd["c"]
    for seed in (1, 2):
        (tmp_path / str(seed) / "config.yaml").write_text(yaml.safe_dump(config(seed=seed, **{"odd": odd})))
    runs, _ = read_runs([tmp_path / "1", tmp_path / "2"])
    assert len(group_runs(runs).arms) == 1


def test_numbers_too_large_to_add_up_count_as_infinite(tmp_path):
    run = write_run(tmp_path / "a", config(), [0.5, 0.5], returns=[1e308, 2.0])
    (table,), _ = read_runs([run])
    assert table.eval.not_finite["return_mean"] == 1


@pytest.fixture
def checkpoints(run):
    """Two of them, of which the newest saw all of the run's tables."""
    write_diagnostics(run, config(seed=3))
    files = {"evaluations": "eval.csv", "metrics": "metrics.csv", "diagnostics": "diagnostics.csv"}
    marks = {name: mark((run / file).read_bytes()) for name, file in files.items()}
    marks["events"] = {"events.out.tfevents.1": 12}
    old = {name: {"bytes": 1, "sha256": "0"} for name in files}
    for step, recorder in ((500, old), (1000, marks)):
        folder = CheckpointStore(run / "checkpoints").path(step)
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps({"recorder": recorder}))
    return folder


def mark(content):
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("block", [1 << 18, 500])
@pytest.mark.parametrize("name", ["eval.csv", "metrics.csv", "diagnostics.csv"])
def test_a_table_that_was_changed_since_the_newest_checkpoint_is_named(
    run, checkpoints, monkeypatch, name, block
):
    monkeypatch.setattr(tables, "BLOCK", block)
    whole = (run / name).read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    (run / name).write_bytes(whole + last)
    read_run(run)
    for changed in (whole.replace(b"0.", b"1.", 1), whole[: -len(last)]):
        assert changed != whole
        (run / name).write_bytes(changed)
        with pytest.raises(DamagedFile, match=rf"^{name} was changed since the newest checkpoint"):
            read_run(run)
    (run / name).unlink()
    with pytest.raises(DamagedFile, match=rf"^{name} cannot be read: No such file"):
        read_run(run)


@pytest.mark.parametrize("content", ["{", "{}", "5", '{"recorder": 5}', '{"recorder": {"metrics": 5}}'])
def test_a_checkpoint_that_cannot_be_read_is_not_asked(run, checkpoints, content):
    (checkpoints / "state.json").write_text(content)
    (run / "eval.csv").write_bytes((run / "eval.csv").read_bytes().replace(b"0.2", b"0.3"))
    read_run(run)


def test_runs_that_differ_in_their_seed_share_what_was_parsed(tmp_path):
    runs = [read_run(write_run(tmp_path / str(seed), config(seed=seed), [0.5])) for seed in (1, 2)]
    assert [run.seed for run in runs] == [1, 2]
    (tmp_path / "2" / "config.yaml").write_text("seed: 2\nseed: 3\nenv: {name: x}\nobjective: {name: gipo}\n")
    assert read_run(tmp_path / "2").seed == 3
    (tmp_path / "2" / "config.yaml").write_text("env: {name: x}\nobjective:\n  name: gipo\nseed: 4\n")
    assert read_run(tmp_path / "2").seed == 4
