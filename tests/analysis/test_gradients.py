"""Chunk grams against gradients formed one sample at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from gipo_cli.analysis.gradients import Policy, Trace
from gipo_cli.learning.policies import policy_class, policy_kwargs
from gipo_cli.settings.schema import PolicyConfig


class Table(nn.Module):
    """A bare table of logits over a discrete observation: no layer at all."""

    def __init__(self, states: int, actions: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(states, actions))

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.logits[obs.argmax(-1)].log_softmax(-1).gather(-1, action.long())

    def actor_parameters(self) -> list[nn.Parameter]:
        return [self.logits]


class Twice(Table):
    """A layer that is called twice, a frozen one, and a scale outside any layer."""

    def __init__(self, states: int, actions: int) -> None:
        super().__init__(states, actions)
        self.mix = nn.Linear(states, states)
        self.frozen = nn.Linear(states, states).requires_grad_(False)
        self.out = nn.Linear(states, actions, bias=False)

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        hidden = torch.tanh(self.mix(torch.tanh(self.mix(self.frozen(obs)))))
        logits = self.out(hidden) * self.logits[0].exp()
        return logits.log_softmax(-1).gather(-1, action.long())

    def actor_parameters(self) -> list[nn.Parameter]:
        return [*self.mix.parameters(), *self.out.parameters(), self.logits]


def sb3(kind: str, binned: bool, hidden: list[int]) -> Policy:
    config = PolicyConfig(kind=kind, hidden=hidden)
    action: spaces.Space = spaces.MultiDiscrete([5, 5, 5]) if binned else spaces.Box(-1, 1, (3,))
    obs = spaces.Box(-np.inf, np.inf, (6,))
    return policy_class(config)(obs, action, lambda _: 1e-3, **policy_kwargs(config, False, 10.0))


POLICIES = {
    "mlp-gaussian": lambda: sb3("mlp", False, [8, 7]),
    "mlp-binned": lambda: sb3("mlp", True, [40, 40]),
    "layernorm-binned": lambda: sb3("layernorm", True, [40, 30, 8]),
    "layernorm-gaussian": lambda: sb3("layernorm", False, [9, 8, 8]),
    "table": lambda: Table(6, 5),
    "twice": lambda: Twice(6, 5),
}


def samples(name: str, n: int) -> tuple[Tensor, Tensor]:
    if name in ("table", "twice"):
        return torch.eye(6)[torch.randint(0, 6, (n,))], torch.randint(0, 5, (n, 1))
    binned = name.endswith("binned")
    return torch.randn(n, 6), torch.randint(0, 5, (n, 3)) if binned else torch.randn(n, 3)


def one_by_one(policy: Policy, obs: Tensor, action: Tensor, joint: bool, coefficients: Tensor) -> Tensor:
    parameters = [p for p in policy.actor_parameters() if p.requires_grad]
    rows = []
    for i in range(len(obs)):
        factors = policy.log_prob(obs[i : i + 1], action[i : i + 1])[0]
        factors = factors.sum(-1, keepdim=True) if joint else factors
        grads = [
            torch.autograd.grad(f, parameters, retain_graph=True, materialize_grads=True) for f in factors
        ]
        rows.append(torch.stack([torch.cat([p.flatten() for p in g]) for g in grads]))
    per_sample = torch.stack(rows).view(*coefficients.shape[1:], -1).double()
    means = torch.einsum("rcmf,cmfp->rcp", coefficients.double(), per_sample)
    return means @ means.transpose(1, 2)


# Few samples make the sample gram the cheaper way for wide layers; many make explicit gradients cheaper.
@pytest.mark.parametrize(("chunks", "size"), [(5, 3), (4, 60)])
@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("name", POLICIES)
def test_chunk_grams_are_those_of_explicit_gradients(name: str, joint: bool, chunks: int, size: int) -> None:
    torch.manual_seed(0)
    policy = POLICIES[name]()
    obs, action = samples(name, chunks * size)
    trace = Trace(policy, obs, action, joint)
    coefficients = torch.randn(3, chunks, size, trace.log_prob.shape[1])
    expected = one_by_one(policy, obs, action, joint, coefficients)
    got = trace.chunk_grams(coefficients)
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("name", POLICIES)
def test_products_with_other_samples_are_those_of_explicit_gradients(name: str, joint: bool) -> None:
    torch.manual_seed(3)
    policy = POLICIES[name]()
    obs, action = samples(name, 27)
    own, other = (Trace(policy, obs[r], action[r], joint) for r in (slice(15), slice(15, None)))
    coefficients = torch.randn(3, 5, 3, own.log_prob.shape[1])
    weights = torch.randn(4, 3, own.log_prob.shape[1])
    together = torch.cat([coefficients, weights.expand(3, -1, -1, -1)], 1)
    expected = one_by_one(policy, obs, action, joint, together)
    cross, gram = own.against(coefficients, other, weights)
    tolerance = {"rtol": 1e-4, "atol": 1e-4 * expected.abs().max().item()}
    assert torch.allclose(cross, expected[:, :5, 5:], **tolerance)
    assert torch.allclose(gram, expected[0, 5:, 5:], **tolerance)


def test_blocks_cover_every_pair_of_chunks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    policy = sb3("layernorm", True, [40, 30, 8])
    obs, action = samples("layernorm-binned", 21)
    coefficients = torch.randn(2, 7, 3, 3)
    whole = Trace(policy, obs, action, False).chunk_grams(coefficients)
    monkeypatch.setattr("gipo_cli.analysis.gradients.BLOCK", 6)  # two chunks a block, the last block short
    blocked = Trace(policy, obs, action, False).chunk_grams(coefficients)
    assert torch.allclose(whole, blocked, rtol=1e-5, atol=1e-6)


def test_nothing_of_the_policy_is_changed() -> None:
    torch.manual_seed(2)
    policy = sb3("layernorm", False, [16, 16, 8])
    policy.set_training_mode(True)
    for p in policy.parameters():
        p.grad = torch.ones_like(p)
    before = {k: v.clone() for k, v in policy.state_dict().items()}
    state = torch.get_rng_state()
    obs, action = torch.zeros(8, 6), torch.zeros(8, 3)
    Trace(policy, obs, action, False).chunk_grams(torch.ones(2, 4, 2, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert policy.training
    assert all(torch.equal(v, before[k]) for k, v in policy.state_dict().items())
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in policy.parameters())
    assert not any(m._forward_hooks for m in policy.modules())
