"""How often Meta-World's scripted policies succeed, and clones of a few demonstrations of them.

python -m benchmarks.demonstrations scripted|clones [--task NAME ...] [--demos N ...] [--out FILE]

Each line goes into a CSV file as soon as it is known, and a second call goes on where the first ended.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from benchmarks.harness import ROOT
from gipo_cli.data.demos import Demonstrations
from gipo_cli.settings.compose import compose
from gipo_cli.settings.schema import RunConfig
from gipo_cli.training.clone import clone_of
from gipo_cli.training.evaluate import Evaluator
from gipo_cli.training.record import record_scripted

EPISODES = 60
SEEDS = (101, 102, 103)
"""Of clones: outside of every study."""
LIMIT = 150
SCRIPTED = ("task", "episodes", "successful", "shortest", "median", "longest")
CLONES = ("task", "demonstrations", "seed", "success")
Cells = tuple[str | int | float, ...]


def scripted(task: str) -> Cells:
    """Successes of a scripted policy under the task's own time limit, and the steps to them."""
    made = _recorded(compose(["env=metaworld", f"env.task={task}"]).config, EPISODES, successful=False)
    steps = made.length[made.successful]
    spread = (int(steps.min()), float(np.median(steps)), int(steps.max())) if len(steps) else ("", "", "")
    return (task, len(made), int(made.successful.sum()), *spread)


def clones(task: str, demonstrations: int, seed: int) -> Cells:
    """Success of a clone by the mode, in 20 episodes of at most ``LIMIT`` steps."""
    lines = ["preset=posttrain", "env=metaworld", f"env.task={task}", f"env.max_episode_steps={LIMIT}"]
    config = compose([*lines, f"seed={seed}", "runtime.torch_threads=1"]).config
    agent, _ = clone_of(config, _recorded(config, demonstrations, successful=True))
    with closing(Evaluator(config.env, seed=config.eval.seed, task_seed=seed)) as evaluator:
        return (task, demonstrations, seed, float(evaluator.run(agent.act, 20).success.mean()))


def _recorded(config: RunConfig, episodes: int, *, successful: bool) -> Demonstrations:
    return record_scripted(config.env, episodes=episodes, seed=config.seed, successful=successful)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demonstrations", description=__doc__)
    parser.add_argument("what", choices=["scripted", "clones"])
    parser.add_argument("--task", nargs="+", default=sorted(ENV_POLICY_MAP), metavar="NAME")
    parser.add_argument("--demos", nargs="+", type=int, default=[2, 5, 10, 25], metavar="N")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/WHAT.csv")
    given = parser.parse_args(arguments)
    out = given.out or ROOT / "benchmarks" / "results" / f"{given.what}.csv"
    # Whole seeds first, so that a part of the table is of use.
    cases = [(task, count, seed) for seed in SEEDS for task in given.task for count in given.demos]
    head: tuple[str, ...] = CLONES
    line: Callable[..., Cells] = clones
    wanted: Sequence[Cells] = cases
    if given.what == "scripted":
        head, line, wanted = SCRIPTED, scripted, [(task,) for task in given.task]
    done = list(csv.reader(out.read_text().splitlines())) if out.exists() else []
    with out.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow(head)
        for case in wanted:
            if [*map(str, case)] not in [row[: len(case)] for row in done]:
                writer.writerow(line(*case))
                file.flush()


if __name__ == "__main__":
    main()
