"""Action distributions as functions of the actor's raw output, without distribution objects.

An *output* is the actor's last layer: means of a Gaussian (``[B, D]``) or logits of one categorical per
dimension (``[B, D * bins]``). A *distribution* is what is stored for the exact KL: the output, for a Gaussian
with its log standard deviations appended. Everything is per action dimension; the joint log-probability
is the sum over the last axis.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

HALF_LOG_2_PI = math.log(math.sqrt(2 * math.pi))


class Terms(NamedTuple):
    """Log-probabilities, entropies and, with a stored distribution, KL(mu || pi), each ``[B, D]``."""

    log_prob: Tensor
    entropy: Tensor
    kl: Tensor | None


class Head(ABC):
    """One action per dimension, independent given the observation."""

    action_dim: int
    distribution_dim: int

    @abstractmethod
    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions ``[B, D]`` drawn by ``generator`` (torch's own if None); not clipped."""

    @abstractmethod
    def mode(self, output: Tensor) -> Tensor:
        """Most likely actions ``[B, D]``."""

    @abstractmethod
    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """Log-probabilities (densities) ``[B, D]``. Gradient: flows through ``output``."""

    @abstractmethod
    def terms(self, output: Tensor, action: Tensor, behaviour: Tensor | None) -> Terms:
        """All that an update needs of a batch; ``behaviour`` is the stored distribution, if any.

        Gradient: through ``output``, for each of the three.
        """

    @abstractmethod
    def distribution(self, output: Tensor) -> Tensor:
        """What to store of the behaviour policy, ``[B, P]``."""


class GaussianHead(Head):
    """Diagonal Gaussian with a state-independent log standard deviation (a policy parameter)."""

    def __init__(self, log_std: Tensor) -> None:
        self.log_std = log_std
        self.action_dim = log_std.shape[0]
        self.distribution_dim = 2 * self.action_dim

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Head`."""
        noise = torch.randn(output.shape, generator=generator, device=output.device)
        return output + self.log_std.exp() * noise

    def mode(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        return output

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """See :class:`Head`."""
        # The order of operations is torch.distributions.Normal's, so that results are equal to the bit.
        scale = self.log_std.exp().expand_as(output)
        return -((action - output) ** 2) / (2 * scale**2) - scale.log() - HALF_LOG_2_PI

    def terms(self, output: Tensor, action: Tensor, behaviour: Tensor | None) -> Terms:
        """See :class:`Head`. Source of the KL: closed form between two Gaussians."""
        entropy = (0.5 + HALF_LOG_2_PI + self.log_std).expand_as(output)
        kl = None if behaviour is None else self._kl(behaviour, output)
        return Terms(self.log_prob(output, action), entropy, kl)

    def distribution(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        return torch.cat([output, self.log_std.expand_as(output)], -1)

    def _kl(self, behaviour: Tensor, output: Tensor) -> Tensor:
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

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Head`."""
        # By the inverse of the distribution function: multinomial would draw a number for every bin.
        below = torch.softmax(self._logits(output), -1).cumsum(-1)
        uniform = torch.rand((*below.shape[:-1], 1), generator=generator, device=below.device)
        drawn = uniform * below[..., -1:]
        return torch.searchsorted(below, drawn, right=True).squeeze(-1).clamp_(max=self.bins - 1)

    def mode(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        return self._logits(output).argmax(-1)

    def log_prob(self, output: Tensor, action: Tensor) -> Tensor:
        """See :class:`Head`."""
        log_p = self._logits(output).log_softmax(-1)
        return log_p.gather(-1, action.long().unsqueeze(-1)).squeeze(-1)

    def distribution(self, output: Tensor) -> Tensor:
        """See :class:`Head`."""
        return output

    def terms(self, output: Tensor, action: Tensor, behaviour: Tensor | None) -> Terms:
        """See :class:`Head`; one softmax for all three."""
        mu = None if behaviour is None else self._logits(behaviour)
        logits = self._logits(output)
        log_prob, entropy, kl = _CategoricalTerms.apply(logits, action.long(), mu)  # type: ignore[no-untyped-call]
        return Terms(log_prob, entropy, None if behaviour is None else kl)


class _CategoricalTerms(torch.autograd.Function):
    """Log-probability, entropy and KL(mu || pi) of categoricals, all from one softmax.

    With p = softmax(logits) their gradients are onehot - p, -p (log p + H) and p - mu. Formed so, the
    ``[B, D, bins]`` numbers are gone through about ten times, not thirty.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, action: Tensor, mu_logits: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        log_p = logits.log_softmax(-1)
        p = log_p.exp()
        log_prob = log_p.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        entropy = -torch.linalg.vecdot(p, log_p)
        kl, mu = torch.zeros_like(entropy), None
        if mu_logits is not None:
            log_mu = mu_logits.log_softmax(-1)
            mu = log_mu.exp()
            kl = torch.linalg.vecdot(mu, log_mu.sub_(log_p))
        ctx.save_for_backward(p, log_p, action, entropy, mu)
        ctx.set_materialize_grads(False)
        return log_prob, entropy, kl

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, None, None]:
        p, log_p, action, entropy, mu = ctx.saved_tensors
        by_log_prob, by_entropy, by_kl = grads
        shape = p.shape[:-1]
        weight = torch.zeros(shape, dtype=p.dtype, device=p.device)
        if by_log_prob is not None:
            weight = weight - by_log_prob
        if by_kl is not None:
            weight = weight + by_kl
        if by_entropy is not None:
            grad = p * torch.addcmul(
                weight.unsqueeze(-1), log_p + entropy.unsqueeze(-1), -by_entropy.unsqueeze(-1)
            )
        else:
            grad = p * weight.unsqueeze(-1)
        if by_kl is not None and mu is not None:
            grad.addcmul_(mu, by_kl.unsqueeze(-1), value=-1.0)
        if by_log_prob is not None:
            grad.scatter_add_(-1, action.unsqueeze(-1), by_log_prob.unsqueeze(-1))
        return grad, None, None
