"""What the whole machine gets done: as many runs at once as there are cores, on one thread each."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from types import TracebackType

import torch

from benchmarks.authors_schedule import AuthorsSchedule
from benchmarks.harness import Row, Target, against, interleave
from benchmarks.learner import AUTHORS, PRECISIONS, iterate, make_agent

ITERATIONS = 3
SCHEDULE = "authors' schedule"


class Team:
    """Processes that do the same iterations at the same time.

    Args:
        kind: a precision, or the authors' schedule.
        size: how many processes.
        threads: of torch in each.
    """

    def __init__(self, kind: str, size: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.lines: list[Connection] = []
        self.processes = []
        for _ in range(size):
            line, other = context.Pipe()
            process = context.Process(target=_member, args=(other, kind, threads), daemon=True)
            process.start()
            self.lines.append(line)
            self.processes.append(process)
        self._answers()

    def run(self) -> None:
        """Three iterations of every process."""
        for line in self.lines:
            line.send(ITERATIONS)
        self._answers()

    def _answers(self) -> None:
        for line in self.lines:
            line.recv()

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self.lines:
            line.send(0)
        for process in self.processes:
            process.join()


def _member(line: Connection, kind: str, threads: int) -> None:
    work: Callable[[], object]
    if kind == SCHEDULE:
        work = AuthorsSchedule().iterate
    else:
        work = partial(iterate, make_agent(*AUTHORS, f"agent.precision={kind}"))
    torch.set_num_threads(threads)
    work()
    line.send(True)
    while count := line.recv():
        for _ in range(count):
            work()
        line.send(True)


def throughput(repeats: int) -> list[Row]:
    """Wall time per iteration on all cores, against the authors' schedule with all of torch's threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    one = f"{SCHEDULE}, 1 run, {cores} threads"
    teams = {
        one: (SCHEDULE, 1, cores),
        f"{SCHEDULE}, {cores} runs": (SCHEDULE, cores, 1),
        **{f"{kind}, {cores} runs": (kind, cores, 1) for kind in PRECISIONS},
    }
    with ExitStack() as stack:
        tasks = {name: stack.enter_context(Team(*team)).run for name, team in teams.items()}
        times = interleave(tasks, repeats, time.perf_counter)
    per = {name: [t / (size * ITERATIONS) for t in times[name]] for name, (_, size, _) in teams.items()}
    _, parallel, *ours = teams
    target = Target("at least", 5.0)
    return [
        *(against(per, name, one, unit="wall s", target=target) for name in ours),
        *(against(per, name, parallel, unit="wall s", speed_up=True) for name in ours),
    ]
