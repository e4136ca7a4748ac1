import numpy as np
import pytest
import torch
import toy_robot

from gipo_cli.envs.make import make_vec_env
from gipo_cli.learning.anchor import Demonstrated
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.settings.compose import compose

SMALL = [
    "env=gymnasium", f"env.id={toy_robot.ID}", "agent.rollout_steps=64", "buffer.size=256",
    "agent.update.rounds=3", "agent.update.batch_size=64", "agent.update.reuse=2",
    "agent.update.actor_every=2", "init=x",
]  # fmt: skip


def agent(*overrides):
    config = compose([*SMALL, *overrides]).config
    return GIPO.from_config(config, make_vec_env(config.env, 1), "cpu")


def demonstrated(steps=40):
    rng = np.random.default_rng(3)
    ends = np.zeros(steps, np.bool_)
    ends[[19, steps - 1]] = True
    return Demonstrated(
        rng.normal(size=(steps, 4)).astype(np.float32),
        rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        np.ones(steps, np.float32),
        ends,
        np.zeros(steps, np.bool_),
        rng.normal(size=(2, 4)).astype(np.float32),
    )


def weights(parameters):
    return torch.cat([p.detach().reshape(-1).clone() for p in parameters])


def test_only_the_critic_learns_in_its_warm_up():
    made = agent("agent.critic_warmup=2", "agent.update.lr_schedule=constant")
    learner, policy = made.learner, made.policy
    actor, critic = weights(policy.actor_parameters()), weights(policy.critic_parameters())
    for _ in range(2):
        learner.take(made.source.next())
        numbers = learner.update(10_000).numbers
        assert (numbers["update/actor_steps"], numbers["update/critic_steps"]) == (0, 6)
    assert torch.equal(actor, weights(policy.actor_parameters()))
    assert not torch.equal(critic, weights(policy.critic_parameters()))
    # No moments, which would move it later.
    assert learner.updater.actor.flat not in learner.updater.optimizer.state
    learner.take(made.source.next())
    assert learner.update(10_000).numbers["update/actor_steps"] == 3
    assert not torch.equal(actor, weights(policy.actor_parameters()))


def test_kl_to_the_initial_policy_is_that_of_two_gaussians():
    made = agent("agent.anchor.kl_coef=0.5", "agent.anchor.decay=constant")
    learner = made.learner
    learner.begin_from()
    with torch.no_grad():
        made.policy.action_net.bias.add_(torch.tensor([0.3, -0.4]))
        made.policy.log_std.fill_(0.1)
    learner.take(made.source.next())
    (batch, *_) = learner.updater.sampler.batches(learner.buffer, 0)
    anchor = learner.updater.anchor
    output = made.policy.actor(made.policy.shared(batch.obs))
    penalty = anchor(batch, output)
    # Both deviations were 1 and are now e^.1; means differ by (.3, -.4).
    expected = sum(0.1 + (1 + gap**2) / (2 * np.exp(0.2)) - 0.5 for gap in (0.3, 0.4))
    assert float(penalty.detach()) == pytest.approx(0.5 * expected, rel=1e-5)
    assert anchor.numbers()["health/kl_initial"] == pytest.approx(expected, rel=1e-5)
    penalty.backward()
    assert made.policy.action_net.bias.grad[0] > 0 > made.policy.action_net.bias.grad[1]
    assert all(not p.requires_grad for p in anchor.initial.parameters())


def test_penalties_fade_over_the_run_and_repeat():
    made = agent("agent.anchor.clone_coef=2.0")
    made.learner.begin_from(demos=demonstrated())
    anchor = made.learner.updater.anchor
    made.learner.take(made.source.next())
    (batch, *_) = made.learner.updater.sampler.batches(made.learner.buffer, 0)
    output = made.policy.actor(made.policy.shared(batch.obs))
    values = {}
    for version, progress in ((3, 0.0), (3, 0.75), (4, 0.0), (3, 0.0)):
        anchor.begin(version, progress)
        values.setdefault((version, progress), []).append(float(anchor(batch, output).detach()))
    assert values[3, 0.75][0] == pytest.approx(values[3, 0.0][0] / 4)
    assert values[3, 0.0][0] == values[3, 0.0][1]
    demos, policy = demonstrated(), made.policy
    with torch.no_grad():
        log_prob = policy.log_prob(torch.from_numpy(demos.obs), torch.from_numpy(demos.action))
    # All 40 steps fit into a batch.
    assert values[4, 0.0][0] == pytest.approx(-2 * float(log_prob.sum(-1).mean()), rel=1e-5)


def test_a_share_of_each_batch_is_demonstrations_by_the_initial_policy():
    made = agent("buffer.demos=0.25", "agent.advantage.normalize=none")
    learner, demos = made.learner, demonstrated()
    learner.begin_from(demos=demos, share=0.25)
    learner.take(made.source.next())
    learner.version = 5
    batches = list(learner.updater.sampler.batches(learner.buffer, 5))
    assert [len(batch.action) for batch in batches] == [64, 64, 64]
    for batch in batches:
        rows, taken = batch.obs[48:].numpy(), batch.action[48:].numpy()
        known = {tuple(row): i for i, row in enumerate(demos.obs.tolist())}
        found = [known[tuple(row)] for row in rows.tolist()]
        assert len(set(found)) == 16
        np.testing.assert_array_equal(taken, demos.action[found])
        with torch.no_grad():
            log_prob = made.policy.log_prob(batch.obs[48:], batch.action[48:])
        np.testing.assert_allclose(batch.log_prob[48:], log_prob, rtol=1e-5)
        assert batch.lag[48:].tolist() == [5] * 16
        assert not {tuple(row) for row in batch.obs[:48].tolist()} & set(known)
    # With a critic of zeros the return of the last step of an episode is its reward.
    with torch.no_grad():
        for parameter in made.policy.critic_parameters():
            parameter.zero_()
    learner.updater.refresh_advantages(learner.buffer)
    assert learner.updater.sampler.demos.value_target[[19, 39]].tolist() == [1, 1]
    assert learner.updater.sampler.demos.value_target[18] == pytest.approx(1 + 0.99 * 0.95)


def test_statistics_stay_those_of_the_initial_policy():
    made = agent("env.normalize_obs=true")
    norm = made.policy.features_extractor
    norm.update(torch.randn(50, 4))
    made.learner.begin_from()
    before = norm.mean.clone()
    made.learner.take(made.source.next())
    made.learner.update(10_000)
    assert torch.equal(norm.mean, before)
