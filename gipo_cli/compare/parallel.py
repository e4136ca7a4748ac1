"""The same work on many items, on as many processes as are worth it, with a progress line."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from threading import Thread
from typing import Any, TypeVar

from gipo_cli.streams import counting

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
MANY_RUNS, MANY_BYTES = 40, 100_000_000
_task: list[Any] = []


def worth(runs: int, size: int = 0) -> int:
    """Processes for so many runs or bytes: a few small runs are read faster than a process starts."""
    return min(4, os.cpu_count() or 1) if runs >= MANY_RUNS or size >= MANY_BYTES else 1


def spread(
    function: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Sequence[Item],
    *,
    workers: int,
    text: str = "",
) -> list[Result]:
    """``function(shared, item)`` for every item, in order, with a progress line on a terminal.

    Each of so many ``workers`` gets ``shared`` once; one worker is this process, which suits callers that
    have threads. ``function`` is of module level.
    """
    if workers == 1:
        return list(_shown((function(shared, item) for item in items), text, len(items)))
    task = (os.getpid(), function, shared)
    with ProcessPoolExecutor(workers, initializer=_adopt, initargs=task) as pool:
        try:
            results = pool.map(_call, items, chunksize=max(1, len(items) // (8 * workers)))
            return list(_shown(results, text, len(items)))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _adopt(parent: int, function: Callable[[Any, Any], Any], shared: Any) -> None:
    """Take the task over in a new process, which leaves Ctrl-C to its parent and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_follow, args=(parent,), daemon=True).start()
    _task[:] = [function, shared]


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _call(item: Any) -> Any:
    function, shared = _task
    return function(shared, item)


def _shown(results: Iterable[Result], text: str, total: int) -> Iterator[Result]:
    """Pass results on, with a line that vanishes when done."""
    with counting(text, total) as told:
        for done, result in enumerate(results, 1):
            yield result
            told(done)
