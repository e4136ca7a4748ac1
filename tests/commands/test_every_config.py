"""Every environment, preset and objective of the configuration trains, and one of the user's own does too."""

import csv
import os

import pytest
from warm import finish

from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.envs.registry import ENVIRONMENTS
from gipo_cli.settings.compose import compose
from gipo_cli.training.session import train

SHORT = [
    "total_steps=80",
    "agent.rollout_steps=40",
    "buffer.size=80",
    "agent.update.batch_size=20",
    "agent.update.rounds=4",
    "eval.interval=null",
    "eval.episodes=0",  # tests/commands/test_evaluate.py and tests/envs evaluate them
    "env.n_envs=1",
    "logging.tensorboard=false",
]
MORE = {"gymnasium": ["env.id=Pendulum-v1"], "metaworld": ["env.task=door-open-v3"]}


def trained_rows(folder, overrides):
    config = compose(overrides).config
    assert train(config, run_dir=folder, overrides=overrides, command=["gipo"], quiet=True) == 0
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [40, 80]
    assert 0 < float(rows[-1]["health/ess"]) <= 1
    return config


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_every_environment_trains(name, tmp_path):
    trained_rows(tmp_path / "run", [f"env={name}", *MORE.get(name, []), *SHORT])


@pytest.mark.parametrize("name", ["fetch_reach", "adroit_pen"])
def test_other_rewards_and_binned_actions_train(name, tmp_path):
    trained_rows(tmp_path / "run", [f"env={name}", "env.reward=sparse", "env.action.kind=binned", *SHORT])


@pytest.mark.parametrize("preset", ["default", "sb3_ppo", "authors"])
def test_every_preset_trains(preset, tmp_path):
    more = ["env.task=reach-v3"] if preset == "authors" else []
    config = trained_rows(tmp_path / "run", [f"preset={preset}", *more, *SHORT])
    assert config.preset == preset


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_every_objective_trains(objective, tmp_path):
    overrides = ["env=gymnasium", "env.id=Pendulum-v1", f"objective={objective}", *SHORT]
    assert trained_rows(tmp_path / "run", overrides).objective.name == objective


MODULE = """
from typing import Literal
import torch
from gipo_cli import ObjectiveParams, ValueAndCoefficient, register

class Tanh(ObjectiveParams):
    name: Literal["tanh"] = "tanh"
    width: float = 1.0

@register("tanh", Tanh)
def tanh(log_prob, behaviour_log_prob, advantage, params):
    ratio = torch.exp(log_prob - behaviour_log_prob)
    coefficient = ratio / torch.cosh((ratio - 1) / params.width) ** 2
    return ValueAndCoefficient(params.width * torch.tanh((ratio - 1) / params.width) * advantage, coefficient)
"""


def test_an_objective_of_ones_own_needs_no_change_to_the_package(tmp_path):
    (tmp_path / "my_objectives.py").write_text(MODULE)
    folder = tmp_path / "my_conf" / "objective"
    folder.mkdir(parents=True)
    (folder / "tanh.yaml").write_text(
        "# @package _global_\nimports: [my_objectives]\nobjective: {name: tanh, width: 0.5}\n"
    )
    words = ["train", "--config-dir", "my_conf", "--name", "r", "--quiet"]
    overrides = ["env=gymnasium", "env.id=Pendulum-v1", "objective=tanh", "objective.width=0.7", *SHORT]
    done = finish([*words, *overrides], cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "width: 0.7" in (tmp_path / "runs" / "r" / "config.yaml").read_text()
