"""The same work on many items, on as many processes as are worth it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
_task: list[Any] = []


def spread(
    function: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item], *, workers: int
) -> Iterator[Result]:
    """``function(shared, item)`` for every item, in order.

    Args:
        function: of module level.
        shared: handed to each process once, not with each item.
        items: the work.
        workers: processes; 1 does everything in this one, which suits callers that have threads.
    """
    if workers == 1:
        yield from (function(shared, item) for item in items)
        return
    with ProcessPoolExecutor(workers, initializer=_adopt, initargs=(function, shared)) as pool:
        try:
            yield from pool.map(_call, items, chunksize=max(1, len(items) // (8 * workers)))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _adopt(function: Callable[[Any, Any], Any], shared: Any) -> None:
    """Take the task over in a new process, which leaves Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _task[:] = [function, shared]


def _call(item: Any) -> Any:
    function, shared = _task
    return function(shared, item)
