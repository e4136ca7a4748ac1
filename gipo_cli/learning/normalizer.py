"""What the networks see and say in units of the data: observations, and values."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn


class ObsNormalizer(BaseFeaturesExtractor):
    """Running mean and variance of raw observations, applied when an observation is used.

    It lives inside the policy, so saved models carry their statistics, replayed raw observations are always
    normalised by today's, and no wrapper can be forgotten. Statistics change after updates only.

    Shapes: ``[B, d]`` in and out. Source: parallel moments after Chan, Golub and LeVeque (1979).
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, observation_space: spaces.Box, clip: float = 10.0) -> None:
        size = int(np.prod(observation_space.shape))
        super().__init__(observation_space, size)
        self.clip = clip
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("var", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, observations: Tensor) -> Tensor:
        """Normalised observations, clipped to +-``clip`` deviations."""
        return normalised(observations, *self.scaling())

    def scaling(self) -> tuple[Tensor, Tensor, float]:
        """What :func:`normalised` takes, by the statistics of now."""
        return self.mean.float(), torch.rsqrt(self.var + 1e-8).float(), self.clip

    @torch.no_grad()
    def update(self, observations: Tensor) -> None:
        """Take a batch ``[n, d]`` of raw observations into the statistics."""
        batch = observations.double()
        n = float(len(batch))
        mean, var = batch.mean(0), batch.var(0, unbiased=False)
        total = self.count + n
        delta = mean - self.mean
        self.var.copy_((self.var * self.count + var * n + delta.square() * self.count * n / total) / total)
        self.mean.add_(delta * n / total)
        self.count.copy_(total)


def normalised(observations: Tensor, mean: Tensor, scale: Tensor, clip: float) -> Tensor:
    """Observations ``[..., d]`` in deviations from the mean, clipped."""
    return ((observations - mean) * scale).clamp(-clip, clip)


class ValueHead(nn.Linear):
    """The critic's last layer, whose raw numbers count in deviations ``std`` from ``mean`` of the targets.

    Shapes: ``[B, f]`` to ``[B, 1]``. Source: PopArt, arXiv 1602.07714, with the moments of the replay buffer
    in place of running ones.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features)
        self.load_state_dict(layer.state_dict())
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Values in units of scaled reward."""
        return super().forward(features) * self.std + self.mean

    @torch.no_grad()
    def rescale(self, targets: Tensor) -> None:
        """Take the mean and deviation of ``targets`` ``[n]``; no value changes, up to rounding."""
        mean, std = targets.mean(), targets.std(unbiased=False).clamp(min=1e-6)
        self.weight.mul_(self.std / std)
        self.bias.mul_(self.std).add_(self.mean - mean).div_(std)
        self.mean.copy_(mean)
        self.std.copy_(std)
