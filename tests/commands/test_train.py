"""Training through the command line, in real processes: complete, repeatable, and exact after any stop."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from warm import Warm, finish

from gipo_cli.errors import UserError
from gipo_cli.runs.catalog import EVALUATION_COLUMNS, METRIC_COLUMNS
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.durable import read_sealed, write_sealed
from gipo_cli.runs.status import read_status

PENDULUM = [
    "env=gymnasium",
    "env.id=Pendulum-v1",
    "env.n_envs=2",
    "agent.rollout_steps=64",
    "buffer.size=700",
    "agent.update.rounds=2",
    "agent.update.batch_size=64",
    "eval.interval=512",
    "eval.episodes=2",
    "checkpoint.interval=300",
    "total_steps=1500",
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def gipo(*arguments, cwd):
    return finish(arguments, cwd=cwd, env=ENVIRONMENT)


def start(*arguments, cwd):
    return Warm(arguments, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def train(cwd, name, *overrides):
    done = gipo("train", "--name", name, *PENDULUM, *overrides, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "runs" / name


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def reproducible(path):
    """Rows as text, the columns that measure time aside."""
    return [{key: cell for key, cell in row.items() if not key.startswith("time/")} for row in rows(path)]


def parameters(run):
    saved = CheckpointStore(run / "checkpoints").load("last")
    return saved.step, saved.tensors["policy"], saved.tensors["optimizer"]


def assert_same_run(run, expected):
    assert reproducible(run / "metrics.csv") == reproducible(expected / "metrics.csv")
    assert reproducible(run / "eval.csv") == reproducible(expected / "eval.csv")
    (step, policy, optimizer), (other_step, other_policy, other_optimizer) = (
        parameters(run),
        parameters(expected),
    )
    assert step == other_step
    assert all(torch.equal(policy[name], other_policy[name]) for name in other_policy)
    moments, others = optimizer["state"], other_optimizer["state"]
    assert all(torch.equal(moments[key]["exp_avg"], others[key]["exp_avg"]) for key in others)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train(tmp_path_factory.mktemp("finished"), "whole")


def test_the_run_folder_is_complete(finished):
    metrics, evaluations = rows(finished / "metrics.csv"), rows(finished / "eval.csv")
    assert tuple(metrics[0]) == METRIC_COLUMNS
    assert tuple(evaluations[0]) == EVALUATION_COLUMNS
    assert [int(row["step"]) for row in metrics] == list(range(128, 1537, 128))
    assert [int(row["step"]) for row in evaluations] == [512, 1024, 1536]
    status = read_status(finished / "status.json")
    assert (status.state, status.step, status.attempt) == ("done", 1536, 1)
    assert {"config.yaml", "overrides.txt", "command.txt", "meta.json", "log.txt", "tb", "checkpoints"} <= {
        path.name for path in finished.iterdir()
    }
    assert (finished / "overrides.txt").read_text().splitlines() == PENDULUM
    values = [float(row["health/ess"]) for row in metrics]
    assert all(0 < value <= 1 for value in values)


def test_tensorboard_holds_the_same_numbers(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "tb"), size_guidance={"scalars": 0, "histograms": 0}).Reload()
    for tag in ("health/ess", "train/return", "loss/critic"):
        column = [(int(row["step"]), float(row[tag])) for row in rows(finished / "metrics.csv") if row[tag]]
        scalars = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in scalars] == [step for step, _ in column]
        np.testing.assert_allclose([v for _, v in scalars], [v for _, v in column], rtol=1e-6)


def test_same_seed_same_run_other_seed_other_run(finished, tmp_path):
    assert_same_run(train(tmp_path, "again"), finished)
    other = train(tmp_path, "other", "seed=2")
    assert reproducible(other / "metrics.csv") != reproducible(finished / "metrics.csv")


def test_neither_checkpoints_nor_evaluations_nor_diagnostics_change_what_is_learned(finished, tmp_path):
    bare = train(tmp_path, "bare", "checkpoint.interval=null", "eval.interval=null")
    sampled = train(tmp_path, "sampled", "eval.deterministic=false")
    for run in (bare, sampled):
        assert reproducible(run / "metrics.csv") == reproducible(finished / "metrics.csv")
    assert reproducible(sampled / "eval.csv") != reproducible(finished / "eval.csv")
    probe = ["diagnostics.interval=256", "diagnostics.probe_size=128", "diagnostics.chunks=4"]
    measured = train(tmp_path, "measured", *probe)
    assert_same_run(measured, finished)
    assert {int(row["step"]) for row in rows(measured / "diagnostics.csv")} == set(range(256, 1537, 256))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_with_a_checkpoint_and_says_how_to_go_on(number, code, tmp_path):
    process = start(
        "train", "--name", "r", *PENDULUM, "total_steps=1000000", "checkpoint.interval=null", cwd=tmp_path
    )
    run = tmp_path / "runs" / "r"
    deadline = time.monotonic() + 120
    while not (run / "metrics.csv").exists() or (run / "metrics.csv").read_bytes().count(b"\n") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == code
    assert "gipo train --resume" in output
    status = read_status(run / "status.json")
    assert status.state == "interrupted"
    assert parameters(run)[0] == status.step == int(rows(run / "metrics.csv")[-1]["step"])


def test_a_longer_budget_extends_and_other_changes_are_refused(finished, tmp_path):
    longer = train(tmp_path, "longer", "total_steps=2000")
    short = train(tmp_path, "short")
    refused = gipo(
        "train", "--resume", "short", "total_steps=2000", "agent.update.actor_lr=0.1", cwd=tmp_path
    )
    assert refused.returncode == 2
    assert "agent.update.actor_lr: 0.0003 -> 0.1" in refused.stderr
    done = gipo("train", "--resume", "short", cwd=tmp_path)
    assert done.returncode == 2
    assert "has finished its 1500 steps" in done.stderr
    known = float(rows(short / "eval.csv")[-1]["return_mean"])
    resumed = gipo("train", "--resume", "short", "total_steps=2000", cwd=tmp_path)
    assert resumed.returncode == 0
    first = next(line for line in resumed.stdout.splitlines() if "steps/s" in line)
    assert f"eval return {known:.4g} success -" in first
    assert reproducible(short / "metrics.csv") == reproducible(longer / "metrics.csv")
    assert json.loads((short / "meta.json").read_text())["updates"][0]["changes"] == [
        "total_steps: 1500 -> 2000"
    ]


def test_more_steps_are_a_change_where_the_learning_rate_decays_over_them(tmp_path):
    train(tmp_path, "decaying", "agent.update.lr_schedule=linear")
    more = ("train", "--resume", "decaying", "total_steps=2000")
    refused = gipo(*more, cwd=tmp_path)
    assert refused.returncode == 2
    assert (
        "total_steps: 1500 -> 2000, and the learning rate of agent.update.lr_schedule=linear"
        in refused.stderr
    )
    assert gipo(*more, "--allow-changes", cwd=tmp_path).returncode == 0


def test_changes_that_the_checkpoint_does_not_fit_are_not_kept(tmp_path):
    run = train(tmp_path, "short", "checkpoint.keep_last=1")
    before = (run / "config.yaml").read_bytes(), (run / "meta.json").read_bytes()
    refused = gipo(
        "train", "--resume", "short", "--allow-changes", "env.n_envs=4", "total_steps=2000", cwd=tmp_path
    )
    assert refused.returncode == 1
    assert "it is of 2 environments and this agent has 4" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert ((run / "config.yaml").read_bytes(), (run / "meta.json").read_bytes()) == before
    # Killed while a checkpoint was being replaced by one of the same step: it is found again.
    for folder in (run / "checkpoints").glob("step_*"):
        folder.rename(folder.with_name(f".old-{folder.name}"))
    assert gipo("train", "--resume", "short", "total_steps=1600", cwd=tmp_path).returncode == 0
    assert "continued at step 1536" in (run / "log.txt").read_text()


def test_a_run_that_does_not_go_on_exactly_says_so(tmp_path):
    run = train(tmp_path, "short", "checkpoint.buffer=false")
    changed = ("--allow-changes", "seed=7", "total_steps=1600")
    assert gipo("train", "--resume", "short", *changed, cwd=tmp_path).returncode == 0
    said = (run / "log.txt").read_text()
    assert "the running episodes did not repeat themselves" in said
    assert "the checkpoint holds no buffer (checkpoint.buffer=false), so the run is not exact" in said


def test_the_evaluation_at_the_end_makes_the_last_checkpoint_the_best(tmp_path):
    run = train(tmp_path, "late", "eval.interval=null", "checkpoint.interval=128", "total_steps=512")
    assert [int(row["step"]) for row in rows(run / "eval.csv")] == [512]
    assert CheckpointStore(run / "checkpoints").best_step() == 512
    assert gipo("eval", "late", "--checkpoint", "best", "--episodes", "1", cwd=tmp_path).returncode == 0


def test_an_existing_run_is_never_overwritten(finished):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    again = gipo("train", "--name", "whole", *PENDULUM, cwd=finished.parent.parent)
    assert again.returncode == 2
    assert "already exists" in again.stderr
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


BAD = {
    "cuda": (["runtime.device=cuda"], "no usable GPU"),
    "buffer": (["buffer.size=100"], "smaller than one rollout of 128"),
    "unknown id": (["env.id=Pendulam-v1"], "Pendulum-v1"),
    "memory": (["buffer.size=9000000000"], "buffer.size=9000000000 needs more memory"),
    "steps": (["total_steps=0"], "total_steps"),
    "discrete": (["env.id=CartPole-v1"], "Box"),
    "module": (["env.imports=[not_there]"], "not_there"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_writes_nothing(case, tmp_path):
    overrides, words = BAD[case]
    if case == "cuda" and torch.cuda.is_available():
        overrides = ["runtime.device=gpu"]
        words = "cuda"
    done = gipo("train", *PENDULUM, *overrides, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*"))


FAULTY = """
import ctypes, time
import gymnasium as gym, numpy as np
class Faulty(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    steps = 0
    def __init__(self, fault): self.fault = fault
    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}
    def step(self, action):
        self.steps += 1
        late = self.steps > 300
        if late and self.fault == "raise": raise OSError("the arm fell off")
        obs = np.zeros(3 if late and self.fault == "shape" else 2, np.float32)
        if late and self.fault == "obs": obs[1] = np.nan
        if late and self.fault == "sleep": time.sleep(1000)
        if late and self.fault == "deaf":  # a deadlock in C code that holds the interpreter
            libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
            libc.pthread_mutex_lock(mutex), libc.pthread_mutex_lock(mutex)
        return obs, float("inf") if late and self.fault == "reward" else 1.0, False, self.steps % 20 == 0, {}
gym.register("Faulty-v0", Faulty)
"""
FAULTS = {
    "raise": "the arm fell off",
    "obs": "observation",
    "reward": "reward is inf",
    "shape": "shape",
    "sleep": "did not answer within 2 s",
    "deaf": "hangs where it cannot be interrupted",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_environment_fails_the_run_and_keeps_the_last_good_checkpoint(fault, tmp_path):
    (tmp_path / "faulty_module.py").write_text(FAULTY)
    settings = [
        "env=gymnasium",
        "env.id=Faulty-v0",
        "env.imports=[faulty_module]",
        f"env.kwargs={{fault:{fault}}}",
    ]
    sizes = ["agent.rollout_steps=64", "checkpoint.interval=64", "eval.interval=null", "total_steps=1000"]
    done = gipo("train", "--name", "r", *settings, *sizes, "runtime.env_timeout_s=2", cwd=tmp_path)
    assert done.returncode == (-signal.SIGKILL if fault == "deaf" else 1)
    assert FAULTS[fault] in done.stderr
    assert "Traceback" not in done.stderr
    status = read_status(tmp_path / "runs" / "r" / "status.json")
    assert status.state == "failed"
    assert FAULTS[fault] in status.reason
    assert parameters(tmp_path / "runs" / "r")[0] == 256


def test_code_that_a_run_names_needs_consent(tmp_path):
    (tmp_path / "faulty_module.py").write_text(FAULTY)
    settings = ["env=gymnasium", "env.id=Faulty-v0", "env.imports=[faulty_module]", "env.kwargs={fault:none}"]
    sizes = ["agent.rollout_steps=64", "eval.interval=null", "eval.episodes=1", "total_steps=64"]
    trained = gipo("train", "--name", "r", *settings, *sizes, cwd=tmp_path)
    assert trained.returncode == 0
    assert "gipo eval runs/r --trust\n" in trained.stdout
    (tmp_path / "faulty_module.py").write_text(FAULTY + "\nopen('executed', 'w').close()\n")
    for command in (["eval", "r"], ["train", "--resume", "r", "total_steps=128"]):
        refused = gipo(*command, cwd=tmp_path)
        assert refused.returncode == 2
        assert "add --trust" in refused.stderr
        assert not (tmp_path / "executed").exists()
    assert gipo("eval", "r", "--trust", "--episodes", "1", cwd=tmp_path).returncode == 0
    assert (tmp_path / "executed").exists()


def test_other_versions_are_refused_unless_allowed(finished, tmp_path):
    run = tmp_path / "runs" / "r"
    shutil.copytree(finished, run)
    meta = read_sealed(run / "meta.json")
    meta["versions"]["torch"] = "1.0.0"
    write_sealed(run / "meta.json", meta)
    refused = gipo("train", "--resume", "r", "total_steps=1000000", cwd=tmp_path)
    assert refused.returncode == 2
    assert "torch" in refused.stderr
    assert "--allow-changes" in refused.stderr


def test_a_non_finite_update_fails_the_run_and_names_it(tmp_path):
    blow_up = ["objective=no_clip", "agent.update.actor_lr=1e6", "agent.update.max_grad_norm=null"]
    done = gipo("train", "--name", "r", *PENDULUM, *blow_up, cwd=tmp_path)
    assert done.returncode == 1
    assert "at step" in done.stderr
    assert "was not applied" in done.stderr
    assert read_status(tmp_path / "runs" / "r" / "status.json").state == "failed"


def test_results_are_not_overwritten_where_the_checkpoints_are_gone(finished, tmp_path):
    run = tmp_path / "runs" / "r"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "checkpoints")
    before = {path: path.read_bytes() for path in run.rglob("*.csv")}
    for state in ("done", "interrupted"):
        write_sealed(run / "status.json", {**read_sealed(run / "status.json"), "state": state})
        refused = gipo("train", "--resume", "r", "total_steps=2000", cwd=tmp_path)
        assert refused.returncode == 2
        assert "has results and its checkpoints are gone" in refused.stderr
    assert {path: path.read_bytes() for path in run.rglob("*.csv")} == before


def test_another_device_is_refused_unless_allowed(finished, tmp_path):
    run = tmp_path / "runs" / "r"
    shutil.copytree(finished, run)
    meta = read_sealed(run / "meta.json")
    assert meta["device"] == "cpu"
    write_sealed(run / "meta.json", {**meta, "device": "cuda"})
    refused = gipo("train", "--resume", "r", "total_steps=1600", cwd=tmp_path)
    assert refused.returncode == 2
    assert "was trained on cuda so far" in refused.stderr
    assert gipo("train", "--resume", "r", "total_steps=1600", "--allow-changes", cwd=tmp_path).returncode == 0
    assert read_sealed(run / "meta.json")["updates"][-1]["device"] == "cpu"


def test_only_a_name_that_nobody_chose_is_numbered(tmp_path, monkeypatch):
    from gipo_cli.commands.app import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gipo_cli.runs.layout.default_name", lambda config: "made-up")
    for name in ("made-up", "made-up-2"):
        with pytest.raises(SystemExit) as ended:
            app(["train", "--quiet", *PENDULUM, "total_steps=128", "eval.interval=null", "eval.episodes=1"])
        assert ended.value.code == 0
        assert (tmp_path / "runs" / name / "config.yaml").exists()
    with pytest.raises(UserError, match="already exists and is not overwritten"):
        app(["train", "--quiet", *PENDULUM, "--name", "made-up"])


def test_three_lines_of_python_load_a_checkpoint(finished, monkeypatch):
    from gipo_cli import load_run
    from gipo_cli.envs.make import make_vec_env
    from gipo_cli.settings.schema import EnvConfig

    monkeypatch.chdir(finished.parent.parent)
    named = load_run(finished.name, 1536)
    assert named.num_timesteps == 1536
    with pytest.raises(ValueError, match="give it one like that of its training"):
        named.learn(64)
    named.set_env(make_vec_env(EnvConfig(name="gymnasium", id="Pendulum-v1", n_envs=2), 1))
    assert named.learn(128).num_timesteps == 128
    model = load_run(finished)
    action, _ = model.predict(np.zeros(3, np.float32), deterministic=True)
    assert action.shape == (1,)
    assert np.array_equal(
        action, load_run(finished, "last").predict(np.zeros(3, np.float32), deterministic=True)[0]
    )


def test_two_processes_cannot_write_one_run(tmp_path):
    process = start("train", "--name", "r", *PENDULUM, "total_steps=1000000", cwd=tmp_path)
    run = Path(tmp_path / "runs" / "r")
    deadline = time.monotonic() + 120
    while not (run / "metrics.csv").exists() or (run / "metrics.csv").read_bytes().count(b"\n") < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second = gipo("train", "--resume", "r", cwd=tmp_path)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert second.returncode == 2
    assert "is being written by process" in second.stderr
