"""Where several actors are, as one position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from gipo_cli.data.rollout import each
from gipo_cli.learning.actor import Position


def join(positions: Sequence[Position]) -> Position:
    """Positions of actors as one, as if one actor had all their environments."""
    episodes, actions, obs, streams = zip(*positions, strict=True)
    return Position(
        [number for numbers in episodes for number in numbers],
        [done for parts in actions for done in parts],
        each(lambda *parts: np.concatenate(parts), obs[0], *obs[1:]),
        streams[0] if len(streams) == 1 else torch.stack(streams),
    )


def split(position: Position, actors: int) -> list[Position]:
    """What :func:`join` joined.

    Raises: ValueError if it is of another number of actors.
    """
    streams = position.generator[None] if position.generator.dim() == 1 else position.generator
    if len(streams) != actors:
        raise ValueError(f"it is of {len(streams)} actors and this run has {actors}")
    size = len(position.episodes) // actors
    parts = [slice(actor * size, (actor + 1) * size) for actor in range(actors)]
    return [
        Position(
            position.episodes[part],
            position.actions[part],
            each(lambda obs, part=part: obs[part], position.last_obs),
            # A copy: torch crashes on a state that does not begin at its memory's beginning.
            stream.clone(),
        )
        for part, stream in zip(parts, streams, strict=True)
    ]
