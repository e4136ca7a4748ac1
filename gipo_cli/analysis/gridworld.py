"""Exact bias and variance of policy-gradient estimators on a 2x2 GridWorld, by summing over (s, a).

    0 1
    2 3      start 0, goal 3

Entering the goal pays +1 and restarts the chain at 0; every other step pays -1, a bump stays where it is. The
policy is a softmax over 12 logits, four per non-goal state. Everything is float64 and batched over B policy
pairs: mu collected the data, pi is being updated.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gipo_cli.core.health import DEAD
from gipo_cli.core.objectives import ObjectiveParams, evaluate

STATES, ACTIONS, GAMMA, GOAL = 3, 4, 0.9, 3
CELLS = STATES * ACTIONS
STEP_SIZE = 0.25
"""Length of a policy-gradient step, over that of the gradient, between the two policies of a lagged pair."""
NEXT_STATE = torch.tensor([[0, 2, 0, 1], [1, 3, 0, 1], [0, 2, 2, 3]])
"""Successor of each state under up, down, left, right."""
REWARD = torch.where(NEXT_STATE == GOAL, 1.0, -1.0).double()
NO_PROJECTION = 1e-9
"""A mean with less than this share of the reference in it cannot be rescaled to it."""


@dataclass(frozen=True)
class Pairs:
    """Policy pairs and all that is exact about them.

    Shapes: ``log_mu``, ``log_pi``, ``log_prox`` (of the proximal policy), ``weight`` (probability of (s, a)
    in the data), ``advantage`` (A^pi) and ``reference`` (gradient by the 12 logits) are ``[B, 3, 4]``.
    """

    log_mu: Tensor
    log_pi: Tensor
    log_prox: Tensor
    weight: Tensor
    advantage: Tensor
    reference: Tensor

    def take(self, pair: Tensor) -> Pairs:
        """The pairs of these numbers, in that order; a number may come again."""
        return Pairs(*(getattr(self, one.name)[pair] for one in fields(self)))


@dataclass(frozen=True)
class Moments:
    """What one estimator does on every pair.

    Shapes: ``mean [B, 3, 4]``; the others ``[B]``. ``variance`` is of one sample.
    """

    mean: Tensor
    bias2: Tensor
    variance: Tensor
    cosine: Tensor
    dead_mass: Tensor

    def mse(self, n: int) -> Tensor:
        """Mean squared error ``[B]`` of an n-sample gradient."""
        return self.bias2 + self.variance / n


def visitation(policy: Tensor) -> Tensor:
    """Stationary distribution of the chain that restarts at 0 from the goal: ``[B, 3, 4]`` to ``[B, 3]``."""
    transition = _transitions(policy)
    chain = transition[..., :STATES].clone()
    chain[..., 0] += transition[..., GOAL]
    balance = chain.transpose(-1, -2) - torch.eye(STATES, dtype=policy.dtype)
    balance[..., -1, :] = 1.0
    total = torch.zeros(STATES, dtype=policy.dtype)
    total[-1] = 1.0
    share: Tensor = torch.linalg.solve(balance, total.expand(*balance.shape[:-1]))
    return share


def advantages(policy: Tensor) -> Tensor:
    """A^pi(s, a) by a linear solve for V^pi; the goal's value is 0. Shapes: ``[B, 3, 4]`` in and out."""
    transition = _transitions(policy)[..., :STATES]
    value: Tensor = torch.linalg.solve(
        torch.eye(STATES, dtype=policy.dtype) - GAMMA * transition, (policy * REWARD).sum(-1)
    )
    with_goal = torch.cat([value, torch.zeros_like(value[..., :1])], -1)
    q: Tensor = REWARD + GAMMA * with_goal[..., NEXT_STATE]
    return q - value.unsqueeze(-1)


def policy_gradient(policy: Tensor) -> Tensor:
    """Exact gradient of the start state's value V^pi(0) by the logits, ``[B, 3, 4]`` in and out.

    It is sum_s d(s) sum_a pi A grad log pi with d(s) = sum_t gamma^t P(s_t = s), from state 0 to the goal.
    Source: the policy gradient theorem (Sutton et al., 1999).
    """
    identity = torch.eye(STATES, dtype=policy.dtype)
    inward = identity - GAMMA * _transitions(policy)[..., :STATES].transpose(-1, -2)
    occupancy: Tensor = torch.linalg.solve(inward, identity[0].expand(*policy.shape[:-1]))
    return occupancy.unsqueeze(-1) * policy * advantages(policy)


def pair_up(mu_logits: Tensor, pi_logits: Tensor, prox_logits: Tensor | None = None) -> Pairs:
    """Exact quantities of data from ``mu_logits`` used to update ``pi_logits``, all ``[B, 3, 4]``.

    Without ``prox_logits`` the proximal policy is pi.
    The reference is sum_s d_mu(s) sum_a pi A^pi grad log pi: what an unbiased estimator has as its mean.
    """
    log_mu, log_pi = mu_logits.log_softmax(-1), pi_logits.log_softmax(-1)
    log_prox = log_pi if prox_logits is None else prox_logits.log_softmax(-1)
    states, advantage = visitation(log_mu.exp()).unsqueeze(-1), advantages(log_pi.exp())
    # sum_a pi A = 0, so the softmax's own term drops out.
    data, reference = states * log_mu.exp(), states * log_pi.exp() * advantage
    return Pairs(log_mu, log_pi, log_prox, data, advantage, reference)


def random_pairs(count: int, distance: float, seed: int) -> Pairs:
    """Pairs with mu a softmax of standard normal logits and pi a step of that length away at random.

    The proximal policy is half-way in the logits.
    """
    generator = torch.Generator().manual_seed(seed)
    mu, step = torch.randn(2, count, STATES, ACTIONS, generator=generator, dtype=torch.float64).unbind(0)
    way = distance * step / step.flatten(1).norm(dim=1)[:, None, None]
    return pair_up(mu, mu + way, mu + way / 2)


def lagged_pairs(count: int, steps: int, seed: int) -> Pairs:
    """Pairs with pi reached from mu by that many exact policy-gradient steps of size :data:`STEP_SIZE`.

    The proximal policy lies half of them back, rounded up.
    """
    generator = torch.Generator().manual_seed(seed)
    mu, _ = torch.randn(2, count, STATES, ACTIONS, generator=generator, dtype=torch.float64).unbind(0)
    path = [mu]
    for _ in range(steps):
        path.append(path[-1] + STEP_SIZE * policy_gradient(path[-1].softmax(-1)))
    return pair_up(mu, path[-1], path[steps // 2])


def coefficients(pairs: Pairs, objective: ObjectiveParams) -> Tensor:
    """Gradient coefficient g of every (s, a), ``[B, 3, 4]``; a batch statistic is exact, pair by pair."""
    log_ratio = pairs.log_pi - pairs.log_mu
    cells = [one.flatten(1) for one in (log_ratio, pairs.advantage, pairs.weight)]
    statistic = objective.statistic(*cells).expand_as(cells[0]).flatten()
    policies = (pairs.log_pi.flatten(), pairs.log_mu.flatten(), pairs.advantage.flatten())
    terms = evaluate(objective, *policies, pairs.log_prox.flatten(), statistic)
    return terms.coefficient.view_as(log_ratio)


def moments(pairs: Pairs, objective: ObjectiveParams) -> Moments:
    """Exact moments of the one-sample estimator X = g(r, A) A grad log pi of one objective.

    A knob of the objective may be a tensor with a value for each of the 12 B cells.
    An objective with a KL(mu || pi) penalty of its own (``ppo_kl``) adds that term's exact gradient,
    kl_coef (mu - pi) in the logits of the sample's state.
    Shapes: see :class:`Moments`. Source: definitions of bias and variance of an estimator's mean and trace.
    """
    shape, g = pairs.log_pi.shape, coefficients(pairs, objective)
    pi, p, scale = pairs.log_pi.exp(), pairs.weight, g * pairs.advantage
    kl_coef = torch.as_tensor(objective.kl_coef, dtype=pi.dtype).expand(pi.numel()).view(shape)
    penalty = kl_coef * (pairs.log_mu.exp() - pi)
    # X(s, a) = scale(s, a) (e_a - pi(s)) + penalty(s).
    weighted = p * scale
    mean = weighted - pi * weighted.sum(-1, True) + p.sum(-1, True) * penalty
    step2 = 1.0 - 2.0 * pi + pi.square().sum(-1, True)
    across = penalty - (pi * penalty).sum(-1, True)
    second = p * (scale.square() * step2 + 2.0 * scale * across + penalty.square().sum(-1, True))
    bias = mean - pairs.reference
    return Moments(
        mean=mean,
        bias2=_total(bias.square()),
        variance=_total(second) - _total(mean.square()),
        cosine=_total(mean * pairs.reference)
        / (_total(mean.square()) * _total(pairs.reference.square())).sqrt(),
        dead_mass=_total(p * (g.abs() <= DEAD)),
    )


def relative(pairs: Pairs, exact: Moments) -> tuple[Tensor, Tensor]:
    """bias^2 and variance ``[B]`` over the squared norm of the reference."""
    norm2 = _total(pairs.reference.square())
    return exact.bias2 / norm2, exact.variance / norm2


def scale_free(pairs: Pairs, exact: Moments) -> tuple[Tensor, Tensor]:
    """Relative bias^2 and variance ``[B]`` after rescaling the mean to unit projection on the reference.

    A shrunken gradient is no longer rewarded: bias^2 becomes tan^2 of the angle to the reference. Infinite
    where the mean does not point along the reference at all.
    """
    norm2 = _total(pairs.reference.square())
    projection = _total(exact.mean * pairs.reference) / norm2
    factor2 = torch.where(projection > NO_PROJECTION, projection, torch.nan).square().reciprocal()
    bias2 = factor2 * _total(exact.mean.square()) / norm2 - 1.0
    variance = factor2 * exact.variance / norm2
    return bias2.clamp(min=0).nan_to_num(nan=torch.inf), variance.nan_to_num(nan=torch.inf)


def _transitions(policy: Tensor) -> Tensor:
    """State to state probabilities ``[B, 3, 4]``, the goal last."""
    arrival = torch.nn.functional.one_hot(NEXT_STATE, GOAL + 1).to(policy.dtype)
    return torch.einsum("...sa,sat->...st", policy, arrival)


def _total(x: Tensor) -> Tensor:
    return x.sum((-1, -2))
