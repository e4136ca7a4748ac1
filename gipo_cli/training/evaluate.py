"""Evaluation whose episodes start alike whenever and however often it is run, in training and afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gipo_cli.errors import RunFailed, StoppedError
from gipo_cli.streams import counting

if TYPE_CHECKING:
    import gymnasium as gym
    from stable_baselines3.common.vec_env import VecEnv

    from gipo_cli.settings.schema import EnvConfig

Act = Callable[[np.ndarray], np.ndarray]
Protocol = Literal["standard", "metaworld"]
# Of an evaluation's batches; the same in training and afterwards.
LANES = 5
EVALUATION_INDEX = 1_000_000
LONGEST_EPISODE = 100_000


@dataclass(frozen=True)
class EvalResult:
    """One evaluation, by episode.

    Attributes:
        returns: Sum of raw rewards, ``[episodes]``.
        lengths: Steps, ``[episodes]``.
        success: By the environment's definition, 0 or 1 ``[episodes]``; NaN where the task reports none.
        success_any: At any step, likewise.
        success_last: At the last step, likewise.
        first_success: Step of the first success, ``[episodes]``; NaN where there is none.
    """

    returns: np.ndarray
    lengths: np.ndarray
    success: np.ndarray
    success_any: np.ndarray
    success_last: np.ndarray
    first_success: np.ndarray

    def row(self) -> dict[str, float | int | None]:
        """Columns of ``eval.csv`` that describe the episodes; a success that no task reports is None."""
        return {
            "episodes": len(self.returns),
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "return_min": float(self.returns.min()),
            "return_max": float(self.returns.max()),
            "success": success_rate(self.success),
            "success_any": success_rate(self.success_any),
            "success_last": success_rate(self.success_last),
            "length_mean": float(self.lengths.mean()),
            "first_success": mean_first(self.first_success),
        }


def success_rate(success: np.ndarray) -> float | None:
    """Share of ones; None where there is a NaN."""
    mean = float(success.mean())
    return None if math.isnan(mean) else mean


def mean_first(steps: np.ndarray) -> float | None:
    """Mean step of the first success over the episodes that have one; None where none has."""
    succeeded = steps[~np.isnan(steps)]
    return float(succeeded.mean()) if len(succeeded) else None


def check_length(env: gym.Env[Any, Any], steps: int) -> None:
    """Give up on an episode that has no end, also where the time limit is beyond reach.

    Raises: RunFailed.
    """
    if steps > LONGEST_EPISODE:
        raise RunFailed(
            f"an episode of the evaluation has no end after {LONGEST_EPISODE:,} steps; "
            "set env.max_episode_steps"
        )


class Evaluator:
    """Keeps evaluation environments open between evaluations.

    Episode k of every evaluation starts alike, whatever ran before. It is played in lane k modulo ``n_envs``
    of batches that always have ``n_envs`` rows, so that its actions are the same to the last bit however many
    episodes there are: sums of a matrix product are rounded differently in batches of another size.

    Args:
        cfg: The environment, as in training.
        seed: Seed of the episodes' starts.
        task_seed: Picks what belongs to the task (Meta-World's goals): the training run's.
        n_envs: Environments whose observations go through the policy together.
        protocol: ``metaworld`` ends an episode at its first success.

    Raises:
        UserError: The environment cannot be made.
    """

    def __init__(
        self,
        cfg: EnvConfig,
        *,
        seed: int,
        task_seed: int,
        n_envs: int = LANES,
        protocol: Protocol = "standard",
    ) -> None:
        self._cfg, self._seed, self._task_seed, self._lanes = cfg, seed, task_seed, n_envs
        self._stop_at_success = protocol == "metaworld"
        self._envs: list[Any] = []
        self._open(1)

    def _open(self, count: int) -> None:
        from gipo_cli.envs.make import make_env

        while len(self._envs) < count:
            # All have one index, and no training environment has it: a start depends on the episode's number.
            env = make_env(self._cfg, self._seed, EVALUATION_INDEX, task_seed=self._task_seed, goals="cycle")
            self._envs.append(env)

    def run(
        self,
        act: Act,
        episodes: int,
        stop: Callable[[], bool] = lambda: False,
        told: Callable[[int], None] = lambda done: None,
    ) -> EvalResult:
        """Play the first ``episodes`` episodes.

        Args:
            act: Actions ``[n_envs, ...]`` for float32 observations ``[n_envs, d]``; rows without an episode
                hold anything.
            episodes: How many.
            stop: Asked after each step of each environment.
            told: Told the number of episodes played, after each.

        Returns:
            The episodes in order of their numbers.

        Raises:
            RunFailed: An environment raised or returned something unusable.
            StoppedError: ``stop`` said yes.
        """
        self._open(min(self._lanes, episodes))
        playing = {
            lane: Episode(env, lane, self._stop_at_success) for lane, env in enumerate(self._envs[:episodes])
        }
        observations = np.zeros((self._lanes, *playing[0].observation.shape), np.float32)
        outcomes: dict[int, _Outcome] = {}
        while playing:
            for lane, episode in playing.items():
                observations[lane] = episode.observation
            actions = act(observations.copy())
            for lane, episode in list(playing.items()):
                if stop():
                    raise StoppedError
                outcome = episode.step(actions[lane])
                if outcome is not None:
                    outcomes[episode.number] = outcome
                    told(len(outcomes))
                    following = playing.pop(lane).number + self._lanes
                    if following < episodes:
                        playing[lane] = Episode(episode.env, following, self._stop_at_success)
        columns = zip(*(outcomes[number] for number in range(episodes)), strict=True)
        result = EvalResult(*(np.array(column) for column in columns))
        if len(set(np.isnan(result.success_any))) > 1:
            from gipo_cli.envs.task_env import MIXED

            raise RunFailed(f"evaluation of env={self._cfg.name}: {MIXED}")
        return result

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs:
            env.close()


class TrainingEvaluator(Evaluator):
    """Evaluates in the first training environment, for robots and simulators of which only one can be open.

    Its episodes are numbered from a million on. The running training episodes are over: begin new ones.
    """

    def __init__(self, cfg: EnvConfig, vector: VecEnv) -> None:
        self._cfg, self._vector, self._lanes, self._stop_at_success = cfg, vector, 1, False
        self._envs = [_First(vector)]

    def run(
        self,
        act: Act,
        episodes: int,
        stop: Callable[[], bool] = lambda: False,
        told: Callable[[int], None] = lambda done: None,
    ) -> EvalResult:
        """As :meth:`Evaluator.run`; training episodes keep their numbers."""
        following = self._vector.get_attr("episode_index")
        result = super().run(act, episodes, stop, told)
        for index, number in enumerate(following):
            self._vector.env_method("set_episode_index", number, indices=index)
        return result

    def close(self) -> None:
        """Nothing here is its own."""


class _First:
    """The first environment of a vector."""

    def __init__(self, vector: VecEnv) -> None:
        self.action_space, self._vector = vector.action_space, vector

    def get_wrapper_attr(self, name: str) -> Callable[[int], Any]:
        return lambda number: self._call(name, EVALUATION_INDEX + number)

    def reset(self) -> Any:
        return self._call("reset")

    def step(self, action: np.ndarray) -> Any:
        return self._call("step", action)

    def _call(self, name: str, *arguments: Any) -> Any:
        return self._vector.env_method(name, *arguments, indices=0)[0]


_Outcome = tuple[float | int, ...]
_SUCCESSES = ("is_success", "success_any", "success_last")


class Episode:
    """One episode of an evaluation; ``number`` alone decides how it starts.

    Attributes:
        steps: Steps so far.
        total: Sum of their raw rewards.
        first_success: The first successful one of them; NaN before.
    """

    def __init__(self, env: gym.Env[Any, Any], number: int, stop_at_success: bool = False) -> None:
        from gipo_cli.envs.spaces import clipped

        self.env, self.number = env, number
        self._stop_at_success, self._clipped = stop_at_success, clipped
        self.total, self.steps, self.first_success = 0.0, 0, math.nan
        env.get_wrapper_attr("set_episode_index")(number)
        self.observation = env.reset()[0]

    def step(self, action: np.ndarray) -> _Outcome | None:
        """Take one step; its :class:`EvalResult` values (success NaN if not reported) if it was the last."""
        action = self._clipped(action, self.env.action_space)
        self.observation, reward, terminated, truncated, info = self.env.step(action)
        self.total += float(reward)
        self.steps += 1
        check_length(self.env, self.steps)
        if math.isnan(self.first_success) and info["is_success_step"]:
            self.first_success = float(self.steps)
        if terminated or truncated:
            successes = (float(info.get(key, np.nan)) for key in _SUCCESSES)
            return self.total, self.steps, *successes, self.first_success
        if self._stop_at_success and info["is_success_step"]:
            return self.total, self.steps, 1.0, 1.0, 1.0, self.first_success
        return None


def evaluate_policy(
    act: Act,
    cfg: EnvConfig,
    *,
    episodes: int,
    seed: int,
    task_seed: int,
    n_envs: int = LANES,
    protocol: Protocol = "standard",
) -> EvalResult:
    """Open an :class:`Evaluator`, evaluate once, close it.

    Raises:
        RunFailed: An environment raised or returned something unusable.
        UserError: The environment cannot be made.
    """
    made = Evaluator(cfg, seed=seed, task_seed=task_seed, n_envs=n_envs, protocol=protocol)
    with closing(made) as evaluator, counting("episodes played:", episodes) as told:
        return evaluator.run(act, episodes, told=told)
