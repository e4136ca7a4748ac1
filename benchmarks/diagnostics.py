"""What the live probe costs at the authors' settings, as a share of the run it measures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.harness import Row, Target, against, interleave
from benchmarks.learner import AUTHORS, iterate, make_agent
from gipo_cli.analysis.live import measure_buffer
from gipo_cli.settings.compose import compose


def diagnostics(repeats: int) -> list[Row]:
    """One measurement, on a buffer of 5,000 transitions, against the iterations between two."""
    overrides = (*AUTHORS, "diagnostics=live")
    config = compose(overrides).config
    agent = make_agent(*overrides, filled=5000)
    iterations = int((config.diagnostics.interval or config.total_steps) / config.rollout_size)
    tasks: dict[str, Callable[[], object]] = {
        "measurement": partial(measure_buffer, agent.policy, agent.buffer, config, 0, agent.device),
        "iteration": partial(iterate, agent),
    }
    times = interleave(tasks, repeats)
    between = f"the {iterations} iterations between two"
    times = {"a measurement": times["measurement"], between: [iterations * t for t in times["iteration"]]}
    return [against(times, "a measurement", between, target=Target("at most", 0.05))]
