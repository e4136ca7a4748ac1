"""Return and success over the newest training episodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from gipo_cli.envs.success import read_success


class EpisodeWindow:
    """The newest ``size`` finished episodes, and how many there were in all."""

    KEYS = ("return", "success", "success_any", "success_last", "length")

    def __init__(self, size: int) -> None:
        self.count = 0
        self._episodes: deque[tuple[float, ...]] = deque(maxlen=size)

    def add(self, infos: Sequence[dict[str, Any]]) -> None:
        """Take the infos of the last steps of finished episodes (those with ``episode`` in them)."""
        for info in infos:
            episode = info.get("episode")
            if episode is None:
                continue
            reported = info.get("is_success")
            success = np.nan if reported is None else float(read_success("is_success", reported))
            any_, last = info.get("success_any", success), info.get("success_last", success)
            numbers = (episode["r"], success, any_, last, episode["l"])
            self._episodes.append(tuple(float(number) for number in numbers))
            self.count += 1

    def means(self) -> dict[str, float]:
        """Mean of each of :data:`KEYS` over the window; empty before the first episode ends."""
        if not self._episodes:
            return {}
        return dict(zip(self.KEYS, np.mean(self._episodes, axis=0).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """As a JSON object (absent successes as null)."""
        rows = [[None if np.isnan(x) else x for x in row] for row in self._episodes]
        return {"count": self.count, "episodes": rows}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state` gave."""
        self.count = int(state["count"])
        self._episodes.clear()
        self._episodes.extend(tuple(np.nan if x is None else x for x in row) for row in state["episodes"])
