"""The newest N transitions, as contiguous rollout blocks in one ring of arrays.

A transition's *position* counts all transitions ever added; its slot is ``position % capacity``. Rollouts
are laid out time-major, in the order of their arrival, so the window always holds exactly the newest N that
arrived, and the step after row i of a block of E environments is row i + E. Sampling is index arithmetic:
O(batch), never O(buffer).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.core.advantages import Segments, Targets, gae, vtrace
from gipo_cli.data.rollout import Observation, Rollout, each, next_values
from gipo_cli.settings.schema import AdvantageConfig

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Critic = Callable[[Observation], Floats]
"""Observations ``[n, ...]`` to values ``[n]``."""
LogRatio = Callable[[Observation, NDArray[np.generic], Floats], Floats]
"""Observations, actions and behaviour log-probabilities to joint log-ratios ``[n]``."""
COLUMNS = {
    "action": None,
    "log_prob": np.float32,
    "reward": np.float32,
    "value": np.float32,
    "advantage": np.float32,
    "value_target": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "version": np.int32,
    "distribution": np.float32,
}


@dataclass
class Block:
    """One rollout inside the ring: T steps of E environments from ``start``, and its tails."""

    start: int
    steps: int
    envs: int
    tail_row: Indices
    tail_obs: Observation

    @property
    def end(self) -> int:
        """Position after the last row."""
        return self.start + self.steps * self.envs


class ReplayBuffer:
    """Ring of the newest ``capacity`` transitions.

    Args:
        capacity: transitions kept.
        obs_shape: shape of an observation, or of each of its named parts.
        action_dim: dimensions D of an action.
        action_dtype: float32 for continuous actions, an unsigned integer for binned ones.
        distribution_dim: size P of a stored behaviour distribution; 0 stores none.
        reward_scale: factor on the raw rewards wherever advantages are formed.

    Raises:
        ValueError: a rollout is larger than the capacity, empty, or lacks the distribution that is stored.
    """

    obs: Observation
    action: NDArray[np.generic]
    log_prob: Floats
    reward: Floats
    value: Floats
    advantage: Floats
    value_target: Floats
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    version: NDArray[np.int32]
    distribution: Floats

    def __init__(
        self,
        capacity: int,
        obs_shape: Any,
        action_dim: int,
        action_dtype: np.dtype[Any] | type = np.float32,
        distribution_dim: int = 0,
        reward_scale: float = 1.0,
    ) -> None:
        self.capacity = capacity
        self.reward_scale = np.float32(reward_scale)
        self.obs = each(lambda shape: np.zeros((capacity, *shape), np.float32), obs_shape)
        wide = {"action": action_dim, "log_prob": action_dim, "distribution": distribution_dim}
        for name, kind in COLUMNS.items():
            shape = (capacity, wide[name]) if name in wide else (capacity,)
            setattr(self, name, np.zeros(shape, kind or action_dtype))
        self.added = 0
        self.blocks: list[Block] = []

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @property
    def oldest(self) -> int:
        """Position of the oldest transition held."""
        return self.added - len(self)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        parts = [self.obs, *(getattr(self, name) for name in COLUMNS)]
        parts += [part for block in self.blocks for part in (block.tail_row, block.tail_obs)]
        sizes: list[int] = []
        for part in parts:
            each(lambda array: sizes.append(array.nbytes), part)
        return sum(sizes)

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
        each(lambda held, new: _put(held, slots, new), self.obs, rollout.obs)
        for name in ("action", "log_prob", "reward", "value", "terminated", "truncated"):
            _put(getattr(self, name), slots, getattr(rollout, name))
        _put(self.advantage, slots, targets.advantage)
        _put(self.value_target, slots, targets.value_target)
        if rollout.distribution is not None and self.distribution.shape[1]:
            _put(self.distribution, slots, rollout.distribution)
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
        flat = slots.reshape(-1)
        obs = each(lambda held: held[flat], self.obs)
        values = critic(each(lambda *parts: np.concatenate(parts), obs, *(b.tail_obs for b in blocks)))
        value = values[: len(flat)].reshape(slots.shape)
        following = np.empty_like(value)
        done = len(flat)
        for i, block in enumerate(blocks):
            tail_value = values[done : done + len(block.tail_row)]
            following[:, i] = next_values(value[:, i], block.tail_row, tail_value)
            done += len(tail_value)
        ratio = None
        if log_ratio is not None:
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

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Everything held, as JSON-able numbers and as a tree of arrays (views, not copies)."""
        held = len(self)
        arrays = {name: getattr(self, name)[:held] for name in COLUMNS}
        arrays["obs"] = each(lambda part: part[:held], self.obs)
        arrays["tail_row"] = np.concatenate([np.zeros(0, np.int64), *(b.tail_row for b in self.blocks)])
        nothing = each(lambda part: part[:0], self.obs)
        arrays["tail_obs"] = each(
            lambda *parts: np.concatenate(parts), nothing, *(b.tail_obs for b in self.blocks)
        )
        blocks = [[b.start, b.steps, b.envs, len(b.tail_row)] for b in self.blocks]
        return {"capacity": self.capacity, "added": self.added, "blocks": blocks}, arrays

    def load(self, numbers: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Put back what :meth:`state` gave.

        Raises: ValueError or LookupError if it came from a buffer of another capacity or layout.
        """
        if numbers["capacity"] != self.capacity:
            raise ValueError(
                f"the stored buffer holds {numbers['capacity']} transitions, this one {self.capacity}"
            )
        held = min(int(numbers["added"]), self.capacity)

        def restore(own: NDArray[Any], stored: NDArray[Any], name: str) -> None:
            if stored.shape != (held, *own.shape[1:]) or stored.dtype != own.dtype:
                raise ValueError(
                    f"the stored buffer's {name} is {stored.dtype}{list(stored.shape)}, "
                    f"not {own.dtype}{[held, *own.shape[1:]]}"
                )
            own[:held] = stored

        each(lambda own, stored: restore(own, stored, "obs"), self.obs, arrays["obs"])
        for name in COLUMNS:
            restore(getattr(self, name), arrays[name], name)
        self.added = int(numbers["added"])
        self.blocks, first = [], 0
        for start, steps, envs, tails in numbers["blocks"]:
            rows = slice(first, first + tails)
            tail_obs = each(lambda part, rows=rows: part[rows], arrays["tail_obs"])
            self.blocks.append(Block(int(start), int(steps), int(envs), arrays["tail_row"][rows], tail_obs))
            first += tails


def _put(column: NDArray[Any], slots: Indices, values: NDArray[Any]) -> None:
    """Write ``values [T, E, ...]`` to rows of a column."""
    column[slots] = values.reshape(len(slots), *values.shape[2:])


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
