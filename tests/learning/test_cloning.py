import numpy as np
import pytest
import torch
from gymnasium import spaces

from gipo_cli.learning.cloning import clone
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.settings.compose import compose
from gipo_cli.settings.posttrain import CloneConfig

OBS = spaces.Box(-np.inf, np.inf, (3,), np.float32)
GENERATOR = np.random.default_rng(0)
SEEN = GENERATOR.normal(size=(200, 3)).astype(np.float32)


def agent(*overrides, action=None):
    config = compose(["env=gymnasium", "env.id=X", "env.normalize_obs=true", *overrides]).config
    return GIPO.without_env(config, OBS, action or spaces.Box(-1, 1, (2,), np.float32), "cpu")


def test_a_gaussian_clone_learns_the_demonstrated_function():
    wanted = np.stack([np.tanh(SEEN[:, 0]), 0.5 * np.sign(SEEN[:, 1])], 1).astype(np.float32)
    made = agent("agent.policy.log_std_init=-1")
    critic = [p.detach().clone() for p in made.policy.critic_parameters()]
    done = clone(made.policy, SEEN, wanted, [20] * 10, CloneConfig(steps=500, lr=1e-2), seed=1)
    off = np.abs(made.act(SEEN) - wanted)
    assert np.median(off) < 0.05
    # Its deviation and its critic are left alone.
    assert made.policy.log_std.tolist() == [-1, -1]
    assert all(torch.equal(a, b) for a, b in zip(critic, made.policy.critic_parameters(), strict=True))
    assert done.validation_episodes != []
    assert len(set(done.validation_episodes)) == 2


def test_a_binned_clone_says_how_often_each_bin_was_chosen():
    """Where nothing can be seen, maximum likelihood is the frequencies."""
    blind = np.zeros((200, 3), np.float32)
    bins = np.repeat([[0], [3]], [150, 50], axis=0)
    made = agent("env.action.kind=binned", "env.action.bins=4", action=spaces.MultiDiscrete([4]))
    done = clone(made.policy, blind, bins, [200], CloneConfig(steps=400, lr=3e-2, batch=200), seed=1)
    with torch.no_grad():
        logits = made.policy.actor(made.policy.shared(torch.zeros(1, 3)))
    np.testing.assert_allclose(torch.softmax(logits, -1)[0], [0.75, 0, 0, 0.25], atol=0.02)
    assert done.loss == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), abs=0.02)


def test_the_deviation_can_be_learned():
    noisy = GENERATOR.normal(0.2, 0.3, (2000, 2)).astype(np.float32)
    made = agent()
    settings = CloneConfig(learn_std=True, steps=200, lr=3e-2, batch=2000)
    clone(made.policy, np.zeros((2000, 3), np.float32), noisy, [2000], settings, seed=1)
    np.testing.assert_allclose(made.policy.log_std.exp().tolist(), noisy.std(0), rtol=0.05)


def test_statistics_are_the_demonstrations_with_a_least_deviation():
    obs = SEEN * np.float32([1, 2, 0.001]) + np.float32([5, 0, 3])
    made = agent()
    clone(made.policy, obs, np.zeros((200, 2), np.float32), [200], CloneConfig(steps=1), seed=1)
    norm = made.policy.features_extractor
    np.testing.assert_allclose(norm.mean, obs.mean(0), rtol=1e-3)
    np.testing.assert_allclose(norm.var.sqrt(), [obs[:, 0].std(), obs[:, 1].std(), 0.1], rtol=1e-3)


def test_the_same_seed_gives_the_same_bits_and_stops_where_validation_is_best():
    wanted = GENERATOR.normal(size=(200, 2)).astype(np.float32)
    weights, steps = [], []
    for seed in (1, 1, 2):
        made = agent()
        done = clone(
            made.policy, SEEN, wanted, [20] * 10, CloneConfig(steps=600, lr=1e-2, batch=64), seed=seed
        )
        weights.append(torch.cat([p.detach().reshape(-1) for p in made.policy.parameters()]))
        steps.append(done.steps)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    # Nothing but noise is there to be learned: more steps only make it worse.
    assert max(steps) < 600
