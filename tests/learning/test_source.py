"""The policy that collects is exactly that of so many versions ago."""

import copy

import numpy as np
import pytest
import torch
from stepping import update

from gipo_cli.envs.make import make_vec_env
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.settings.compose import compose
from gipo_cli.settings.schema import RunConfig
from gipo_cli.training.session import resume, train

SMALL = [
    "env=gymnasium",
    "env.id=Pendulum-v1",
    "env.n_envs=2",
    "agent.rollout_steps=16",
    "agent.policy.hidden=[8]",
    "agent.update.rounds=1",
    "agent.update.batch_size=16",
    "agent.advantage.kind=stored",
    "buffer=fresh",
]


def agent(*overrides: str) -> GIPO:
    config = compose([*SMALL, *overrides]).config
    return GIPO.from_config(config, make_vec_env(config.env, config.seed), "cpu")


def iterate(model: GIPO, count: int) -> list[int]:
    """Iterate; returns each rollout's lag on arrival, in versions."""
    lags = []
    for _ in range(count):
        rollout = model.source.next()
        lags.append(model.learner.version - rollout.policy_version)
        model.learner.take(rollout)
        update(model)
    return lags


@pytest.mark.parametrize("normalize", ["true", "false"])
def test_every_rollout_is_of_the_policy_of_lag_versions_ago(normalize):
    model = agent("actors=scheduled", "actors.lag=3", f"env.normalize_obs={normalize}")
    then = []
    for version in range(7):
        # Stored in a way of its own: Stable-Baselines3's.
        then.append(copy.deepcopy(model.policy.state_dict()))
        rollout = model.source.next()
        assert rollout.policy_version == max(version - 3, 0)
        model.learner.take(rollout)
        now = copy.deepcopy(model.policy.state_dict())
        model.policy.load_state_dict(then[rollout.policy_version])
        obs, action = torch.from_numpy(rollout.obs[:, 0]), torch.from_numpy(rollout.action[:, 0])
        with torch.no_grad():
            value, log_prob, _ = model.policy.evaluate_actions(obs, action)
        # The critic too: advantages that are kept from collection are those of the policy that collected.
        np.testing.assert_allclose(rollout.value[:, 0], value[:, 0], atol=1e-5)
        np.testing.assert_allclose(rollout.log_prob[:, 0].sum(-1), log_prob, atol=1e-5)
        model.policy.load_state_dict(now)
        update(model)
    assert not torch.equal(then[0]["log_std"], then[6]["log_std"])


def test_lag_zero_is_inline_to_the_bit():
    inline, scheduled = agent(), agent("actors=scheduled")
    assert iterate(inline, 3) == iterate(scheduled, 3) == [0, 0, 0]
    for one, other in zip(inline.policy.parameters(), scheduled.policy.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_uniform_lag_is_drawn_from_seed_and_version_alone():
    uniform = ["actors=scheduled", "actors.lag=2", "actors.lag_kind=uniform"]
    lags = iterate(agent(*uniform), 40)
    assert lags[0] == 0
    assert lags[1] <= 1
    assert set(lags) == {0, 1, 2}
    assert lags == iterate(agent(*uniform), 40)
    assert lags != iterate(agent(*uniform, "seed=2"), 40)


def test_callbacks_and_learn_of_stable_baselines3_have_the_lag_too():
    model = agent("actors=scheduled", "actors.lag=2")
    model.learn(6 * 32)
    assert set(model.buffer.version) == {3}


@pytest.fixture(scope="module")
def lagging() -> RunConfig:
    more = ["actors=scheduled", "actors.lag=2", "eval.episodes=0", "checkpoint.interval=64"]
    quick = ["diagnostics=never", "logging.tensorboard=false", "runtime.env_timeout_s=null"]
    return compose([*SMALL, *more, *quick, f"total_steps={10 * 32}"]).config


def start(config: RunConfig, folder) -> list[dict[str, str]]:
    assert train(config, run_dir=folder, overrides=[], command=["gipo"], quiet=True) == 0
    return rows(folder)


def rows(folder) -> list[dict[str, str]]:
    header, *lines = (folder / "metrics.csv").read_text().splitlines()
    found = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    return [{name: cell for name, cell in row.items() if not name.startswith("time/")} for row in found]


def test_the_lag_is_recorded_and_resuming_is_exact(lagging, tmp_path):
    whole = start(lagging, tmp_path / "whole")
    expected = [min(iteration, 2) for iteration in range(10)]
    for column in ("actors/arrival_lag", "health/lag_mean", "health/lag_max"):
        assert [float(row[column]) for row in whole] == expected
    start(lagging.model_copy(update={"total_steps": 4 * 32}), tmp_path / "part")
    assert resume(tmp_path / "part", overrides=["total_steps=320"], allow_changes=False, quiet=True) == 0
    assert rows(tmp_path / "part") == whole
