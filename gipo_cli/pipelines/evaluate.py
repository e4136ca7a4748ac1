"""Evaluation whose episodes start alike whenever and however often it is run, in training and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gipo_cli.errors import UserError
from gipo_cli.pipelines.eval_report import (
    METAWORLD_GOALS,
    PROTOCOLS,
    EvalReport,
    EvalResult,
    Protocol,
    build_report,
)

if TYPE_CHECKING:
    import gymnasium as gym

    from gipo_cli.config.schema import EnvConfig, RunConfig

Act = Callable[[np.ndarray], np.ndarray]


class Evaluator:
    """Keeps evaluation environments open between evaluations.

    Episode k of every evaluation starts alike, whatever ran before and however many environments share the
    work.

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
        self, cfg: EnvConfig, *, seed: int, task_seed: int, n_envs: int = 1, protocol: Protocol = "standard"
    ) -> None:
        from gipo_cli.envs.make import make_env

        self._stop_at_success = protocol == "metaworld"
        # All have index 0: a start depends on the episode's number alone.
        self._envs = [make_env(cfg, seed, task_seed=task_seed, goals="cycle") for _ in range(n_envs)]

    def run(self, act: Act, episodes: int) -> EvalResult:
        """Play the first ``episodes`` episodes.

        Args:
            act: Actions ``[n, ...]`` for float32 observations ``[n, d]``, n at most ``n_envs``.
            episodes: How many.

        Returns:
            The episodes in order of their numbers.

        Raises:
            RunFailed: An environment raised or returned something unusable.
        """
        outcomes: dict[int, _Outcome] = {}
        waiting = iter(range(episodes))
        playing = [
            _Episode(env, number, self._stop_at_success)
            for env, number in zip(self._envs, waiting, strict=False)
        ]
        while playing:
            actions = act(np.stack([episode.observation for episode in playing]))
            for episode, action in zip(playing, actions, strict=True):
                episode.step(action)
            still: list[_Episode] = []
            for episode in playing:
                if episode.outcome is None:
                    still.append(episode)
                    continue
                outcomes[episode.number] = episode.outcome
                number = next(waiting, None)
                if number is not None:
                    still.append(_Episode(episode.env, number, self._stop_at_success))
            playing = still
        columns = zip(*(outcomes[number] for number in range(episodes)), strict=True)
        return EvalResult(*(np.array(column) for column in columns))

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs:
            env.close()


_Outcome = tuple[float, int, bool, bool, bool]


class _Episode:
    def __init__(self, env: gym.Env[Any, Any], number: int, stop_at_success: bool) -> None:
        import gymnasium as gym

        self.env, self.number = env, number
        self.outcome: _Outcome | None = None
        self._stop_at_success = stop_at_success
        self._box = env.action_space if isinstance(env.action_space, gym.spaces.Box) else None
        self._return, self._steps = 0.0, 0
        env.get_wrapper_attr("set_episode_index")(number)
        self.observation = env.reset()[0]

    def step(self, action: np.ndarray) -> None:
        if self._box is not None:
            action = np.clip(action, self._box.low, self._box.high)
        self.observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        self._steps += 1
        if terminated or truncated:
            flags = info["is_success"], info["success_any"], info["success_last"]
            self.outcome = (self._return, self._steps, *flags)
        elif self._stop_at_success and info["is_success_step"]:
            self.outcome = (self._return, self._steps, True, True, True)


def evaluate_policy(
    act: Act,
    cfg: EnvConfig,
    *,
    episodes: int,
    seed: int,
    task_seed: int,
    n_envs: int = 1,
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
    n_envs: int = 1,
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
        n_envs: Environments stepped together.

    Returns:
        The report.

    Raises:
        UserError: The run, checkpoint or protocol does not exist, or does not fit.
        RunFailed: The environment failed.
    """
    from gipo_cli.pipelines.loading import load_agent

    if episodes is not None and episodes < 1:
        raise UserError(f"episodes={episodes} is not a number of episodes; give 1 or more")
    agent, config, saved = load_agent(run, checkpoint, device)
    name = choose_protocol(config, protocol)
    count = episodes or (METAWORLD_GOALS if name == "metaworld" else config.eval.episodes)
    seed = config.eval.seed if seed is None else seed
    result = evaluate_policy(
        lambda observations: agent.act(observations, deterministic),
        config.env,
        episodes=count,
        seed=seed,
        task_seed=config.seed,
        n_envs=min(n_envs, count),
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
