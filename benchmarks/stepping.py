"""A step of every environment in our wrapper: our simulator against the released one."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

from benchmarks.harness import Row, against, interleave
from gipo_cli.envs import metaworld, robotics
from gipo_cli.envs.make import make_env
from gipo_cli.envs.registry import ENVIRONMENTS
from gipo_cli.envs.task_env import TaskEnv
from gipo_cli.settings.schema import EnvConfig

STEPS = 50


def _pair(name: str, task: str | None) -> dict[str, Callable[[], object]]:
    """The same steps in both, of one long episode begun before."""
    cfg = EnvConfig(name=name, task=task, max_episode_steps=500)
    envs = {"ours": make_env(cfg, 1)}
    with (
        patch.object(metaworld, "TESTED", {"metaworld": "another"}),
        patch.object(robotics, "find_joints_once"),
    ):
        envs["released"] = make_env(cfg, 1)
    space = envs["ours"].action_space
    space.seed(0)
    actions = [space.sample() for _ in range(STEPS)]

    def play(env: TaskEnv) -> None:
        env.reset()
        for action in actions:
            env.step(action)

    return {kind: partial(play, env) for kind, env in envs.items()}


def stepping(repeats: int) -> list[Row]:
    """Processor time of 50 steps after a reset, in seconds."""
    rows: list[Row] = []
    for name, entry in ENVIRONMENTS.items():
        if name != "gymnasium":
            for task in entry.tasks if name == "metaworld" else [next(iter(entry.tasks), None)]:
                label = task or name
                times = interleave(_pair(name, task), repeats, time.process_time)
                named = {f"{label}, {kind}": spent for kind, spent in times.items()}
                rows.append(against(named, f"{label}, ours", f"{label}, released", speed_up=True))
    return rows
