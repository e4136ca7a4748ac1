"""The critic's last layer in units of its targets."""

import pytest
import torch
from stepping import collect, update
from torch import nn

from gipo_cli.envs.make import make_vec_env
from gipo_cli.learning.normalizer import ValueHead
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.learning.source import twin
from gipo_cli.settings.compose import compose
from gipo_cli.settings.schema import AgentConfig, PolicyConfig, UpdateConfig


def test_a_value_head_keeps_its_values_when_it_is_rescaled():
    torch.manual_seed(0)
    head, features = ValueHead(nn.Linear(5, 1)), torch.randn(7, 5)
    for targets in (torch.tensor([90.0, 110.0]), torch.tensor([-3.0, 1.0]), torch.tensor([2.0, 2.0])):
        before = head(features)
        head.rescale(targets)
        torch.testing.assert_close(head(features), before, rtol=1e-4, atol=1e-3)
    head.rescale(torch.tensor([90.0, 110.0]))
    assert (float(head.mean), float(head.std)) == (100.0, 10.0)


@pytest.mark.parametrize("kind", ["mlp", "layernorm"])
def test_with_value_norm_the_critic_learns_large_values_at_once_and_acts_by_the_same(kind):
    config = compose(["env=gymnasium", "env.id=Pendulum-v1"]).config
    hidden = [64, 64] if kind == "mlp" else [64, 64, 64]

    def trained(value_norm):
        policy = PolicyConfig(kind=kind, hidden=hidden, value_norm=value_norm)
        schedule = UpdateConfig(rounds=10, batch_size=64)
        agent = AgentConfig(rollout_steps=128, policy=policy, update=schedule)
        env = make_vec_env(config.env, 1)
        model = GIPO(env=env, agent=agent, buffer_size=256, reward_scale=100.0, seed=0, device="cpu")
        for _ in range(2):
            collect(model)
            numbers = update(model).numbers
        return model, numbers

    _, plain = trained(False)
    model, scaled = trained(True)
    assert scaled["health/explained_variance"] > plain["health/explained_variance"]
    assert scaled["loss/critic"] < 10 < plain["loss/critic"]
    obs = torch.from_numpy(model.buffer.obs[:32])
    with torch.no_grad():
        values = model.policy.critic(model.policy.shared(obs))
        passes = model.policy.acting()
        assert torch.equal(passes.critic(passes.shared(obs)), values)
        torch.testing.assert_close(model.policy.predict_values(obs).squeeze(-1), values)
    other = twin(model.policy)
    other.load_state_dict(model.policy.state_dict())
    with torch.no_grad():
        assert torch.equal(other.critic(other.shared(obs)), values)
