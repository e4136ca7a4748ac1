"""What saving a full buffer of 100,000 transitions costs, as a share of the run that saves it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.harness import Row, Target, against, interleave
from benchmarks.learner import AUTHORS, iterate, make_agent
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.runs.checkpoint import CheckpointStore, Tree
from gipo_cli.settings.compose import compose

SETTINGS = {"default settings, FetchReach": (), "authors' settings, reach-v3": AUTHORS}


def save(agent: GIPO, store: CheckpointStore, steps: count[int]) -> None:
    """A checkpoint as training writes it, synced to the disk."""
    state, tensors, buffer = agent.learner.state()
    store.save(next(steps), Tree({"learner": state}, tensors, {"buffer": buffer}), score=None)


def checkpoint(repeats: int) -> list[Row]:
    """A checkpoint against the iterations between two at the default interval, in wall time."""
    rows = []
    for name, chosen in SETTINGS.items():
        overrides = ("buffer.size=100000", *chosen)
        config = compose(overrides).config
        agent = make_agent(*overrides)
        iterations = int((config.checkpoint.interval or config.total_steps) / config.rollout_size)
        # Beside this file, for the temporary folder may be no disk.
        with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
            store = CheckpointStore(Path(folder), keep_last=config.checkpoint.keep_last)
            tasks: dict[str, Callable[[], object]] = {
                "save": partial(save, agent, store, count()),
                "iteration": partial(iterate, agent),
            }
            times = interleave(tasks, repeats, time.perf_counter)
        what, between = f"a checkpoint, {name}", f"the {iterations} iterations between two"
        pair = {what: times["save"], between: [iterations * t for t in times["iteration"]]}
        megabytes = agent.buffer.nbytes / 1e6
        rows.append(
            against(
                pair,
                what,
                between,
                unit="wall s",
                target=Target("at most", 0.01),
                note=f"the buffer takes {megabytes:.0f} MB",
            )
        )
    return rows
