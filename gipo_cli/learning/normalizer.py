"""Running statistics of observations."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor


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
        scale = torch.rsqrt(self.var + 1e-8).float()
        return ((observations - self.mean.float()) * scale).clamp(-self.clip, self.clip)

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
