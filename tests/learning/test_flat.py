"""Parameters as one tensor: against torch's own Adam on the parameters one by one."""

import copy

import pytest
import torch
from torch import nn

from gipo_cli.learning.flat import FlatParameters


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.LayerNorm(3))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_moves_as_the_parameters_one_by_one_to_the_bit(kind, weight_decay):
    plain, network_of_views = network(), network()
    group = FlatParameters(list(network_of_views.parameters()))
    one_by_one = kind(plain.parameters(), lr=0.01, weight_decay=weight_decay, foreach=False)
    flat = kind([group.flat], lr=0.01, weight_decay=weight_decay, foreach=True)
    obs = torch.randn(16, 5)
    for _ in range(20):
        for model in (plain, network_of_views):
            model.zero_grad()
            model(obs).square().mean().backward()
        group.take_gradients()
        one_by_one.step()
        flat.step()
    pairs = list(zip(plain.parameters(), network_of_views.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(pairs[0][0], next(network().parameters()))


def test_a_parameter_without_gradient_counts_as_zero():
    model = network()
    group = FlatParameters(list(model.parameters()))
    model[2].bias.grad = torch.ones(3)
    group.take_gradients()
    # 35, 7 and 21 numbers come before, each filled up to a multiple of 16 (64 bytes).
    start = 48 + 16 + 32
    assert group.flat.grad is not None
    assert group.flat.grad.nonzero().flatten().tolist() == [start, start + 1, start + 2]


def test_loading_weights_keeps_the_views():
    model = network()
    group = FlatParameters(list(model.parameters()))
    other = network(1)
    model.load_state_dict(other.state_dict())
    held = [group.flat.data[start : start + n] for start, n in ((0, 35), (48, 7), (64, 21), (96, 3))]
    assert all(torch.equal(a, b.flatten()) for a, b in zip(held, list(other.parameters())[:4], strict=True))
    group.take_gradients()


@pytest.mark.parametrize("sizes", [[1, 1, 1], [6, 64, 3], [16, 5]])
def test_every_parameter_begins_at_a_multiple_of_64_bytes(sizes):
    """Matrix products of unaligned weights round differently on processors with AVX-512."""
    group = FlatParameters([nn.Parameter(torch.randn(size)) for size in sizes])
    assert [p.data_ptr() % 64 for p in group.parameters] == [0] * len(sizes)


def test_parameters_cut_off_are_not_trained_silently():
    model = network()
    group = FlatParameters(list(model.parameters()))
    group.parameters = list(copy.deepcopy(model).parameters())
    with pytest.raises(RuntimeError, match="given other memory"):
        group.take_gradients()
