"""Whole runs, from the start of their process to its end, against Stable-Baselines3's PPO.

python -m benchmarks.whole TASK KIND STEPS INTERVAL FILE
"""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym

from benchmarks.harness import ROOT, Row, Spread, against, interleave

Command = list[str]
GIPO = [sys.executable, "-m", "gipo_cli"]
KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "default": (5, {"n_steps": 200, "batch_size": 500, "n_epochs": 10}),
    "posttrain": (4, {"n_steps": 250, "batch_size": 500, "n_epochs": 20}),
}
"""Environments, and what gives PPO as many optimizer steps, of batches as large, as these presets take."""
STEPS = {"default": 20_000, "posttrain": 10_000}
INTERVAL = 5_000
TASKS = ("reach-v3", "button-press-v3", "window-open-v3")
BUDGET, EVALUATIONS, ENOUGH = 200_000, 20, 0.9


class SaysSuccess(gym.Wrapper[Any, Any, Any, Any]):
    """Says at every step whether the episode has succeeded, as Stable-Baselines3's evaluation expects it."""

    succeeded = False

    def reset(self, **how: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode without success."""
        self.succeeded = False
        return self.env.reset(**how)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.succeeded = self.succeeded or bool(info["success"])
        return observation, reward, terminated, truncated, {**info, "is_success": self.succeeded}


def train_sb3(task: str, kind: str, steps: int, interval: int, out: Path) -> None:
    """Train PPO as its users do, and write a line for each evaluation: steps, success, seconds so far."""
    import metaworld  # noqa: F401 - registers its environments
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import EvalCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    torch.set_num_threads(1)
    begun, (envs, schedule) = time.perf_counter(), KINDS[kind]
    make = partial(gym.make, "Meta-World/MT1", env_name=task)

    def vector(count: int, seed: int) -> VecNormalize:
        made = make_vec_env(lambda: SaysSuccess(make(seed=seed)), count)
        return VecNormalize(made, norm_reward=False, training=count > 1)

    class Evaluation(EvalCallback):
        def _on_step(self) -> bool:
            seen = len(self.evaluations_timesteps)
            go_on = super()._on_step()
            if len(self.evaluations_timesteps) > seen:
                share = sum(self._is_success_buffer) / len(self._is_success_buffer)
                with out.open("a") as file:
                    file.write(json.dumps([self.num_timesteps, share, time.perf_counter() - begun]) + "\n")
            return go_on

    network = {"net_arch": [128, 128], "log_std_init": -0.5}
    agent = PPO("MlpPolicy", vector(envs, 1), **schedule, policy_kwargs=network, seed=1, device="cpu")
    evaluation = Evaluation(
        vector(1, 1),
        n_eval_episodes=EVALUATIONS,
        eval_freq=interval // envs,
        log_path=str(out.parent),
        verbose=0,
    )
    agent.learn(steps, evaluation)


def _ours(task: str, kind: str, steps: int, interval: int, folder: str, *more: str) -> Command:
    words = [f"preset={kind}", "env=metaworld", f"env.task={task}", f"total_steps={steps}"]
    words += [f"eval.interval={interval}", f"eval.episodes={EVALUATIONS}", *more]
    return [*GIPO, "train", *words, "--quiet", "--runs", folder]


def _theirs(task: str, kind: str, steps: int, interval: int, out: Path) -> Command:
    return [sys.executable, "-m", "benchmarks.whole", task, kind, str(steps), str(interval), str(out)]


def _run(command: Command) -> None:
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def _children() -> float:
    """Processor time of the processes that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def whole(repeats: int) -> list[Row]:
    """Processor time of a run with its start, evaluations and records; no run of either kind is long."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        demonstrated = ["env=metaworld", f"env.task={TASKS[0]}", "--runs", folder]
        _run([*GIPO, "demos", *demonstrated, "--episodes", "3"])
        _run([*GIPO, "clone", f"{TASKS[0]}-scripted-3-s1", "--name", "cloned", "--runs", folder])
        for kind, steps in STEPS.items():
            more = ("init=cloned",) if kind == "posttrain" else ()
            how = (TASKS[0], kind, steps, INTERVAL)
            names = f"gipo train preset={kind}, {steps:,} steps", "stable_baselines3.PPO"
            runs: dict[str, Callable[[], object]] = {
                names[0]: partial(_run, _ours(*how, folder, *more)),
                names[1]: partial(_run, _theirs(*how, Path(folder) / "evaluations")),
            }
            times = interleave(runs, min(repeats, 3), _children, warmup=0)
            rows.append(against(times, *names, speed_up=True))
    return rows


def success(repeats: int) -> list[Row]:
    """Wall time until an evaluation of 20 episodes first says 90 % success, once a task, by the defaults."""
    rows = []
    for task in TASKS:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "evaluations"
            _run(_theirs(task, "default", BUDGET, 2 * INTERVAL, out))
            _run([*_ours(task, "default", BUDGET, 2 * INTERVAL, folder), "--name", "ours"])
            with (Path(folder) / "ours" / "eval.csv").open(newline="") as file:
                ours = [(float(row["success"]), float(row["time/wall"])) for row in csv.DictReader(file)]
            theirs = [json.loads(line)[1:] for line in out.read_text().splitlines()]
        mine, other = (
            min((t for rate, t in found if rate >= ENOUGH), default=math.inf) for found in (ours, theirs)
        )
        ratio = Spread.of([other / mine if mine < math.inf else math.nan])
        minutes = (Spread.of([mine / 60]), Spread.of([other / 60]))
        rows.append(Row(f"gipo train, {task}", "stable_baselines3.PPO", "min", *minutes, ratio, "x as fast"))
    return rows


if __name__ == "__main__":
    name, kind, steps, interval, out = sys.argv[1:]
    train_sb3(name, kind, int(steps), int(interval), Path(out))
