import numpy as np
import pytest
import torch
from stepping import collect, update

from gipo_cli.envs.make import make_vec_env
from gipo_cli.learning import policies
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.settings.compose import compose

SHORT = ["agent.rollout_steps=96", "total_steps=4096"]
PENDULUM = ["env=gymnasium", "env.id=Pendulum-v1"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["preset=sb3_ppo"],
        ["preset=default", "env.normalize_obs=true", "agent.policy.activation=elu"],
        ["agent=authors", "env.action.kind=binned"],
    ],
    ids=["sb3", "normalised", "authors"],
)
def test_acting_passes_are_the_policy_to_the_bit_and_follow_its_weights(overrides):
    config = compose([*PENDULUM, *overrides, *SHORT]).config
    agent = GIPO.from_config(config, make_vec_env(config.env, 1), "cpu")
    passes = agent.policy.acting()
    for _ in range(2):
        collect(agent)
        update(agent)
        if config.env.normalize_obs:  # statistics are those of when it was asked
            passes = agent.policy.acting()
        obs = torch.randn(1, 3)
        with torch.inference_mode():
            shared = agent.policy.shared(obs)
            assert torch.equal(passes.shared(obs), shared)
            assert torch.equal(passes.actor(shared), agent.policy.actor(shared))
            assert torch.equal(passes.critic(shared), agent.policy.critic(shared))


@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize(
    ("overrides", "tolerance"),
    [
        (["preset=sb3_ppo"], 0),
        (["preset=default", "env.normalize_obs=true"], 0),
        (["agent=authors", "env.action.kind=binned"], 1e-6),
    ],
    ids=["sb3", "normalised", "authors"],
)
def test_values_of_a_rollout_are_the_critics_at_each_step(monkeypatch, overrides, tolerance, envs):
    monkeypatch.setattr(policies, "ROWS_A_PASS", 100 * envs)
    config = compose([*PENDULUM, *overrides, f"env.n_envs={envs}", *SHORT]).config
    agent = GIPO.from_config(config, make_vec_env(config.env, 1), "cpu")
    collect(agent)
    update(agent)
    rollout = collect(agent)
    with torch.inference_mode():
        expected = [
            agent.policy.critic(agent.policy.shared(torch.from_numpy(rows))).numpy() for rows in rollout.obs
        ]
    np.testing.assert_allclose(rollout.value, np.stack(expected), rtol=0, atol=tolerance)
    assert np.ptp(rollout.value) > 1e-3
