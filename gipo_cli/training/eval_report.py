"""Evaluates a run's checkpoint and says what came out."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gipo_cli.errors import UserError
from gipo_cli.runs.run import Run, open_run
from gipo_cli.training.evaluate import LANES, EvalResult, Protocol, evaluate_policy, success_rate

if TYPE_CHECKING:
    from gipo_cli.runs.checkpoint import Checkpoint
    from gipo_cli.settings.schema import RunConfig

PROTOCOLS: dict[Protocol, str] = {
    "standard": "whole episodes, success as env.success defines it",
    "metaworld": "Meta-World's: an episode for {goals}, ended by its first success",
}
METAWORLD_GOALS = 50


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

    Raises:
        UserError: The run, checkpoint or protocol does not exist, or does not fit.
        RunFailed: The environment failed.
    """
    import torch

    from gipo_cli.training.loading import load_agent

    opened = open_run(run, trust=trust)  # what does not fit is refused before anything is loaded
    name = choose_protocol(opened.config, protocol)
    count = _count(episodes, name, opened)
    agent, config, saved = load_agent(opened, checkpoint, device)
    seed = config.eval.seed if seed is None else seed
    torch.set_num_threads(config.runtime.torch_threads)  # the same numbers as in training
    torch.manual_seed(seed)  # sampled actions that repeat
    result = evaluate_policy(
        agent.acting(deterministic),
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


def _count(asked: int | None, protocol: Protocol, run: Run) -> int:
    usual = METAWORLD_GOALS if protocol == "metaworld" else run.config.eval.episodes
    if asked is not None and asked < 1:
        raise UserError(f"episodes={asked} is not a number of episodes; give 1 or more")
    if not (asked or usual):
        raise UserError(
            f"{run.folder.path} was trained without evaluations (eval.episodes=0); give --episodes"
        )
    return asked or usual


def choose_protocol(config: RunConfig, asked: str | None) -> Protocol:
    """The protocol that was asked for, or by default that of the run's environment.

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


@dataclass(frozen=True)
class EvalReport:
    """What ``gipo eval`` prints and writes."""

    run: str
    step: int
    notes: list[str]
    env: str
    protocol: Protocol
    protocol_text: str
    success_definition: str
    deterministic: bool
    seed: int
    task_seed: int
    episodes: int
    successes: int | None
    success: float | None
    success_low: float | None
    success_high: float | None
    success_any: float | None
    success_last: float | None
    first_success: float | None
    return_mean: float
    return_std: float
    return_median: float
    return_min: float
    return_max: float
    length_mean: float
    versions: dict[str, str | None]
    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    success_by_episode: list[bool] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The whole report as a JSON object."""
        return asdict(self)

    def _success_lines(self) -> list[str]:
        if self.success is None:
            return ["success    this task reports none"]
        first = "" if self.first_success is None else f", first at step {self.first_success:.1f} (mean)"
        return [
            f"success    {self.success:.1%} ({self.successes} of {self.episodes}), 95% Wilson interval "
            f"{self.success_low:.1%} to {self.success_high:.1%}",
            f"           at any step {self.success_any:.1%}, at the last step {self.success_last:.1%}{first}",
        ]

    def lines(self) -> list[str]:
        """The report for a reader, one fact a line."""
        until = " until the first success" if self.protocol == "metaworld" else ""
        return [
            *(f"note       {note}" for note in self.notes),
            f"run        {self.run}, checkpoint of step {self.step}",
            f"protocol   {self.protocol}: {self.protocol_text}",
            f"episodes   {self.episodes} of {self.env}, "
            f"{'deterministic' if self.deterministic else 'sampled'} actions, "
            f"seed {self.seed}, task seed {self.task_seed}",
            *self._success_lines(),
            f"return     mean {self.return_mean:.4g}, std {self.return_std:.4g}, "
            f"median {self.return_median:.4g}, from {self.return_min:.4g} to {self.return_max:.4g}{until}",
            f"length     mean {self.length_mean:.1f} steps",
        ]


def build_report(
    result: EvalResult,
    config: RunConfig,
    *,
    run: Path,
    saved: Checkpoint,
    protocol: Protocol,
    deterministic: bool,
    seed: int,
) -> EvalReport:
    """Summarise an evaluation of a run's checkpoint, with Wilson's 95% interval for the success rate."""
    from gipo_cli.envs.registry import ENVIRONMENTS
    from gipo_cli.runs.machine import versions

    # Meta-World's score is success at any step, whatever the run trained with.
    success = result.success_any if protocol == "metaworld" else result.success
    definition = "any" if protocol == "metaworld" else config.env.success
    rate, low, high = _interval(success)
    numbers: dict[str, Any] = {**result.row(), "success": rate, "success_low": low, "success_high": high}
    env = config.env
    steps, whole = env.max_episode_steps, ENVIRONMENTS[env.name].step_limit
    notes = list(saved.notes)
    if protocol == "metaworld" and steps not in (None, whole):
        notes.append(f"env.max_episode_steps={steps} and the benchmark's is {whole}: scores do not compare")
    return EvalReport(
        run=os.fspath(run),
        step=saved.step,
        notes=notes,
        env="/".join(env.names),
        protocol=protocol,
        protocol_text=PROTOCOLS[protocol].format(goals=_goals(len(result.returns))),
        success_definition=f"at {'any' if definition == 'any' else 'the last'} step",
        deterministic=deterministic,
        seed=seed,
        task_seed=config.seed,
        successes=None if rate is None else int(success.sum()),
        return_median=float(np.median(result.returns)),
        versions=versions(),
        returns=[float(value) for value in result.returns],
        lengths=[int(value) for value in result.lengths],
        success_by_episode=[] if rate is None else [bool(value) for value in success],
        **numbers,
    )


def _goals(episodes: int) -> str:
    if episodes < METAWORLD_GOALS:
        return f"the first {episodes} of the {METAWORLD_GOALS} training goals"
    again = "" if episodes == METAWORLD_GOALS else ", again and again"
    return f"each of the {METAWORLD_GOALS} training goals{again}"


def _interval(success: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """The rate with Wilson's 95% interval."""
    from scipy.stats import binomtest

    rate = success_rate(success)
    if rate is None:
        return None, None, None
    interval = binomtest(int(success.sum()), len(success)).proportion_ci(method="wilson")
    return rate, float(interval.low), float(interval.high)
