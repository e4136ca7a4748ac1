"""Collects rollouts: a policy and environments in, a :class:`Rollout` out, in whatever process it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from gipo_cli.data.rollout import EPISODE, Observation, Rollout, each, no_episodes
from gipo_cli.envs.spaces import clipped
from gipo_cli.envs.success import read_success
from gipo_cli.learning.policies import MlpPolicy

OnStep = Callable[[dict[str, Any]], bool]
"""Called after each step with Stable-Baselines3's names for what happened; False ends the rollout."""


class Snapshot(NamedTuple):
    """A policy to act with, and how many updates made it."""

    policy: MlpPolicy
    version: int


class Position(NamedTuple):
    """Where an actor is between two rollouts.

    Per environment the running episode's number and what was done in it so far (``[steps, ...]``, as sent to
    the environment); the newest observations ``[E, ...]``; the state of the stream of actions.
    """

    episodes: list[int]
    actions: list[NDArray[Any]]
    last_obs: Observation
    generator: torch.Tensor


class Actor:
    """Steps environments with the policies that it is given.

    Args:
        env: What it steps.
        steps: Of each environment in a rollout.
        generator: The stream that actions are drawn from; nobody else draws from it.
        keeps_distribution: Whether rollouts hold the behaviour distribution.
    """

    def __init__(
        self, env: VecEnv, steps: int, generator: torch.Generator, *, keeps_distribution: bool
    ) -> None:
        self.env, self.steps, self.generator = env, steps, generator
        self.keeps_distribution = keeps_distribution
        self.last_obs: Observation = None
        self._running: list[list[NDArray[Any]]] = []

    def begin(self, obs: Observation) -> None:
        """Go on from ``obs``, the first observations of new episodes."""
        self.last_obs = obs
        space = self.env.action_space
        nothing = np.zeros((0, *space.shape), space.dtype)  # type: ignore[misc]
        self._running = [[nothing] for _ in range(self.env.num_envs)]

    def restart(self) -> None:
        """End the running episodes and begin new ones."""
        self.begin(self.env.reset())

    def collect(self, snapshot: Snapshot, on_step: OnStep | None = None) -> Rollout | None:
        """Step the environments for one rollout.

        Returns: the rollout, or None if ``on_step`` ended it; the episodes go on from where they are.
        """
        if self.last_obs is None:
            self.restart()
        with torch.inference_mode():
            collecting = _Collecting(snapshot.policy, self.env.num_envs)
            for _ in range(self.steps):
                seen = self._step(collecting)
                if on_step is not None:
                    # What a callback does is its own: it may train something.
                    with torch.inference_mode(False):
                        go_on = on_step(seen)
                    if not go_on:
                        self._remember(collecting)
                        return None
            self._remember(collecting)
            return collecting.rollout(self.last_obs, snapshot.version, self.keeps_distribution)

    def _step(self, collecting: _Collecting) -> dict[str, Any]:
        obs = each(lambda part: np.asarray(part, np.float32), self.last_obs)
        action = collecting.act(obs, self.generator)
        # An environment of others may take a matrix.
        taken = action.cpu().numpy().reshape(-1, *(self.env.action_space.shape or ()))
        sent = clipped(taken, self.env.action_space)
        stepped, reward, done, infos = self.env.step(sent)
        self.last_obs = each(lambda part: np.asarray(part, np.float32), stepped)
        collecting.add(obs, sent, reward, done, infos)
        return {
            "new_obs": self.last_obs,
            "rewards": collecting.reward[-1],
            "dones": done,
            "infos": infos,
            "actions": taken,
            "clipped_actions": sent,
        }

    def _remember(self, collecting: _Collecting) -> None:
        """Keep what was done in each episode that is still running."""
        sent, ended = np.stack(collecting.sent), np.stack(collecting.done)
        for e in range(ended.shape[1]):
            ends = np.flatnonzero(ended[:, e])
            if len(ends):
                self._running[e] = [sent[ends[-1] + 1 :, e]]
            else:
                self._running[e].append(sent[:, e])

    def position(self) -> Position:
        """Where the environments and the actions' stream are between two rollouts."""
        numbers = [int(following) - 1 for following in self.env.get_attr("episode_index")]
        done = [np.concatenate(parts) for parts in self._running]
        return Position(numbers, done, self.last_obs, self.generator.get_state())

    def go_on(self, position: Position) -> bool:
        """Bring fresh environments to where others were, by doing the same again.

        Returns: whether every episode still runs and every observation is equal to the bit. If not, the
        environment does not repeat itself or has other settings, and new episodes were begun instead.
        Raises: ValueError if they were of another number of environments; RuntimeError if the stream is
        of another kind.
        """
        env = self.env
        if len(position.episodes) != env.num_envs:
            raise ValueError(
                f"it is of {len(position.episodes)} environments and this agent has {env.num_envs}"
            )
        self.generator.set_state(position.generator)
        env.reset()
        replayed = [
            env.env_method("replay", number, list(done), indices=[e])[0]
            for e, (number, done) in enumerate(zip(position.episodes, position.actions, strict=True))
        ]
        newest = [obs for obs, _ in replayed]
        obs = each(lambda *parts: np.stack(parts), newest[0], *newest[1:])
        same: list[bool] = []
        each(lambda one, other: same.append(np.array_equal(one, other)), obs, position.last_obs)
        if any(ended for _, ended in replayed) or not all(same):
            self.restart()
            return False
        self.last_obs = obs
        self._running = [[done] for done in position.actions]
        return True


class _Collecting:
    """A rollout while it is being collected."""

    def __init__(self, policy: MlpPolicy, envs: int) -> None:
        # In float32 always: reading the weights is what one row costs, and bfloat16 gains nothing there.
        self.policy, self.passes, self.envs = policy, policy.acting(), envs
        self.obs: list[Observation] = []
        self.outputs: list[torch.Tensor] = []
        self.actions: list[torch.Tensor] = []
        self.sent: list[NDArray[Any]] = []
        self.reward: list[NDArray[np.float32]] = []
        self.done: list[NDArray[np.bool_]] = []
        self.truncated: list[NDArray[np.bool_]] = []
        self.episodes: list[tuple[float, ...]] = []
        self.tails: list[tuple[int, Observation, torch.Tensor]] = []

    def act(self, obs: Observation, generator: torch.Generator) -> torch.Tensor:
        """Actions ``[E, D]``, drawn and not clipped."""
        output = self.passes.actor(self.passes.shared(self.policy.tensors(obs)))
        self.outputs.append(output)
        self.actions.append(self.policy.head.sample(output, generator))
        return self.actions[-1]

    def value(self, obs: Observation) -> torch.Tensor:
        """Values ``[E]``."""
        return self.passes.critic(self.passes.shared(self.policy.tensors(obs)))

    def add(
        self,
        obs: Observation,
        sent: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: Sequence[dict[str, Any]],
    ) -> None:
        """Take one step of every environment."""
        truncated = np.zeros(self.envs, np.bool_)
        for e in np.flatnonzero(done).tolist():
            info = infos[e]
            truncated[e] = info.get("TimeLimit.truncated", False)
            final = each(lambda part: np.asarray(part, np.float32), info["terminal_observation"])
            value = self.value(each(lambda part: part[None], final))
            self.tails.append((len(self.obs) * self.envs + e, final, value))
            if "episode" in info:
                self.episodes.append(_episode(info))
        self.obs.append(obs)
        self.sent.append(sent)
        self.reward.append(np.asarray(reward, np.float32))
        self.done.append(np.asarray(done, np.bool_))
        self.truncated.append(truncated)

    def rollout(self, last_obs: Observation, version: int, keeps_distribution: bool) -> Rollout:
        """What was collected; ``last_obs`` follows its last row."""
        following = self.value(last_obs)
        for e in np.flatnonzero(~self.done[-1]):
            final = each(lambda part, e=e: part[e], last_obs)
            self.tails.append(((len(self.obs) - 1) * self.envs + int(e), final, following[e : e + 1]))
        self.tails.sort(key=lambda tail: tail[0])
        rows, finals, values = zip(*self.tails, strict=True)
        head, output, action = self.policy.head, torch.stack(self.outputs), torch.stack(self.actions)
        obs = each(lambda *parts: np.stack(parts), self.obs[0], *self.obs[1:])
        ended, truncated = np.stack(self.done), np.stack(self.truncated)
        return Rollout(
            obs,
            action.cpu().numpy(),
            np.stack(self.reward),
            ended & ~truncated,
            truncated,
            head.log_prob(output, action).cpu().numpy(),
            self.policy.rollout_values(self.policy.tensors(obs)).cpu().numpy(),
            np.array(rows, np.int64),
            each(lambda *parts: np.stack(parts), finals[0], *finals[1:]),
            torch.cat(values).cpu().numpy(),
            version,
            head.distribution(output).cpu().numpy() if keeps_distribution else None,
            np.array(self.episodes) if self.episodes else no_episodes(),
        )


def _episode(info: dict[str, Any]) -> tuple[float, ...]:
    """A finished episode, from the info of its last step, in the order of ``EPISODE``."""
    reported = info.get("is_success")
    success = np.nan if reported is None else float(read_success("is_success", reported))
    numbers = {
        "return": info["episode"]["r"],
        "success": success,
        "success_any": info.get("success_any", success),
        "success_last": info.get("success_last", success),
        "length": info["episode"]["l"],
    }
    return tuple(float(numbers[name]) for name in EPISODE)
