"""Learning rate over the iterations of a run."""

from __future__ import annotations

import math

from gipo_cli.settings.schema import UpdateConfig

SCALES = (0.01, 10.0)
"""Bounds on what a step-KL rule makes of the actor's learning rate."""


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


def adapted(scale: float, goal: float, kl: float | None) -> float:
    """The factor on the actor's learning rate after an iteration that moved the policy by ``kl``.

    Divided by 1.5 above twice the goal and multiplied by it below half of it, within :data:`SCALES`. Without
    a measurement it stays.
    Source: the rule of legged_gym's and rl_games' adaptive schedule, by the iteration.
    """
    if kl is None:
        return scale
    if kl > 2 * goal:
        return max(scale / 1.5, SCALES[0])
    return min(scale * 1.5, SCALES[1]) if kl < goal / 2 else scale
