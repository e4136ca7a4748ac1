"""Learns from the rollouts that it is handed, wherever they come from."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from gipo_cli.core.objectives import ObjectiveParams
from gipo_cli.data.episodes import EpisodeWindow
from gipo_cli.data.replay import ReplayBuffer
from gipo_cli.data.rollout import Observation, Rollout, each
from gipo_cli.learning.actor import Snapshot
from gipo_cli.learning.anchor import Anchor, Demonstrated
from gipo_cli.learning.batches import Sampler
from gipo_cli.learning.normalizer import ObsNormalizer
from gipo_cli.learning.policies import MlpPolicy
from gipo_cli.learning.schedules import lr_factor
from gipo_cli.learning.tally import UpdateStats
from gipo_cli.learning.updater import Updater, kl_coef
from gipo_cli.settings.schema import AgentConfig


class Learner:
    """A policy, the replay buffer it learns from and the optimizer that moves it.

    Steps, episodes and observation statistics follow from the rollouts that arrive.

    Args:
        policy: networks to train.
        agent: how they learn.
        objective: which policy objective, and its parameters.
        capacity: transitions that the buffer keeps; None: one rollout.
        rollout_size: transitions that an iteration collects, for the learning rate's schedule.
        reward_scale: factor on rewards wherever advantages are formed.
        window: finished episodes over which return and success are averaged.
        seed: of the batches.

    Raises:
        ValueError: the buffer is smaller than a rollout.
    """

    def __init__(
        self,
        policy: MlpPolicy,
        agent: AgentConfig,
        objective: ObjectiveParams,
        *,
        capacity: int | None,
        rollout_size: int,
        reward_scale: float,
        window: int,
        seed: int | None,
    ) -> None:
        capacity = rollout_size if capacity is None else capacity
        if capacity < rollout_size:
            raise ValueError(
                f"buffer_size={capacity} is smaller than one rollout of {rollout_size} transitions"
            )
        self.policy, self.agent, self.rollout_size = policy, agent, rollout_size
        keeps_distribution = kl_coef(agent, objective) > 0
        sampler = Sampler(agent, policy.device, seed, distribution=keeps_distribution)
        self.updater = Updater(policy, agent, objective, sampler)
        self.buffer = self._buffer(capacity, reward_scale)
        self.episodes = EpisodeWindow(window)
        self.steps = 0
        self.version = 0
        self.optimizer_steps = 0
        self._unseen: list[Observation] = []
        self.frozen_statistics = False
        self.seed = seed

    def begin_from(
        self, weights: dict[str, Any] | None = None, demos: Demonstrated | None = None, share: float = 0.0
    ) -> None:
        """Begin as another policy, whose observation statistics stay as they are from here on.

        Args:
            weights: its ``state_dict``; None: as the policy is now.
            demos: demonstrations for the cloning term and the buffer.
            share: of each batch that is drawn from them.

        Raises: RuntimeError if the weights are of another network.
        """
        if weights is not None:
            self.policy.load_state_dict(weights)
        self.frozen_statistics = True
        if self.agent.anchor.active:
            self.updater.anchor = Anchor(self.policy, self.agent, demos, self.seed or 0)
        if demos is not None and share:
            sampler, rollout = self.updater.sampler, demos.rollout(self.policy)
            sampler.demos = self._buffer(len(rollout), float(self.buffer.reward_scale))
            sampler.demos.add(rollout, self.agent.advantage)
            sampler.share = share

    def _buffer(self, capacity: int, reward_scale: float) -> ReplayBuffer:
        head, space = self.policy.head, self.policy.action_space
        narrow = isinstance(space, spaces.MultiDiscrete) and space.nvec.max() <= 256
        binned = np.uint8 if narrow else np.uint16
        return ReplayBuffer(
            capacity,
            _shape(self.policy.observation_space),
            head.action_dim,
            binned if isinstance(space, spaces.MultiDiscrete) else np.float32,
            head.distribution_dim if self.keeps_distribution else 0,
            reward_scale,
        )

    @property
    def keeps_distribution(self) -> bool:
        """Whether rollouts must hold the behaviour distribution."""
        return self.updater.kl_coef > 0

    def snapshot(self) -> Snapshot:
        """The newest policy, which goes on changing as it learns."""
        return Snapshot(self.policy, self.version)

    def take(self, rollout: Rollout) -> None:
        """Count a rollout, and add it to the buffer unless it is masked."""
        self.steps += len(rollout)
        self.episodes.add(rollout.episodes)
        if not rollout.masked:
            self.buffer.add(rollout, self.agent.advantage)
            self._unseen.append(rollout.obs)

    def update(self, total_steps: int) -> UpdateStats:
        """Learn from the buffer; one more version of the policy.

        No optimizer moves while the learning rate is 0, which would fill its moments all the same, nor before
        the observation statistics have seen a rollout.

        Args:
            total_steps: environment steps of the whole training, over which the learning rate decays.

        Raises: NonFinite before a NaN or infinite step would be applied.
        """
        iteration = max(math.ceil(self.steps / self.rollout_size) - 1, 0)
        iterations = math.ceil(total_steps / self.rollout_size)
        factor = lr_factor(self.agent.update, iteration, iterations)
        self.updater.set_lr(factor)
        if self.updater.anchor is not None:
            self.updater.anchor.begin(self.version, iteration / iterations)
        extractor = self.policy.features_extractor
        normalizer = extractor if isinstance(extractor, ObsNormalizer) else None
        if factor == 0 or (normalizer is not None and not normalizer.count):
            stats = self.updater.skip()
        else:
            stats = self.updater.update(self.buffer, self.version)
        # Only now, so that the policy that learns from its newest rollout is the one that made it.
        if normalizer is not None and not self.frozen_statistics:
            for obs in self._unseen:
                normalizer.update(self.policy.tensors(obs).flatten(0, 1))
        self._unseen.clear()
        self.version += 1
        self.optimizer_steps += int(stats.numbers["update/critic_steps"])
        return stats

    def state(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """What exact resuming needs: JSON-able numbers, tensors, and the buffer's arrays."""
        legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - third-party environments may draw from it
        version, internal, gauss = random.getstate()
        numbers, arrays = self.buffer.state()
        sampler = self.updater.sampler
        tensors = {
            "policy": self.policy.state_dict(),
            "optimizer": self.updater.optimizer.state_dict(),
            "torch_global": torch.get_rng_state(),
        }
        state = {
            "steps": self.steps,
            "version": self.version,
            "optimizer_steps": self.optimizer_steps,
            "actor_scale": self.updater.actor_scale,
            "episodes": self.episodes.state(),
            "buffer": numbers,
            "shuffle": _json_state(sampler.shuffle.get_state(legacy=False)),
            "draw": sampler.draw.bit_generator.state,
            "numpy_global": _json_state(legacy),
            "python_global": [version, list(internal), gauss],
        }
        return state, tensors, arrays

    def load_state(
        self, state: dict[str, Any], tensors: dict[str, Any], arrays: dict[str, Any] | None
    ) -> None:
        """Put back what :meth:`state` gave; ``arrays`` None leaves the buffer empty (inexact).

        Raises: ValueError, LookupError or RuntimeError if it is of another network, optimizer or buffer.
        """
        self.policy.load_state_dict(tensors["policy"])
        # Moments are the checkpoint's; options, which torch would take from there too, this configuration's.
        saved, now = tensors["optimizer"], self.updater.optimizer.state_dict()["param_groups"]
        pairs = zip(now, saved["param_groups"], strict=True)
        groups = [{**options, "params": group["params"]} for options, group in pairs]
        self.updater.optimizer.load_state_dict({**saved, "param_groups": groups})
        torch.set_rng_state(tensors["torch_global"])
        self.steps, self.version = int(state["steps"]), int(state["version"])
        self.optimizer_steps = int(state["optimizer_steps"])
        self.updater.actor_scale = float(state["actor_scale"])
        self.episodes.load(state["episodes"])
        sampler = self.updater.sampler
        sampler.shuffle.set_state(_numpy_state(state["shuffle"]))
        sampler.draw.bit_generator.state = state["draw"]
        np.random.set_state(_numpy_state(state["numpy_global"]))  # noqa: NPY002
        version, internal, gauss = state["python_global"]
        random.setstate((version, tuple(internal), gauss))
        if arrays is not None:
            self.buffer.load(state["buffer"], arrays)


def _shape(space: spaces.Space[Any]) -> Any:
    """Shape of an observation, or of each of its named parts."""
    parts = dict(space.spaces) if isinstance(space, spaces.Dict) else space
    return each(lambda part: part.shape, parts)


def _json_state(state: Any) -> dict[str, Any]:
    inner = {"key": state["state"]["key"].tolist(), "pos": int(state["state"]["pos"])}
    return {**state, "state": inner, "has_gauss": int(state["has_gauss"]), "gauss": float(state["gauss"])}


def _numpy_state(state: dict[str, Any]) -> dict[str, Any]:
    key = np.asarray(state["state"]["key"], np.uint32)
    return {**state, "state": {"key": key, "pos": state["state"]["pos"]}}
