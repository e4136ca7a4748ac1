"""Learning rate over the iterations of a run."""

from __future__ import annotations

import math

from gipo_cli.settings.schema import UpdateConfig


def lr_factor(update: UpdateConfig, iteration: int, iterations: int) -> float:
    """Factor on the peak learning rate in iteration ``iteration`` (from 0) of ``iterations``.

    Warm-up is linear from 0, so with it the very first iteration changes nothing, as in the authors'
    script; the decay then reaches 0 at the end of the run.
    """
    if iteration < update.lr_warmup:
        return iteration / update.lr_warmup
    if update.lr_schedule == "constant":
        return 1.0
    progress = min((iteration - update.lr_warmup) / max(iterations - update.lr_warmup, 1), 1.0)
    if update.lr_schedule == "linear":
        return 1.0 - progress
    return 0.5 * (1.0 + math.cos(math.pi * progress))
