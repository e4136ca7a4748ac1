"""Drawing and loading batches from replay buffers of three sizes, and what a million transitions occupy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.harness import Row, Spread, Target, against, interleave
from benchmarks.learner import AUTHORS, make_agent
from gipo_cli.learning.sb3 import GIPO

SIZES = (10_000, 100_000, 1_000_000)
BATCHES = 200


def draw_and_load(agent: GIPO, rng: np.random.Generator) -> None:
    """200 batches of 512 from the buffer to tensors, as an update does it."""
    for _ in range(BATCHES):
        agent.learner.updater.sampler.load(agent.buffer, agent.buffer.draw(512, rng), 0)


def load_neighbours(agent: GIPO, rng: np.random.Generator) -> None:
    """The same batches of 512 neighbouring transitions each: the same copying, from few places of memory."""
    for _ in range(BATCHES):
        agent.buffer.draw(512, rng)
        first = int(rng.integers(len(agent.buffer) - 512))
        agent.learner.updater.sampler.load(agent.buffer, np.arange(first, first + 512), 0)


def replay(repeats: int) -> list[Row]:
    """One batch from larger buffers against one from 10,000 transitions; no distribution is stored."""
    agents = {size: make_agent(*AUTHORS, f"buffer.size={size}", "agent.update.kl_coef=0") for size in SIZES}
    tasks: dict[str, Callable[[], object]] = {
        f"{size:,} transitions": partial(draw_and_load, agent, np.random.default_rng(0))
        for size, agent in agents.items()
    }
    largest = f"{SIZES[-1]:,} transitions"
    neighbours = f"{largest}, neighbouring ones"
    tasks[neighbours] = partial(load_neighbours, agents[SIZES[-1]], np.random.default_rng(0))
    times = interleave(tasks, repeats)
    small, *larger = [f"{size:,} transitions" for size in SIZES]
    limit = Target("at most", 1.2)
    rows = [against(times, name, small, unit="CPU s", per=BATCHES, target=limit) for name in larger]
    rows.append(against(times, neighbours, small, unit="CPU s", per=BATCHES))
    buffer = agents[SIZES[-1]].buffer
    held, payload = buffer.nbytes / 1e6, buffer.obs.nbytes / 1e6
    memory = Row(
        "memory of 1,000,000 transitions",
        "their observations alone",
        "MB",
        measured=Spread.of([held]),
        beside=Spread.of([payload]),
        ratio=Spread.of([held / payload]),
        target=Target("at most", 400, "measured"),
    )
    return [*rows, memory]
