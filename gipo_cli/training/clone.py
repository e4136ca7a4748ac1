"""Makes a clone: demonstrations in, a run folder with a policy out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from gipo_cli.data.demos import Demonstrations, sha256
from gipo_cli.data.formats import read
from gipo_cli.envs.fit import check_fit
from gipo_cli.envs.make import make_env
from gipo_cli.errors import UserError
from gipo_cli.learning.cloning import Cloned, OnCheck, clone
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.runs.checkpoint import Tree
from gipo_cli.runs.durable import write_sealed
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.manifest import write_inputs
from gipo_cli.runs.run import Run
from gipo_cli.runs.status import StatusFile
from gipo_cli.runs.tables import Tables
from gipo_cli.settings.agent import AnchorConfig
from gipo_cli.settings.schema import RunConfig
from gipo_cli.training.eval_report import METAWORLD_GOALS
from gipo_cli.training.evaluate import Evaluator
from gipo_cli.training.record import record_scripted

SCRIPTED_EPISODES = 5
"""Demonstrations of a scripted policy, where no number is asked for."""


def obtain(config: RunConfig) -> Demonstrations:
    """The demonstrations that ``demos`` describes: those of the file, or recorded now, alike for one seed.

    Raises: UserError if there are not enough, none succeeds, or they do not fit the environment.
    """
    wanted, path = config.demos, config.demos.path
    if path is None:
        return record_scripted(
            config.env,
            episodes=wanted.episodes or SCRIPTED_EPISODES,
            seed=config.seed,
            noise=wanted.noise,
            successful=wanted.successful,
        )
    found = read(path)
    kept = np.flatnonzero(found.successful) if wanted.successful else np.arange(len(found))
    if not len(kept):
        raise UserError(
            f"none of the {len(found)} episodes of {path} succeeds; record others, or type "
            "demos.successful=false"
        )
    if wanted.episodes and wanted.episodes > len(kept):
        raise UserError(
            f"demos.episodes={wanted.episodes} is more than {path} holds: {len(kept)}"
            + (" successful ones" if wanted.successful else "")
            + f"; type demos.episodes={len(kept)}, or record more"
        )
    found = found.chosen(kept[: wanted.episodes])
    with closing(make_env(config.env, config.seed)) as env:
        check_fit(found, env, config.env, path)
    return found


def clone_of(
    config: RunConfig, demos: Demonstrations, on_check: OnCheck = lambda step, loss: None
) -> tuple[GIPO, Cloned]:
    """Clone demonstrations into a new agent of the configuration.

    Raises: UserError if they do not fit its environment.
    """
    torch.set_num_threads(config.runtime.torch_threads)
    with closing(make_env(config.env, config.seed)) as env:
        check_fit(demos, env, config.env, "the record")
        agent = GIPO.without_env(config, env.observation_space, env.action_space, "cpu")
        action = env.actions.inverse(demos.action)
    done = clone(agent.policy, demos.obs, action, demos.length.tolist(), config.clone, config.seed, on_check)
    return agent, done


def rates(agent: GIPO, config: RunConfig, episodes: int) -> dict[str, dict[str, float | None]]:
    """Success under the training's time limit and under the task's own, by the mode and by samples.

    Keys: ``limit`` and ``task``, each ``deterministic`` and ``stochastic``.
    """
    limits = {"limit": config.env}
    if config.env.max_episode_steps is not None:
        limits["task"] = config.env.model_copy(update={"max_episode_steps": None})
    found: dict[str, dict[str, float | None]] = {}
    for name, env in limits.items():
        found[name] = {}
        with closing(Evaluator(env, seed=config.eval.seed, task_seed=config.seed)) as evaluator:
            for kind in ("deterministic", "stochastic"):
                generator = torch.Generator().manual_seed(config.eval.seed)
                result = evaluator.run(agent.acting(kind == "deterministic", generator), episodes)
                found[name][kind] = result.row()["success"]
    return found


def identity(config: RunConfig, demos: Demonstrations) -> str:
    """Twelve hex digits that are equal for clones which are equal."""
    from gipo_cli.runs.machine import versions

    env = config.env.model_dump(mode="json", include={"name", "id", "task", "kwargs", "action"})
    facts = {
        "demos": sha256(demos.to_bytes()),
        "env": env,
        "normalize": [config.env.normalize_obs, config.env.clip_obs],
        "limit": [config.env.max_episode_steps, config.env.end_on_success, config.env.reward],
        "policy": config.agent.policy.model_dump(mode="json"),
        "clone": config.clone.model_dump(mode="json"),
        "eval": config.eval.model_dump(mode="json"),
        "seed": config.seed,
        "versions": versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def make_clone(
    folder: RunDir,
    config: RunConfig,
    demos: Demonstrations,
    *,
    overrides: Sequence[str],
    command: Sequence[str],
    on_check: OnCheck = lambda step, loss: None,
    told: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Clone, evaluate and write a run folder, which exists and is empty; returns the content of clone.json.

    Raises:
        UserError: The demonstrations do not fit.
        RunFailed: The environment failed, or the disk refused.
    """
    agent, done = clone_of(config, demos, on_check)
    told(f"cloned {len(demos)} demonstrations in {done.steps} steps")
    plain = agent.agent.model_copy(update={"anchor": AnchorConfig()})
    buffer = config.buffer.model_copy(update={"demos": 0.0})
    config = config.model_copy(update={"agent": plain, "buffer": buffer, "init": None, "total_steps": 1})
    write_inputs(folder, config, overrides=overrides, command=command, device="cpu")
    status = StatusFile(folder.status, total_steps=config.total_steps)
    facts: dict[str, Any] = {
        "format": 1,
        "demonstrations": len(demos),
        "steps": demos.steps,
        "sha256": sha256(demos.to_bytes()),
        "source": demos.about.get("source"),
        "seeds": {"cloning": config.seed, "demonstrations": demos.about.get("seed")},
        "fit": asdict(done),
        "goals_shared_with_evaluation": shared_goals(demos, config),
    }
    score = None
    with closing(Tables(folder)) as tables:
        if config.eval.episodes:
            row, score = _evaluated(agent, config)
            tables.evaluations.append({"step": 0, **row, "time/wall": 0.0})
            facts["success"] = rates(agent, config, config.eval.episodes)
            latest = {"eval_return": row["return_mean"], "eval_success": row["success"]}
            status.beat(0, latest=latest, force=True)
        tables.marks()
    Run(folder, config).checkpoints.save(
        0, Tree(state={"clone": facts}, tensors={"policy": agent.policy.state_dict()}), score=score
    )
    write_sealed(folder.clone, facts)
    folder.tensorboard.mkdir(exist_ok=True)
    folder.log.touch()
    status.finish("done")
    return facts


def _evaluated(agent: GIPO, config: RunConfig) -> tuple[dict[str, Any], tuple[float, float]]:
    """The row of an evaluation, and its score."""
    generator = torch.Generator().manual_seed(config.eval.seed)
    with closing(Evaluator(config.env, seed=config.eval.seed, task_seed=config.seed)) as evaluator:
        result = evaluator.run(agent.acting(config.eval.deterministic, generator), config.eval.episodes)
    row = result.row()
    return row, (float(row["success"] or 0.0), float(result.returns.mean()))


def shared_goals(demos: Demonstrations, config: RunConfig) -> list[int] | None:
    """Goals of the demonstrations that evaluations visit too; None where the task has none."""
    if not (demos.goal >= 0).any():
        return None
    if demos.about.get("task_seed") != config.seed:
        return []
    visited = range(min(config.eval.episodes, METAWORLD_GOALS))
    return sorted(set(demos.goal.tolist()) & set(visited))
