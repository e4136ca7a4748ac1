"""Interleaved timing, and the record of a figure: two things measured, their ratio and the target for it."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "gipo-cli",
    "torch",
    "stable-baselines3",
    "mujoco",
    "metaworld",
    "gymnasium",
    "gymnasium-robotics",
    "numpy",
)
ISA = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
Clock = Callable[[], float]
Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of n repetitions."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of a list of measurements; a single one is its own quartiles."""
        several = values if len(values) > 1 else [*values, *values]
        low, median, high = statistics.quantiles(several, n=4, method="inclusive")
        return cls(median, low, high, len(values))

    def __str__(self) -> str:
        return (
            f"{self.median:.3g}" if self.n == 1 else f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"
        )


@dataclass(frozen=True)
class Target:
    """What the ratio, or the measured quantity itself, must keep."""

    kind: Literal["at most", "at least"]
    limit: float
    of: Literal["ratio", "measured"] = "ratio"

    def met(self, row: Row) -> bool:
        """Whether the median keeps it."""
        value = (row.ratio if self.of == "ratio" else row.measured).median
        return value <= self.limit if self.kind == "at most" else value >= self.limit

    def __str__(self) -> str:
        return f"{self.kind} {self.limit:g}" + (" of itself" if self.of == "measured" else "")


@dataclass(frozen=True)
class Row:
    """One line of the table: ``what`` against ``peer``, both in ``unit``.

    ``ratio`` is of paired repetitions: the first over the second, or the reverse where a row is a speed-up.
    """

    what: str
    peer: str
    unit: str
    measured: Spread
    beside: Spread
    ratio: Spread
    reads: Literal["x the peer", "x as fast"] = "x the peer"
    target: Target | None = None
    note: str = ""


def interleave(
    tasks: Mapping[str, Callable[[], object]], repeats: int, clock: Clock = time.process_time, warmup: int = 1
) -> Samples:
    """Time every task ``repeats`` times in turn, every other turn in reverse, so that drift hits all alike.

    Args:
        tasks: what to time, by name.
        repeats: measurements of each.
        clock: seconds; processor time unless several processes work.
        warmup: turns before the first that counts.
    """
    samples: Samples = {name: [] for name in tasks}
    for turn in range(-warmup, repeats):
        for name in list(tasks) if turn % 2 == 0 else reversed(list(tasks)):
            gc.collect()
            begun = clock()
            tasks[name]()
            spent = clock() - begun
            if turn >= 0:
                samples[name].append(spent)
    return samples


def against(
    samples: Samples,
    what: str,
    peer: str,
    *,
    unit: str = "CPU s",
    per: float = 1.0,
    target: Target | None = None,
    speed_up: bool = False,
    note: str = "",
) -> Row:
    """The row of two timed tasks; ``per`` divides their times, not their ratio.

    A target "at least" is one of speed, and so is a row with ``speed_up``.
    """
    ours, theirs = samples[what], samples[peer]
    pairs = list(zip(ours, theirs, strict=True))
    speed_up = speed_up or (target is not None and target.kind == "at least" and target.of == "ratio")
    ratio = Spread.of([b / a for a, b in pairs] if speed_up else [a / b for a, b in pairs])
    return Row(
        what,
        peer,
        unit,
        Spread.of([a / per for a in ours]),
        Spread.of([b / per for b in theirs]),
        ratio,
        "x as fast" if speed_up else "x the peer",
        target,
        note,
    )


def table(title: str, rows: Sequence[Row]) -> str:
    """A figure as a Markdown table."""
    lines = [
        f"## {title}",
        "",
        "| measured | | peer | | ratio | target | |",
        "| --- | --: | --- | --: | --: | --- | --- |",
    ]
    for row in rows:
        verdict = "" if row.target is None else ("met" if row.target.met(row) else "**missed**")
        said = "; ".join(filter(None, (verdict, row.note)))
        ratio = f"{row.ratio} {row.reads}"
        target = str(row.target or "")
        cells = (row.what, f"{row.measured} {row.unit}", row.peer, str(row.beside), ratio, target, said)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def machine() -> dict[str, object]:
    """The processor, its cores and the versions, without names that belong to one machine."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "date": str(date.today()),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instructions": [name for name in ISA if name in flags],
        "system": platform.system(),
        "python": platform.python_version(),
        "commit": git.stdout.strip() or None,
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def load() -> float:
    """Mean number of runnable processes over the last minute."""
    return os.getloadavg()[0]


def python(code: str) -> list[str]:
    """Command that runs ``code`` in a fresh interpreter."""
    return [sys.executable, "-c", code]
