"""What an update did: gathered batch by batch, and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class UpdateStats:
    """What one update did: numbers by the column names of ``metrics.csv``, and samples for histograms.

    ``log_ratio``, ``coefficient`` (``[n]`` or ``[n, D]``) and ``lag`` (``[n]``) are of the transitions of all
    actor steps, each at the moment of its use.
    """

    numbers: dict[str, float]
    log_ratio: Tensor
    coefficient: Tensor
    lag: Tensor


@dataclass
class Tally:
    """Tensors gathered during an update, reduced once at its end."""

    log_ratio: list[Tensor] = field(default_factory=list)
    coefficient: list[Tensor] = field(default_factory=list)
    lag: list[Tensor] = field(default_factory=list)
    advantage: list[Tensor] = field(default_factory=list)
    step: list[Tensor] = field(default_factory=list)
    parts: list[Mapping[str, Tensor]] = field(default_factory=list)
    kl: list[Tensor] = field(default_factory=list)
    value: list[Tensor] = field(default_factory=list)
    value_target: list[Tensor] = field(default_factory=list)
    actor_loss: list[Tensor] = field(default_factory=list)
    critic_loss: list[Tensor] = field(default_factory=list)
    entropy: list[Tensor] = field(default_factory=list)
    kl_penalty: list[Tensor] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    critic_steps: int = 0
    stopped: bool = False
