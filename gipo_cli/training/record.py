"""Records demonstrations: whole episodes of a scripted policy or of a run's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.data.demos import Demonstrations
from gipo_cli.data.rollout import each
from gipo_cli.envs.make import make_env
from gipo_cli.envs.scripted import Play, scripted
from gipo_cli.envs.spaces import clipped
from gipo_cli.envs.task_env import TaskEnv
from gipo_cli.errors import UserError
from gipo_cli.runs.machine import versions
from gipo_cli.settings.schema import ActionConfig, EnvConfig
from gipo_cli.training.evaluate import check_length

DEMONSTRATION_INDEX = 2_000_000
"""Index of the recorded environment: no training and no evaluation has it, so no episode is shared."""
TRIES = 10
"""Episodes played per demonstration asked for, at most."""


@dataclass
class _Episode:
    """What happened in one episode."""

    number: int
    goal: int
    final: Any = None
    terminated: bool = False
    obs: list[Any] = field(default_factory=list)
    action: list[NDArray[np.float32]] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    success: list[bool] = field(default_factory=list)


def record(
    begin: Callable[[], Play],
    cfg: EnvConfig,
    *,
    episodes: int,
    seed: int,
    source: str,
    noise: float = 0.0,
    successful: bool = True,
    progress: Callable[[int, int], None] = lambda kept, played: None,
) -> Demonstrations:
    """Play episodes, each to its first success or its end, and record them.

    Args:
        begin: Begins an episode of the policy to be recorded.
        cfg: The environment; actions are recorded in the task's own units.
        episodes: How many to keep.
        seed: Of the episodes' starts, of the task (Meta-World's goals) and of the noise.
        source: What played, for the record.
        noise: Deviation of Gaussian noise on each action, in the agent's units; continuous actions only.
        successful: Keep only episodes that succeed.
        progress: Told after each episode how many are kept and how many were played.

    Raises:
        UserError: Too few episodes succeed.
        RunFailed: The environment failed.
    """
    if noise and cfg.action.kind == "binned":
        raise UserError("noise goes on continuous actions; leave it out, or type env.action.kind=continuous")
    kept: list[_Episode] = []
    played = 0
    with closing(make_env(cfg, seed, DEMONSTRATION_INDEX)) as env:
        while len(kept) < episodes and played < TRIES * episodes:
            episode = _play(env, begin(), np.random.default_rng((seed, played)), noise)
            played += 1
            if not successful or any(episode.success):
                kept.append(episode)
            progress(len(kept), played)
    if len(kept) < episodes:
        fewer = f"ask for {len(kept)}, " if kept else ""
        raise UserError(
            f"{source} succeeded in {len(kept)} of {played} episodes of {' '.join(cfg.names)}, and "
            f"{episodes} were asked for; {fewer}use less noise, or keep failures too (--all)"
        )
    task = cfg.model_dump(mode="json", include={"name", "id", "task", "reward", "kwargs"})
    task["action"] = {"repeat": cfg.action.repeat}
    about = {"source": source, "seed": seed, "task_seed": seed, "noise": noise, "played": played}
    return _joined(kept, {"env": task, **about, "versions": versions()})


def record_scripted(
    cfg: EnvConfig,
    *,
    episodes: int,
    seed: int,
    noise: float = 0.0,
    successful: bool = True,
    progress: Callable[[int, int], None] = lambda kept, played: None,
) -> Demonstrations:
    """Record the task's scripted policy, under the task's own time limit; see :func:`record`."""
    # Rewards are recorded as the task pays them; what a run pays is formed from them.
    changes = {"action": ActionConfig(repeat=cfg.action.repeat), "max_episode_steps": None, "reward": None}
    plain = cfg.model_copy(update={**changes, "end_on_success": False})
    return record(
        scripted(plain),
        plain,
        episodes=episodes,
        seed=seed,
        source="the scripted policy",
        noise=noise,
        successful=successful,
        progress=progress,
    )


def record_run(
    run: Path,
    *,
    episodes: int,
    seed: int | None,
    deterministic: bool = True,
    checkpoint: str = "last",
    successful: bool = True,
    trust: bool = False,
    progress: Callable[[int, int], None] = lambda kept, played: None,
) -> Demonstrations:
    """Record a run's policy in its own environment; see :func:`record`.

    Args:
        run: The run's folder.
        episodes: How many to keep.
        seed: Of the episodes and goals; None: the run's.
        deterministic: Take the mode of the policy rather than a sample.
        checkpoint: ``last``, ``best`` or a step.
        successful: Keep only episodes that succeed.
        trust: Import the modules that the run's configuration names.
        progress: As in :func:`record`.
    """
    import torch

    from gipo_cli.training.loading import load_agent

    agent, config, _ = load_agent(run, checkpoint, trust=trust)
    seed = config.seed if seed is None else seed
    torch.set_num_threads(config.runtime.torch_threads)
    generator = torch.Generator().manual_seed(seed)

    def play(obs: NDArray[np.float32]) -> NDArray[Any]:
        action: NDArray[Any] = agent.act(obs[None], deterministic, generator)[0]
        return action

    own = config.env.reward in ("success", "shifted")
    return record(
        lambda: play,
        config.env.model_copy(update={"reward": None}) if own else config.env,
        episodes=episodes,
        seed=seed,
        source=f"the run {run.name}",
        successful=successful,
        progress=progress,
    )


def _play(env: TaskEnv, play: Play, rng: np.random.Generator, noise: float) -> _Episode:
    number = env.episode_index
    obs, info = env.reset()
    episode = _Episode(number, int(info.get("goal", -1)))
    while True:
        action = play(obs)
        if noise:
            action = action + noise * rng.standard_normal(action.shape)
        if env.actions.table is None:
            action = action.astype(np.float32)
        action = clipped(action, env.action_space)
        episode.obs.append(obs)
        episode.action.append(np.asarray(env.actions(action), np.float32).ravel())
        obs, reward, terminated, truncated, info = env.step(action)
        episode.reward.append(reward)
        episode.success.append(bool(info["is_success_step"]))
        check_length(env, len(episode.action))
        if terminated or truncated or episode.success[-1]:
            episode.final, episode.terminated = obs, terminated
            return episode


def _joined(episodes: list[_Episode], about: dict[str, Any]) -> Demonstrations:
    def flat(name: str) -> list[Any]:
        return [step for episode in episodes for step in getattr(episode, name)]

    obs, finals = flat("obs"), [episode.final for episode in episodes]
    return Demonstrations(
        each(lambda *parts: np.stack(parts), obs[0], *obs[1:]),
        np.stack(flat("action")),
        np.array([len(episode.action) for episode in episodes], np.int64),
        each(lambda *parts: np.stack(parts), finals[0], *finals[1:]),
        np.array([episode.terminated for episode in episodes], np.bool_),
        np.array([episode.number for episode in episodes], np.int64),
        np.array([episode.goal for episode in episodes], np.int64),
        np.array(flat("reward"), np.float32),
        np.array(flat("success"), np.bool_),
        about,
    )
