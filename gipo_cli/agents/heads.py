"""Action distributions as functions of the actor's raw output, without distribution objects.

An *output* is the actor's last layer: means of a Gaussian (``[B, D]``) or logits of one categorical per
dimension (``[B, D * bins]``). A *distribution* is what is stored for the exact KL: the output, for a Gaussian
with its log standard deviations appended. Everything is per action dimension; the joint log-probability
is the sum over the last axis.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

HALF_LOG_2_PI = math.log(math.sqrt(2 * math.pi))


class Head(ABC):
    """One action per dimension, independent given the observation."""

    action_dim: int
    distribution_dim: int

    @abstractmethod
    def sample(self, output: Tensor) -> Tensor:
        """Actions ``[B, D]`` drawn with torch's generator; not clipped."""

    @abstractmethod
    def mode(self, output: Tensor) -> Tensor:
        """Most likely actions ``[B, D]``."""

    @abstractmethod
    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """Log-probabilities (densities) ``[B, D]``. Gradient: flows through ``output``."""

    @abstractmethod
    def entropy(self, output: Tensor) -> Tensor:
        """Entropy in nats ``[B, D]``. Gradient: flows through ``output``."""

    @abstractmethod
    def distribution(self, output: Tensor) -> Tensor:
        """What to store of the behaviour policy, ``[B, P]``."""

    @abstractmethod
    def kl(self, behaviour: Tensor, output: Tensor) -> Tensor:
        """KL(mu || pi) in nats ``[B, D]``, mu from a stored distribution. Gradient: through ``output``."""


class GaussianHead(Head):
    """Diagonal Gaussian with a state-independent log standard deviation (a policy parameter)."""

    def __init__(self, log_std: Tensor) -> None:
        self.log_std = log_std
        self.action_dim = log_std.shape[0]
        self.distribution_dim = 2 * self.action_dim

    def sample(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        return output + self.log_std.exp() * torch.randn_like(output)

    def mode(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        return output

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """See :class:`Head`."""
        # The order of operations is torch.distributions.Normal's, so that results are equal to the bit.
        scale = self.log_std.exp().expand_as(output)
        return -((action - output) ** 2) / (2 * scale**2) - scale.log() - HALF_LOG_2_PI

    def entropy(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        return (0.5 + HALF_LOG_2_PI + self.log_std).expand_as(output)

    def distribution(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        return torch.cat([output, self.log_std.expand_as(output)], -1)

    def kl(self, behaviour: Tensor, output: Tensor) -> Tensor:
        """See :class:`Head`. Source: closed form between two Gaussians."""
        mean, log_std = behaviour.chunk(2, -1)
        ratio = torch.exp(2 * (log_std - self.log_std))
        distance = ((mean - output) / self.log_std.exp()) ** 2
        return 0.5 * (ratio + distance - 1) + self.log_std - log_std


class BinnedHead(Head):
    """One categorical over ``bins`` evenly spaced values per dimension; actions are bin indices."""

    def __init__(self, action_dim: int, bins: int) -> None:
        self.action_dim = action_dim
        self.bins = bins
        self.distribution_dim = action_dim * bins

    def _logits(self, output: Tensor) -> Tensor:
        return output.view(*output.shape[:-1], self.action_dim, self.bins)

    def sample(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        probs = torch.softmax(self._logits(output).float(), -1).flatten(0, -2)
        return torch.multinomial(probs, 1, True).view(-1, self.action_dim)

    def mode(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        return self._logits(output).argmax(-1)

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """See :class:`Head`."""
        logits = self._logits(output)
        chosen = logits.gather(-1, action.long().unsqueeze(-1)).squeeze(-1)
        return chosen - logits.logsumexp(-1)

    def entropy(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        log_p = self._logits(output).log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def distribution(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        return output

    def kl(self, behaviour: Tensor, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        log_mu = self._logits(behaviour).log_softmax(-1)
        log_pi = self._logits(output).log_softmax(-1)
        return (log_mu.exp() * (log_mu - log_pi)).sum(-1)
