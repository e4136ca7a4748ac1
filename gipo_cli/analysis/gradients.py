"""Inner products of chunk gradients for many estimators at once, exactly, without forming most gradients.

Estimators differ only in one number per sample and factor, c_r(i, d); the gradient of chunk k is
G_rk = sum over i in k and d of c_r(i, d) grad log pi(a_id | s_i). Through a linear layer with input h and
output derivative delta, grad log pi is the outer product of delta and h, so

    <G_rk, G_rl> = sum over i in k, j in l, d, e of c_r(i, d) c_r(j, e) (delta_id . delta_je) (h_i . h_j + 1),

where the last two factors do not depend on r: any grid of estimators costs little more than one. A layer
with few weights or many factors is cheaper by explicit gradients; each layer takes the cheaper way.
Parameters that belong to neither a linear layer nor a layer norm (a log standard deviation, a table) go
through batched vector-Jacobian products, which work for any differentiable policy.
Source: outer products as in Goodfellow, "Efficient per-example gradient computations" (arXiv 1510.01799).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

BLOCK = 256
"""Samples per block of the sample gram: large enough for fast products, small enough to halve the work."""

ELEMENTWISE = 32
"""Multiplications that one pass over an element of the sample gram costs, about."""

FEW = 64
"""Parameters up to which one pass for each is cheaper than one for each estimator and chunk."""


class Policy(Protocol):
    """What is needed of a policy; those of ``learning.policies`` have it, and so may any ``nn.Module``."""

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """Differentiable log-probabilities per action dimension, ``[B, D]``."""

    def actor_parameters(self) -> list[nn.Parameter]:
        """Parameters that the policy gradient is taken with respect to."""

    def modules(self) -> Iterator[nn.Module]:
        """All submodules, as ``nn.Module.modules``."""


@dataclass(frozen=True)
class _Layer:
    """A linear or layer-norm call: its input ``[N, in]`` and its output, still in the graph."""

    module: nn.Linear | nn.LayerNorm
    inputs: Tensor
    output: Tensor


class Trace:
    """One forward pass of a policy, unchanged, kept for the gradients of its log-probabilities.

    Shapes: ``obs [N, ...]``, ``action [N, D]``; ``joint`` sums the D log-probabilities into one factor.
    """

    def __init__(self, policy: Policy, obs: Tensor, action: Tensor, joint: bool) -> None:
        self.policy, self.obs, self.action, self.joint = policy, obs, action, joint
        with torch.enable_grad(), _recording(policy) as layers:
            self.factors = self._factors(obs, action)
        self.layers = list(layers)
        covered = {id(p) for layer in layers for p in layer.module.parameters()}
        self.others = [p for p in policy.actor_parameters() if id(p) not in covered and p.requires_grad]

    def _factors(self, obs: Tensor, action: Tensor) -> Tensor:
        log_prob = self.policy.log_prob(obs, action)
        return log_prob.sum(-1, keepdim=True) if self.joint else log_prob

    @property
    def log_prob(self) -> Tensor:
        """Log-probabilities ``[N, F]``, F = 1 if joint; no gradient."""
        return self.factors.detach()

    def chunk_grams(self, coefficients: Tensor) -> Tensor:
        """Inner products of the chunk gradients of every estimator.

        Shapes: ``coefficients [R, C, m, F]`` for N = C m consecutive samples in C chunks; returns
        ``[R, C, C]`` in float64. Gradient: none; parameters and their ``.grad`` are untouched.
        """
        gram = coefficients.new_zeros(
            coefficients.shape[0], *[coefficients.shape[1]] * 2, dtype=torch.float64
        )
        for layer, delta in zip(self.layers, self._deltas(), strict=True):
            delta = delta.view(*coefficients.shape[1:3], *delta.shape[1:])
            if isinstance(layer.module, nn.LayerNorm):
                gram += _gram(_layer_norm_gradients(layer.module, layer.inputs, delta, coefficients))
            else:
                gram += _linear_gram(_with_bias(layer, delta), delta, coefficients)
        if self.others:
            gram += _gram(self._explicit(coefficients))
        return gram

    def against(self, coefficients: Tensor, other: Trace, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Inner products with the chunk gradients of one estimator on other samples, and of these.

        Shapes: ``coefficients [R, C, m, F]`` of these samples, ``weights [J, l, F]`` of those of ``other``, a
        trace of the same policy; returns ``[R, C, J]`` and ``[J, J]`` in float64.
        """
        rows, chunks, size, factors = coefficients.shape
        cross = coefficients.new_zeros(rows, chunks, len(weights), dtype=torch.float64)
        gram = weights.new_zeros(len(weights), len(weights), dtype=torch.float64)
        layers = zip(self.layers, self._deltas(), other.layers, other._deltas(), strict=True)
        for layer, delta, twin, of_twin in layers:
            delta = delta.view(chunks, size, *delta.shape[1:])
            of_twin = of_twin.view(*weights.shape[:2], *of_twin.shape[1:])
            if isinstance(layer.module, nn.LayerNorm) and isinstance(twin.module, nn.LayerNorm):
                far = _layer_norm_gradients(twin.module, twin.inputs, of_twin, weights[None])[0]
                own = _layer_norm_gradients(layer.module, layer.inputs, delta, coefficients)
                cross += (own @ far.T).double()
            else:
                far = _linear_gradients(_with_bias(twin, of_twin), of_twin, weights)
                inputs, across = _with_bias(layer, delta), far.permute(1, 2, 0).flatten(1)
                for c in range(chunks):
                    through = (inputs[c] @ across).view(size, -1, len(weights))
                    products = torch.bmm(delta[c], through).view(size * factors, -1)
                    cross[:, c] += (coefficients[:, c].flatten(1) @ products).double()
            gram += _gram(far.flatten(1))
        if self.others:
            far = other._explicit(weights[None])[0]
            cross += (self._explicit(coefficients) @ far.T).double()
            gram += _gram(far)
        return cross, gram

    def _deltas(self) -> list[Tensor]:
        """Derivative of every factor by every layer's output: ``[N, F, out]``."""
        outputs = [layer.output for layer in self.layers]
        if not outputs:
            return []
        per_factor = [
            torch.autograd.grad(f.sum(), outputs, retain_graph=True, materialize_grads=True)
            for f in self.factors.unbind(-1)
        ]
        return [torch.stack(one, 1) for one in zip(*per_factor, strict=True)]

    def _explicit(self, coefficients: Tensor) -> Tensor:
        """Chunk gradients ``[R, C, p]`` of the parameters outside the recorded layers."""
        if sum(p.numel() for p in self.others) <= FEW:
            each = self._per_sample().view(*coefficients.shape[1:], -1)
            return torch.einsum("rcmf,cmfp->rcp", coefficients, each)
        chunks = []
        size = coefficients.shape[2]
        for c in range(coefficients.shape[1]):
            rows = slice(c * size, (c + 1) * size)
            with torch.enable_grad():
                factors = self._factors(self.obs[rows], self.action[rows])
            grads = torch.autograd.grad(
                factors, self.others, coefficients[:, c], is_grads_batched=True, materialize_grads=True
            )
            chunks.append(torch.cat([g.flatten(1) for g in grads], 1))
        return torch.stack(chunks, 1)

    def _per_sample(self) -> Tensor:
        """Derivative of every factor by each of these parameters, ``[N, F, p]``.

        A vector-Jacobian product is linear in its vector, so its derivative by that vector is a column.
        """
        with torch.enable_grad():
            vector = torch.zeros_like(self.factors, requires_grad=True)
            products = torch.autograd.grad(
                self.factors, self.others, vector, create_graph=True, materialize_grads=True
            )
            # The last term lets also those be differentiated of which no factor is a function.
            every = torch.cat([one.flatten() for one in products]) + 0 * vector.sum()
        columns = [torch.autograd.grad(one, vector, retain_graph=True)[0] for one in every]
        return torch.stack(columns, -1)


@contextmanager
def _recording(policy: Policy) -> Iterator[list[_Layer]]:
    """Record the calls of linear layers and layer norms that are the actor's own."""
    wanted = {id(p) for p in policy.actor_parameters() if p.requires_grad}
    calls: dict[nn.Module, list[_Layer]] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear | nn.LayerNorm):
            calls.setdefault(module, []).append(_Layer(module, inputs[0].detach(), output))

    layers: list[_Layer] = []
    hooks = [m.register_forward_hook(keep) for m in policy.modules()]
    try:
        yield layers
    finally:
        for hook in hooks:
            hook.remove()
    # A layer used twice, or on more than one row per sample, has no single outer product.
    for module, (first, *more) in calls.items():
        own = {id(p) for p in module.parameters()}
        if own and own <= wanted and not more and first.output.ndim == 2:
            layers.append(first)


def _gram(vectors: Tensor) -> Tensor:
    return (vectors @ vectors.transpose(-1, -2)).double()


def _layer_norm_gradients(
    module: nn.LayerNorm, inputs: Tensor, delta: Tensor, coefficients: Tensor
) -> Tensor:
    """Chunk gradients ``[R, C, p]`` of weight and bias."""
    normalised = layer_norm(inputs, module.normalized_shape, eps=module.eps)
    parts = [delta * normalised.view(*delta.shape[:2], 1, -1)]
    if module.bias is not None:
        parts.append(delta)
    return torch.einsum("rcmf,cmfo->rco", coefficients, torch.cat(parts, -1))


def _with_bias(layer: _Layer, delta: Tensor) -> Tensor:
    """Inputs of a linear layer by chunk, ``[C, m, in]``, and 1 where it has a bias."""
    inputs = layer.inputs.view(*delta.shape[:2], -1)
    return inputs if layer.module.bias is None else torch.cat([inputs, torch.ones_like(inputs[..., :1])], -1)


def _linear_gradients(inputs: Tensor, delta: Tensor, coefficients: Tensor) -> Tensor:
    """Chunk gradients ``[C, in, out]`` of one estimator, whose coefficients are ``[C, m, F]``."""
    weighted = torch.matmul(coefficients.unsqueeze(-2), delta).squeeze(-2)
    return torch.bmm(inputs.transpose(1, 2), weighted)


def _linear_gram(inputs: Tensor, delta: Tensor, coefficients: Tensor) -> Tensor:
    """Chunk gram of weight and bias, by the way that needs fewer multiplications."""
    groups = _groups(delta)
    rows, chunks, size, factors = coefficients.shape
    n, width, out = chunks * size, inputs.shape[-1], delta.shape[-1]
    pairs = sum(f.numel() ** 2 * (o.numel() + rows + ELEMENTWISE) for f, o in groups)
    by_samples = n * n // 2 * (width + pairs)
    by_gradients = rows * out * (n * factors + n * width + chunks * chunks * width)
    if by_samples < by_gradients:
        return _gram_by_samples(inputs, delta, coefficients, groups)
    return _gram_by_gradients(inputs, delta, coefficients)


def _groups(delta: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Factors and the outputs they reach: one group per factor where no two share an output, as in a head."""
    live = (delta != 0).flatten(0, 1).any(0)
    every = torch.arange(len(live), device=delta.device)
    if int(live.sum(0).max()) > 1:
        return [(every, live.any(0).nonzero().squeeze(1))]
    return [(f[None], live[f].nonzero().squeeze(1)) for f in every]


def _gram_by_gradients(inputs: Tensor, delta: Tensor, coefficients: Tensor) -> Tensor:
    return torch.stack([_gram(_linear_gradients(inputs, delta, row).flatten(1)) for row in coefficients])


def _gram_by_samples(
    inputs: Tensor, delta: Tensor, coefficients: Tensor, groups: list[tuple[Tensor, Tensor]]
) -> Tensor:
    rows, chunks, size, _ = coefficients.shape
    gram = coefficients.new_zeros(rows, chunks, chunks, dtype=torch.float64)
    parts = [
        (delta[:, :, f][..., o].flatten(1, 2), coefficients[..., f].flatten(2).permute(1, 2, 0))
        for f, o in groups
    ]
    step = max(1, BLOCK // size)
    starts = range(0, chunks, step)
    for a, b in ((a, b) for a in starts for b in starts if a <= b):
        left, right = slice(a, a + step), slice(b, b + step)
        similarity = inputs[left].flatten(0, 1) @ inputs[right].flatten(0, 1).T
        block = torch.stack([_block(similarity, d[left], d[right], c[left], c[right]) for d, c in parts]).sum(
            0
        )
        gram[:, left, right] = block
        gram[:, right, left] = block.transpose(1, 2)
    return gram


def _block(similarity: Tensor, delta_k: Tensor, delta_l: Tensor, coef_k: Tensor, coef_l: Tensor) -> Tensor:
    """Part of the gram, ``[R, k, l]``, of k chunks of rows with l chunks of columns.

    Shapes: ``similarity [k m, l m]``, deltas ``[k, m F, out]``, coefficients ``[k, m F, R]``.
    """
    factors = delta_k.shape[0] * delta_k.shape[1] // similarity.shape[0]
    kernel = delta_k.flatten(0, 1) @ delta_l.flatten(0, 1).T
    kernel.view(similarity.shape[0], factors, similarity.shape[1], factors).mul_(similarity[:, None, :, None])
    columns = kernel.view(len(kernel), len(coef_l), -1).transpose(0, 1)
    half = torch.bmm(columns, coef_l).view(len(coef_l), *coef_k.shape)
    return (half * coef_k).sum(2).double().permute(2, 1, 0)
