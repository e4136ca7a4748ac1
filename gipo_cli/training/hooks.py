"""What the training loop does every so many steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Every(NamedTuple):
    """An action for each ``interval`` environment steps; None is never."""

    interval: int | None
    action: Callable[[], None]

    def __call__(self, before: int, now: int) -> None:
        """Act if a multiple of the interval lies in ``(before, now]``."""
        if self.interval is not None and now // self.interval > before // self.interval:
            self.action()
