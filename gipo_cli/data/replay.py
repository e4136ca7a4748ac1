"""The newest N transitions, as contiguous rollout blocks in one ring of arrays.

A transition's *position* counts all transitions ever added; its slot is ``position % capacity``. Rollouts
are laid out time-major, so the window always holds exactly the newest N by time, and the step after
row i of a block of E environments is row i + E. Sampling is index arithmetic: O(batch), never O(buffer).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.core.advantages import Segments, Targets, gae, vtrace
from gipo_cli.data.rollout import Rollout, next_values
from gipo_cli.settings.schema import AdvantageConfig

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Critic = Callable[[Floats], Floats]
"""Observations ``[n, d]`` to values ``[n]``."""
LogRatio = Callable[[Floats, NDArray[np.generic], Floats], Floats]
"""Observations, actions and behaviour log-probabilities to joint log-ratios ``[n]``."""


@dataclass
class Block:
    """One rollout inside the ring: T steps of E environments from ``start``, and its tails."""

    start: int
    steps: int
    envs: int
    tail_row: Indices
    tail_obs: Floats

    @property
    def end(self) -> int:
        """Position after the last row."""
        return self.start + self.steps * self.envs


class ReplayBuffer:
    """Ring of the newest ``capacity`` transitions.

    Args:
        capacity: transitions kept.
        obs_dim: size of an observation.
        action_dim: dimensions D of an action.
        action_dtype: float32 for continuous actions, an unsigned integer for binned ones.
        distribution_dim: size P of a stored behaviour distribution; 0 stores none.
        reward_scale: factor on the raw rewards wherever advantages are formed.

    Raises:
        ValueError: a rollout is larger than the capacity, empty, or lacks the distribution that is stored.
    """

    def __init__(
        self,
        capacity: int,
        obs_dim: int,
        action_dim: int,
        action_dtype: np.dtype[Any] | type = np.float32,
        distribution_dim: int = 0,
        reward_scale: float = 1.0,
    ) -> None:
        self.capacity = capacity
        self.reward_scale = np.float32(reward_scale)
        self.obs = np.zeros((capacity, obs_dim), np.float32)
        self.action = np.zeros((capacity, action_dim), action_dtype)
        self.log_prob = np.zeros((capacity, action_dim), np.float32)
        self.reward = np.zeros(capacity, np.float32)
        self.value = np.zeros(capacity, np.float32)
        self.advantage = np.zeros(capacity, np.float32)
        self.value_target = np.zeros(capacity, np.float32)
        self.terminated = np.zeros(capacity, np.bool_)
        self.truncated = np.zeros(capacity, np.bool_)
        self.version = np.zeros(capacity, np.int32)
        self.distribution = np.zeros((capacity, distribution_dim), np.float32)
        self.added = 0
        self.blocks: list[Block] = []

    ARRAYS = (
        "obs",
        "action",
        "log_prob",
        "reward",
        "value",
        "advantage",
        "value_target",
        "terminated",
        "truncated",
        "version",
        "distribution",
    )

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @property
    def oldest(self) -> int:
        """Position of the oldest transition held."""
        return self.added - len(self)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        columns = [getattr(self, name) for name in self.ARRAYS]
        tails = [array for block in self.blocks for array in (block.tail_row, block.tail_obs)]
        return sum(int(array.nbytes) for array in columns + tails)

    def add(self, rollout: Rollout, advantage: AdvantageConfig) -> None:
        """Append a rollout, dropping the oldest transitions, with advantages by the behaviour critic."""
        size, (steps, envs) = len(rollout), rollout.shape
        if not 0 < size <= self.capacity:
            raise ValueError(f"a rollout of {size} transitions does not fit a buffer of {self.capacity}")
        if self.distribution.shape[1] and rollout.distribution is None:
            raise ValueError("this buffer stores behaviour distributions and the rollout has none")
        slots = np.arange(self.added, self.added + size) % self.capacity
        targets = _targets(
            rollout.reward * self.reward_scale,
            rollout.value,
            next_values(rollout.value, rollout.tail_row, rollout.tail_value),
            rollout.terminated,
            rollout.truncated,
            advantage,
            None,
        )
        columns: dict[str, Any] = {
            "obs": rollout.obs,
            "action": rollout.action,
            "log_prob": rollout.log_prob,
            "reward": rollout.reward,
            "value": rollout.value,
            "advantage": targets.advantage,
            "value_target": targets.value_target,
            "terminated": rollout.terminated,
            "truncated": rollout.truncated,
        }
        for name, values in columns.items():
            getattr(self, name)[slots] = values.reshape(size, *values.shape[2:])
        if rollout.distribution is not None and self.distribution.shape[1]:
            self.distribution[slots] = rollout.distribution.reshape(size, -1)
        self.version[slots] = rollout.policy_version
        self.blocks.append(Block(self.added, steps, envs, rollout.tail_row, rollout.tail_obs))
        self.added += size
        while self.blocks[0].end <= self.oldest:
            del self.blocks[0]

    def draw(self, size: int, rng: np.random.Generator) -> Indices:
        """Slots of ``size`` distinct transitions; of all of them if the buffer holds no more.

        Raises: ValueError if the buffer is empty.
        """
        held = len(self)
        if held == 0:
            raise ValueError("the replay buffer is empty; add a rollout before drawing from it")
        rows = np.arange(held) if size >= held else rng.choice(held, size, replace=False, shuffle=False)
        return (self.oldest + rows) % self.capacity

    def shuffled(self, size: int, rng: np.random.RandomState) -> Iterator[Indices]:
        """Slots of one pass over everything held, in batches; the last one may be smaller.

        The order before shuffling is by environment, then time, as in Stable-Baselines3's rollout buffer.
        """
        order = np.concatenate([self._by_environment(block) for block in self.blocks])
        order = order[rng.permutation(len(order))] % self.capacity
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def recompute(
        self,
        critic: Critic,
        advantage: AdvantageConfig,
        log_ratio: LogRatio | None = None,
    ) -> None:
        """Form every advantage and value target anew with today's critic (and policy, for vtrace)."""
        for shape in {(block.steps, block.envs) for block in self.blocks}:
            group = [block for block in self.blocks if (block.steps, block.envs) == shape]
            # At most about 2^16 rows a time bound the memory of the forward pass.
            stride = max(1, 65_536 // (shape[0] * shape[1]))
            for first in range(0, len(group), stride):
                self._recompute(group[first : first + stride], critic, advantage, log_ratio)

    def _recompute(
        self,
        blocks: list[Block],
        critic: Critic,
        advantage: AdvantageConfig,
        log_ratio: LogRatio | None,
    ) -> None:
        steps, envs = blocks[0].steps, blocks[0].envs
        position = np.stack([np.arange(b.start, b.end).reshape(steps, envs) for b in blocks], 1)
        slots = position % self.capacity
        obs = self.obs[slots.reshape(-1)]
        tails = np.concatenate([block.tail_obs for block in blocks])
        values = critic(np.concatenate([obs, tails]))
        value = values[: len(obs)].reshape(slots.shape)
        following = np.empty_like(value)
        done = len(obs)
        for i, block in enumerate(blocks):
            tail_value = values[done : done + len(block.tail_row)]
            following[:, i] = next_values(value[:, i], block.tail_row, tail_value)
            done += len(tail_value)
        ratio = None
        if log_ratio is not None:
            flat = slots.reshape(-1)
            ratio = log_ratio(obs, self.action[flat], self.log_prob[flat]).reshape(steps, -1)
        wide = slots.reshape(steps, -1)
        targets = _targets(
            self.reward[wide] * self.reward_scale,
            value.reshape(steps, -1),
            following.reshape(steps, -1),
            self.terminated[wide],
            self.truncated[wide],
            advantage,
            ratio,
        )
        # The oldest block may have lost its front to newer rows: leave those slots alone.
        held = position.reshape(steps, -1) >= self.oldest
        self.advantage[wide[held]] = targets.advantage[held]
        self.value_target[wide[held]] = targets.value_target[held]

    def _by_environment(self, block: Block) -> Indices:
        positions = np.arange(block.start, block.end).reshape(block.steps, block.envs).T.reshape(-1)
        return positions[positions >= self.oldest]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Everything held, as JSON-able numbers and as arrays (views, not copies)."""
        held = len(self)
        arrays = {name: getattr(self, name)[:held] for name in self.ARRAYS}
        arrays["tail_row"] = np.concatenate([b.tail_row for b in self.blocks] or [np.zeros(0, np.int64)])
        arrays["tail_obs"] = np.concatenate([b.tail_obs for b in self.blocks] or [self.obs[:0]])
        blocks = [[b.start, b.steps, b.envs, len(b.tail_row)] for b in self.blocks]
        return {"capacity": self.capacity, "added": self.added, "blocks": blocks}, arrays

    def load(self, numbers: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Put back what :meth:`state` gave.

        Raises: ValueError if it came from a buffer of another capacity or layout.
        """
        if numbers["capacity"] != self.capacity:
            raise ValueError(
                f"the stored buffer holds {numbers['capacity']} transitions, this one {self.capacity}"
            )
        held = min(int(numbers["added"]), self.capacity)
        for name in self.ARRAYS:
            own, stored = getattr(self, name), arrays[name]
            if stored.shape != (held, *own.shape[1:]) or stored.dtype != own.dtype:
                raise ValueError(
                    f"the stored buffer's {name} is {stored.dtype}{list(stored.shape)}, "
                    f"not {own.dtype}{[held, *own.shape[1:]]}"
                )
            own[:held] = stored
        self.added = int(numbers["added"])
        self.blocks, first = [], 0
        for start, steps, envs, tails in numbers["blocks"]:
            rows = slice(first, first + tails)
            self.blocks.append(Block(start, steps, envs, arrays["tail_row"][rows], arrays["tail_obs"][rows]))
            first += tails


def _targets(
    reward: Floats,
    value: Floats,
    next_value: Floats,
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    config: AdvantageConfig,
    log_ratio: Floats | None,
) -> Targets:
    ended = terminated | truncated
    terminal = terminated if config.bootstrap_truncated else ended
    segments = Segments(reward, value, next_value, terminal, ended)
    if log_ratio is None:
        return gae(segments, config.gamma, config.gae_lambda)
    return vtrace(segments, log_ratio, config.gamma, config.gae_lambda, config.rho_bar, config.c_bar)
