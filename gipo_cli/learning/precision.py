"""Which arithmetic the matrix products use: float32, or bfloat16 where the machine makes it faster."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from gipo_cli.settings.schema import AgentConfig

Precision = Literal["float32", "bfloat16"]
GAIN = 1.2
"""How much faster bfloat16 must be before ``auto`` takes it: it rounds to three digits."""


def resolve(agent: AgentConfig, device: torch.device | str) -> Precision:
    """What ``agent.precision`` means on this machine.

    ``auto`` times one product of the size that dominates an update (batch by widest layer, squared) in both,
    which takes some hundredths of a second; nothing random is drawn.
    """
    if agent.precision != "auto":
        return agent.precision
    width = max(agent.policy.hidden)
    batch = agent.update.batch_size
    slow, fast = (_seconds(batch, width, kind, device) for kind in (torch.float32, torch.bfloat16))
    return "bfloat16" if slow > GAIN * fast else "float32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Context in which networks run; values, losses and log-probabilities stay float32."""
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _seconds(batch: int, width: int, kind: torch.dtype, device: torch.device | str) -> float:
    a = torch.ones(batch, width, dtype=kind, device=device)
    b = torch.ones(width, width, dtype=kind, device=device)
    best = float("inf")
    for _ in range(7):
        begun = time.perf_counter()
        float((a @ b)[0, 0])
        best = min(best, time.perf_counter() - begun)
    return best
