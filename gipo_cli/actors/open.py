"""The actors that a configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence

from gipo_cli.actors.crew import Crew
from gipo_cli.actors.pool import Pool
from gipo_cli.actors.processes import Processes
from gipo_cli.actors.replayed import Replayed, Row
from gipo_cli.actors.worker import Part
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.learning.source import recipe
from gipo_cli.runs.machine import versions
from gipo_cli.settings.schema import RunConfig


def open_actors(config: RunConfig, agent: GIPO, arrivals: Sequence[Row]) -> Pool | Replayed:
    """Start the actors of a run, which wait to be told where to begin.

    Args:
        config: The run's.
        agent: Whose policy they act with.
        arrivals: What arrived in the run to repeat, with ``actors.kind=replayed``.

    Raises: UserError, as :class:`Pool`.
    """
    parts, seconds = parts_of(config, agent), config.runtime.env_timeout_s
    if config.actors.kind == "replayed":
        return Replayed(parts, agent.learner, arrivals)
    crew: Crew
    if config.actors.kind == "ray":
        from gipo_cli.actors.on_ray import OnRay

        crew = OnRay(parts, seconds, config.actors.address)
    else:
        crew = Processes(parts, seconds)
    return Pool(crew, agent.learner, config.actors, versions())


def parts_of(config: RunConfig, agent: GIPO) -> list[Part]:
    """What each actor of a run is told."""
    # The first one draws its actions from the stream of a run without actors.
    own = agent.generator.get_state() if agent.device.type == "cpu" else None
    return [
        Part(
            env=config.env,
            seed=config.seed,
            index=index,
            steps=config.agent.rollout_steps,
            keeps_distribution=agent.learner.keeps_distribution,
            policy=recipe(agent.policy),
            stream=None if index else own,
            threads=config.runtime.torch_threads,
        )
        for index in range(config.actors.n)
    ]
