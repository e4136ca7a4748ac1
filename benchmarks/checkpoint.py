"""What saving a full buffer of 100,000 transitions costs, as a share of the run that saves it.

python -m benchmarks.checkpoint [--repeats 5] [overrides ...]

Prints JSON: wall seconds of one iteration and of one checkpoint, in turns in one process on one thread, and
the share that saving every checkpoint.interval steps takes of a run without evaluations and diagnostics.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.learner import make_agent
from gipo_cli.config.compose import compose
from gipo_cli.runlog.checkpoint import CheckpointPayload, CheckpointStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("overrides", nargs="*", help="such as preset=authors env.task=reach-v3")
    given = parser.parse_args()
    torch.set_num_threads(1)
    overrides = ["buffer.size=100000", *given.overrides]
    config = compose(overrides).config
    agent = make_agent(*overrides)
    iterations, saves, megabytes = [], [], 0.0
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        store = CheckpointStore(Path(folder), keep_last=config.checkpoint.keep_last)
        for step in range(given.repeats):
            begun = time.perf_counter()
            agent.collect()
            agent.update()
            trained = time.perf_counter()
            state, tensors, buffer = agent.state()
            saved = store.save(step, CheckpointPayload({"agent": state}, tensors, buffer), score=None)
            saves.append(time.perf_counter() - trained)
            iterations.append(trained - begun)
            megabytes = sum(file.stat().st_size for file in saved.iterdir()) / 1e6
    iteration, save = statistics.median(iterations), statistics.median(saves)
    between = (config.checkpoint.interval or config.total_steps) / config.rollout_size
    print(
        json.dumps(
            {
                "overrides": overrides,
                "megabytes": round(megabytes, 1),
                "iteration_s": [round(x, 3) for x in sorted(iterations)],
                "save_s": [round(x, 3) for x in sorted(saves)],
                "share": round(save / (between * iteration + save), 4),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
