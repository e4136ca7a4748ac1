"""Evaluation whose episodes start alike whenever and however often it is run, in training and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gipo_cli.errors import RunFailed, StoppedError, UserError
from gipo_cli.training.eval_report import (
    METAWORLD_GOALS,
    PROTOCOLS,
    EvalReport,
    EvalResult,
    Protocol,
    build_report,
)

if TYPE_CHECKING:
    import gymnasium as gym
    from stable_baselines3.common.vec_env import VecEnv

    from gipo_cli.settings.schema import EnvConfig, RunConfig

Act = Callable[[np.ndarray], np.ndarray]
# Of an evaluation's batches; the same in training and afterwards.
LANES = 5


EVALUATION_INDEX = 1_000_000
LONGEST_EPISODE = 100_000


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
        protocol: See ``PROTOCOLS``.

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

    def run(self, act: Act, episodes: int, stop: Callable[[], bool] = lambda: False) -> EvalResult:
        """Play the first ``episodes`` episodes.

        Args:
            act: Actions ``[n_envs, ...]`` for float32 observations ``[n_envs, d]``; rows without an episode
                hold anything.
            episodes: How many.
            stop: Asked after each step of each environment.

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

    def run(self, act: Act, episodes: int, stop: Callable[[], bool] = lambda: False) -> EvalResult:
        """As :meth:`Evaluator.run`; training episodes keep their numbers."""
        following = self._vector.get_attr("episode_index")
        result = super().run(act, episodes, stop)
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
    """One episode of an evaluation; ``number`` alone decides how it starts."""

    def __init__(self, env: gym.Env[Any, Any], number: int, stop_at_success: bool = False) -> None:
        from gipo_cli.envs.spaces import clipped

        self.env, self.number = env, number
        self._stop_at_success, self._clipped = stop_at_success, clipped
        self._return, self.steps = 0.0, 0
        env.get_wrapper_attr("set_episode_index")(number)
        self.observation = env.reset()[0]

    def step(self, action: np.ndarray) -> _Outcome | None:
        """Take one step; return, length and successes (NaN if not reported) if it was the last."""
        action = self._clipped(action, self.env.action_space)
        self.observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        self.steps += 1
        check_length(self.env, self.steps)
        if terminated or truncated:
            successes = (float(info.get(key, np.nan)) for key in _SUCCESSES)
            return self._return, self.steps, *successes
        if self._stop_at_success and info["is_success_step"]:
            return self._return, self.steps, 1.0, 1.0, 1.0
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
    """Open environments, evaluate once, close them; see ``Evaluator``.

    Args:
        act: The policy.
        cfg: The environment.
        episodes: How many.
        seed: Seed of the episodes' starts.
        task_seed: Seed of the task.
        n_envs: Environments stepped together.
        protocol: See ``PROTOCOLS``.

    Returns:
        The episodes in order of their numbers.

    Raises:
        RunFailed: An environment raised or returned something unusable.
        UserError: The environment cannot be made.
    """
    with closing(
        Evaluator(cfg, seed=seed, task_seed=task_seed, n_envs=n_envs, protocol=protocol)
    ) as evaluator:
        return evaluator.run(act, episodes)


def evaluate_run(
    run: Path,
    *,
    episodes: int | None = None,
    deterministic: bool = True,
    seed: int | None = None,
    checkpoint: str = "last",
    protocol: str | None = None,
    device: str = "cpu",
    trust: bool = False,
) -> EvalReport:
    """Evaluate a run's policy.

    Args:
        run: The run folder.
        episodes: How many; None: 50 under Meta-World's protocol, else ``eval.episodes``.
        deterministic: Take the mode of the policy rather than a sample.
        seed: Seed of the episodes' starts; None: ``eval.seed``, as in training.
        checkpoint: ``last``, ``best`` or a step.
        protocol: A name in ``PROTOCOLS``; None: ``metaworld`` for its tasks, else ``standard``.
        device: Where the policy runs.
        trust: Import the modules that the run's configuration names.

    Returns:
        The report.

    Raises:
        UserError: The run, checkpoint or protocol does not exist, or does not fit.
        RunFailed: The environment failed.
    """
    import torch

    from gipo_cli.training.loading import load_agent

    if episodes is not None and episodes < 1:
        raise UserError(f"episodes={episodes} is not a number of episodes; give 1 or more")
    agent, config, saved = load_agent(run, checkpoint, device, trust=trust)
    name = choose_protocol(config, protocol)
    count = episodes or (METAWORLD_GOALS if name == "metaworld" else config.eval.episodes)
    if not count:
        raise UserError(f"{run} was trained without evaluations (eval.episodes=0); give --episodes")
    seed = config.eval.seed if seed is None else seed
    # The same numbers as in training, and sampled actions that repeat.
    torch.set_num_threads(config.runtime.torch_threads)
    torch.manual_seed(seed)
    result = evaluate_policy(
        lambda observations: agent.act(observations, deterministic),
        config.env,
        episodes=count,
        seed=seed,
        task_seed=config.seed,
        n_envs=LANES if config.eval.env == "own" else 1,
        protocol=name,
    )
    return build_report(
        result, config, run=run, saved=saved, protocol=name, deterministic=deterministic, seed=seed
    )


def choose_protocol(config: RunConfig, asked: str | None) -> Protocol:
    """Protocol to evaluate a run under.

    Args:
        config: The run's configuration.
        asked: What the user typed, if anything.

    Returns:
        Its name.

    Raises:
        UserError: There is no such protocol, or it does not fit the environment.
    """
    is_metaworld = config.env.name == "metaworld"
    if asked is None:
        return "metaworld" if is_metaworld else "standard"
    if asked == "metaworld" and not is_metaworld:
        raise UserError(
            f"protocol metaworld is for Meta-World's tasks, not for env={config.env.name}; use standard"
        )
    for name in PROTOCOLS:
        if asked == name:
            return name
    raise UserError(f"unknown protocol {asked!r}; known: {', '.join(PROTOCOLS)}")
