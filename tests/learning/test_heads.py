import numpy as np
import pytest
import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution, MultiCategoricalDistribution
from torch.distributions import Categorical, Normal, kl_divergence

from gipo_cli.learning.heads import BinnedHead, GaussianHead


@pytest.fixture
def gaussian():
    torch.manual_seed(0)
    return GaussianHead(torch.tensor([0.3, -1.0, 0.0]))


@pytest.fixture
def binned():
    return BinnedHead(3, 7)


def test_gaussian_agrees_with_stable_baselines3(gaussian):
    mean, action = torch.randn(5, 3), torch.randn(5, 3)
    theirs = DiagGaussianDistribution(3).proba_distribution(mean, gaussian.log_std)
    assert torch.equal(gaussian.log_prob(mean, action).sum(-1), theirs.log_prob(action))
    torch.testing.assert_close(gaussian.terms(mean, action, None).entropy.sum(-1), theirs.entropy())
    assert torch.equal(gaussian.mode(mean), theirs.mode())
    torch.manual_seed(4)
    ours = gaussian.sample(mean)
    torch.manual_seed(4)
    assert torch.equal(ours, theirs.sample())


def test_binned_agrees_with_stable_baselines3(binned):
    torch.manual_seed(0)
    logits, action = torch.randn(5, 21), torch.randint(0, 7, (5, 3))
    theirs = MultiCategoricalDistribution([7, 7, 7]).proba_distribution(logits)
    torch.testing.assert_close(binned.log_prob(logits, action).sum(-1), theirs.log_prob(action))
    torch.testing.assert_close(binned.terms(logits, action, None).entropy.sum(-1), theirs.entropy())
    assert torch.equal(binned.mode(logits), theirs.mode())


def test_kl_agrees_with_torch(gaussian, binned):
    torch.manual_seed(1)
    other = GaussianHead(torch.tensor([0.1, 0.2, -0.4]))
    mean, new_mean, action = torch.randn(3, 5, 3)
    expected = kl_divergence(Normal(mean, other.log_std.exp()), Normal(new_mean, gaussian.log_std.exp()))
    terms = gaussian.terms(new_mean, action, other.distribution(mean))
    torch.testing.assert_close(terms.kl, expected)
    logits, new_logits = torch.randn(2, 5, 21)
    expected = kl_divergence(
        Categorical(logits=logits.view(5, 3, 7)), Categorical(logits=new_logits.view(5, 3, 7))
    )
    terms = binned.terms(new_logits, torch.zeros(5, 3), binned.distribution(logits))
    torch.testing.assert_close(terms.kl, expected)


def test_binned_samples_follow_the_probabilities(binned):
    torch.manual_seed(0)
    logits = torch.randn(1, 21)
    counts = np.stack(
        [np.bincount(binned.sample(logits.expand(20_000, -1))[:, d], minlength=7) for d in range(3)]
    )
    expected = 20_000 * torch.softmax(logits.view(3, 7), -1).numpy()
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_a_bin_that_cannot_be_is_never_sampled(binned):
    torch.manual_seed(0)
    logits = torch.full((1, 3, 7), -1e4)
    logits[:, :, 2] = 0.0
    logits[:, :, 6] = 0.0
    drawn = binned.sample(logits.flatten(1).expand(5_000, -1))
    assert set(drawn.flatten().tolist()) == {2, 6}


@pytest.mark.parametrize("with_behaviour", [True, False])
@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.7, -0.3, 0.2)])
def test_the_terms_of_an_update_and_their_gradients_are_torch_distributions(binned, with_behaviour, weights):
    torch.manual_seed(2)
    logits = torch.randn(5, 21, dtype=torch.float64, requires_grad=True)
    behaviour, action = torch.randn(5, 21, dtype=torch.float64), torch.randint(0, 7, (5, 3))
    pi = Categorical(logits=logits.view(5, 3, 7))
    mu = Categorical(logits=behaviour.view(5, 3, 7))
    theirs = [pi.log_prob(action), pi.entropy(), kl_divergence(mu, pi)]
    ours = list(binned.terms(logits, action, behaviour if with_behaviour else None))
    if not with_behaviour:
        assert ours.pop() is None
        theirs.pop()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    per_term = torch.randn(3, 5, 3, dtype=torch.float64)

    def gradient(terms):
        loss = sum(w * (c * t).sum() for w, c, t in zip(weights, per_term, terms, strict=False))
        return torch.autograd.grad(loss, logits)[0]

    torch.testing.assert_close(gradient(ours), gradient(theirs))
