"""The policy that a run begins as, and its demonstrations: found or made, checked, and kept in the run."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gipo_cli.data.demos import Demonstrations, from_arrays
from gipo_cli.data.rollout import each
from gipo_cli.envs.make import make_env
from gipo_cli.envs.rewards import paid
from gipo_cli.envs.task_env import TaskEnv
from gipo_cli.errors import UserError
from gipo_cli.learning.anchor import Demonstrated
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.runs.bundle import Damaged, Tree, read_bundle, read_contents, write_bundle
from gipo_cli.runs.durable import read_sealed, write_sealed, writing
from gipo_cli.runs.layout import RunDir, find
from gipo_cli.runs.manifest import config_values
from gipo_cli.runs.run import open_run
from gipo_cli.runs.status import state_now, status_or_none
from gipo_cli.settings.imports import modules_of
from gipo_cli.settings.schema import RunConfig
from gipo_cli.training.clone import identity, make_clone, obtain, rates

CLONE = "clone"
SHARED = ".clones"
"""Folder of the clones that runs made for themselves, which nobody counts as runs."""
_SAME = ("env.normalize_obs", "env.clip_obs", "env.action.kind", "env.action.bins", "env.action.scale")
_NETWORK = ("agent.policy.kind", "agent.policy.hidden", "agent.policy.activation")


@dataclass(frozen=True)
class Initial:
    """Weights of the policy that a run begins as, and the demonstrations that it goes on using."""

    weights: dict[str, Any]
    demos: Demonstrations | None
    about: dict[str, Any]


def prepare(config: RunConfig, folder: RunDir, root: Path) -> None:
    """Give a new run its own copy of its initial policy and, where it uses them, of the demonstrations.

    Args:
        config: The run's, with ``init``.
        folder: The run's, which holds nothing yet.
        root: Folder of runs, in which names are looked up and made clones are shared.

    Raises:
        UserError: The initial policy is not there, is still being trained, does not fit, or needs modules
            that this run does not import.
    """
    uses = bool(config.buffer.demos or config.agent.anchor.clone_coef)
    demos = obtain(config) if config.init == CLONE or uses else None
    if config.init == CLONE and demos is not None:
        source = shared_clone(config, demos, root)
    else:
        source = find(root, str(config.init))
    _check_run(source)
    _check_modules(config, source)
    opened = open_run(source.path, trust=True)
    _check_same(config, opened.config, source)
    saved = opened.checkpoints.load("last", only=("policy",), needs=("policy",))
    with closing(make_env(config.env, config.seed)) as env:
        agent = GIPO.without_env(config, env.observation_space, env.action_space, "cpu")
    try:
        agent.policy.load_state_dict(saved.tensors["policy"])
    except RuntimeError as error:
        raise UserError(
            f"init={source.path} does not fit this run's networks: {' '.join(str(error).split())}"
        ) from error
    about = {"init": str(source.path), "step": saved.step}
    if source.clone.is_file():
        about["clone"] = read_sealed(source.clone)
    if config.eval.episodes:
        about["success"] = rates(agent, config, config.eval.episodes)
    keep(folder, Initial(saved.tensors["policy"], demos if uses else None, about))


def keep(folder: RunDir, initial: Initial) -> None:
    """Write a run's own copy of what it begins as.

    Raises: RunFailed if the disk refused.
    """
    tree = Tree(state=initial.about, tensors={"policy": initial.weights})
    if initial.demos is not None:
        tree.arrays["demos"] = initial.demos.arrays()
    with writing(folder.initial):
        shutil.rmtree(folder.initial, ignore_errors=True)
        write_bundle(folder.initial, initial.about["step"], [], tree)


def load(folder: RunDir) -> Initial:
    """Read a run's own copy, whose every byte is as it was written.

    Raises: UserError if it is missing or was changed.
    """
    try:
        tree = read_bundle(folder.initial, read_contents(folder.initial), None)
        weights = tree.tensors["policy"]
        about = {
            **tree.state,
            "step": int(tree.state["step"]),
            "clone": dict(tree.state.get("clone") or {}),
        }
    except (Damaged, LookupError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder.initial}, the policy that this run began as, is damaged ({error}); restore it"
        ) from error
    held = tree.arrays.get("demos")
    demos = from_arrays(held, str(folder.initial)) if held else None
    return Initial(weights, demos, about)


def apply(initial: Initial, agent: GIPO, config: RunConfig) -> None:
    """Let an agent begin as the initial policy."""
    demonstrated = None
    if initial.demos is not None:
        with closing(make_env(config.env, config.seed)) as env:
            demonstrated = as_the_agent(initial.demos, env, config)
    agent.learner.begin_from(initial.weights, demonstrated, config.buffer.demos)


def write_success(folder: RunDir, initial: Initial, agent: GIPO, config: RunConfig) -> None:
    """Write success before and after training, by :func:`gipo_cli.training.clone.rates`, if evaluated.

    Raises: RunFailed if the environment failed or the disk refused.
    """
    if not config.eval.episodes:
        return
    after = rates(agent, config, config.eval.episodes)
    write_sealed(
        folder.success,
        {
            "format": 1,
            "episodes": config.eval.episodes,
            "demonstrations": initial.about["clone"].get("demonstrations"),
            "before": initial.about.get("success"),
            "after": after,
        },
    )


def as_the_agent(demos: Demonstrations, env: TaskEnv, config: RunConfig) -> Demonstrated:
    """Demonstrations with the agent's actions, and with ends and rewards as the run's environment has them.

    Raises: UserError if rewards are needed and were not recorded.
    """
    cfg = config.env
    if cfg.end_on_success:
        demos = demos.until_success()
    ends = np.cumsum(demos.length) - 1
    success = demos.success
    if success is None:
        # A demonstration of which nothing is known is one of success.
        success = np.zeros(demos.steps, np.bool_)
        success[ends] = True
    reward = demos.reward
    if reward is None:
        if cfg.reward != "success":
            raise UserError(
                "the demonstrations hold no rewards, which buffer.demos needs; record them, or type "
                "env.reward=success"
            )
        reward = np.zeros(demos.steps, np.float32)
    over = np.zeros(demos.steps, np.bool_)
    over[ends] = True
    terminal = np.zeros(demos.steps, np.bool_)
    terminal[ends] = demos.terminated | (success[ends] & cfg.end_on_success)
    return Demonstrated(
        demos.obs,
        env.actions.inverse(demos.action),
        np.asarray(paid(cfg, reward, success), np.float32),
        terminal,
        over & ~terminal,
        each(lambda part: part, demos.final_obs),
    )


def shared_clone(config: RunConfig, demos: Demonstrations, root: Path) -> RunDir:
    """The clone that this configuration describes, made unless another run made it."""
    final = RunDir(root / SHARED / f"{config.env.subject}-{identity(config, demos)}".replace("/", "-"))
    if final.clone.is_file():
        return final
    with writing(final.path):
        final.path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".tmp-", dir=final.path.parent))
    try:
        make_clone(RunDir(aside), config, demos, overrides=[], command=["gipo", "clone"])
        with writing(final.path):
            try:
                os.replace(aside, final.path)
            except OSError:
                # Another run made the same at the same time.
                if not final.clone.is_file():
                    raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return final


def _check_run(source: RunDir) -> None:
    status = status_or_none(source.status)
    if status is not None and state_now(source, status) == "running":
        raise UserError(f"init={source.path} is still being trained; wait for its end, or stop it first")


def _check_modules(config: RunConfig, source: RunDir) -> None:
    """Refuse code that the user has not named: the folder may be somebody else's."""
    own = modules_of(config.model_dump(mode="json"))
    strange = [name for name in modules_of(config_values(source)) if name not in own]
    if strange:
        raise UserError(
            f"init={source.path} needs the code of {', '.join(strange)}, which this run does not import; if "
            f"you trust it, type 'imports=[{','.join([*config.imports, *strange])}]'"
        )


def _check_same(config: RunConfig, other: RunConfig, source: RunDir) -> None:
    """Refuse a policy whose networks, normaliser or actions are not this run's."""
    for key in (*_NETWORK, *_SAME):
        ours, theirs = (_value(each_config, key) for each_config in (config, other))
        if key == "env.action.bins" and config.env.action.kind != "binned":
            continue
        if ours != theirs:
            typed = str(theirs).lower() if isinstance(theirs, bool) else str(theirs).replace(" ", "")
            raise UserError(
                f"init={source.path} has {key}={theirs} and this run has {ours}; type '{key}={typed}'"
            )


def _value(config: RunConfig, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value
