"""Advantages and value targets over rollout segments, with termination and truncation kept apart.

All arrays are ``[T, E]`` (time, environment), rewards already scaled. ``next_value`` is the critic's value
of the *true* next observation: of the final one at an episode's end, of the next one at a segment's end.
Nothing here carries a gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Flags = NDArray[np.bool_]


class Segments(NamedTuple):
    """Rewards and critic values of segments of equal length.

    Shapes: every field is ``[T, E]``. ``terminated`` marks steps after which the return is 0; ``ended`` marks
    steps after which another episode begins (terminated or truncated).
    """

    reward: Array
    value: Array
    next_value: Array
    terminated: Flags
    ended: Flags


class Targets(NamedTuple):
    """Advantages for the actor and regression targets for the critic, both ``[T, E]``."""

    advantage: Array
    value_target: Array


def gae(segments: Segments, gamma: float, gae_lambda: float) -> Targets:
    """Generalised advantage estimation.

    Shapes: ``[T, E]`` in and out; the last row always ends its segment.
    Source: arXiv 1506.02438, eq. 16; targets are advantage + value (TD(lambda)).
    """
    delta = _td_error(segments, gamma)
    decay = np.where(segments.ended, 0.0, gamma * gae_lambda).astype(np.float32)
    advantage = _discounted_sum(delta, decay)
    return Targets(advantage, advantage + segments.value)


def vtrace(
    segments: Segments, log_ratio: Array, gamma: float, gae_lambda: float, rho_bar: float, c_bar: float
) -> Targets:
    """V-trace targets, and the advantage r + gamma v(next) - V(s) without the factor rho.

    An objective multiplies by its own function of the ratio, so the advantage must not hold rho already.
    lambda multiplies c; the target that follows is mixed with the critic's value by lambda too, so that with
    every ratio 1 (and both bounds at least 1) the result is :func:`gae`.

    Shapes: ``log_ratio`` ``[T, E]`` is of the whole action (summed over its dimensions).
    Source: arXiv 1802.01561, eq. 1 and section 4.2.
    """
    not_terminated = 1.0 - segments.terminated.astype(np.float32)
    rho = np.exp(np.minimum(log_ratio, np.log(rho_bar))).astype(np.float32)
    trace = np.exp(np.minimum(log_ratio, np.log(c_bar))) * gae_lambda
    decay = np.where(segments.ended, 0.0, gamma * trace).astype(np.float32)
    correction = _discounted_sum(rho * _td_error(segments, gamma), decay)
    target = correction + segments.value
    # Value of the next state: the corrected target inside a segment, the critic's at its end.
    following = np.zeros_like(correction)
    following[:-1] = correction[1:]
    bootstrap = segments.next_value + gae_lambda * np.where(segments.ended, 0.0, following)
    advantage = segments.reward + gamma * not_terminated * bootstrap - segments.value
    return Targets(advantage.astype(np.float32), target)


def _td_error(segments: Segments, gamma: float) -> Array:
    not_terminated = 1.0 - segments.terminated.astype(np.float32)
    bootstrap = np.float32(gamma) * segments.next_value * not_terminated
    error: Array = segments.reward + bootstrap - segments.value
    return error


def _discounted_sum(delta: Array, decay: Array) -> Array:
    """x_t = delta_t + decay_t x_{t+1}, backwards over axis 0."""
    total = np.empty_like(delta)
    running = np.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        running = delta[t] + decay[t] * running
        total[t] = running
    return total
