"""Return and success over the newest training episodes."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.data.rollout import EPISODE


class EpisodeWindow:
    """The newest ``size`` finished episodes, and how many there were in all."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self._episodes: deque[tuple[float, ...]] = deque(maxlen=size)

    def add(self, episodes: NDArray[np.float64]) -> None:
        """Take the finished episodes of a rollout, ``[n, 5]``."""
        self._episodes.extend(map(tuple, episodes.tolist()))
        self.count += len(episodes)

    def means(self) -> dict[str, float]:
        """Mean of each part of an episode over the window; empty before the first one ends."""
        if not self._episodes:
            return {}
        return dict(zip(EPISODE, np.mean(self._episodes, axis=0).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """As a JSON object (absent successes as null)."""
        rows = [[None if np.isnan(x) else x for x in row] for row in self._episodes]
        return {"count": self.count, "episodes": rows}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state` gave."""
        self.count = int(state["count"])
        self._episodes.clear()
        for row in state["episodes"]:
            numbers = zip(EPISODE, row, strict=True)
            self._episodes.append(tuple(np.nan if number is None else float(number) for _, number in numbers))
