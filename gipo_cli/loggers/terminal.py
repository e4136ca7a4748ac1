"""What the user sees while a run goes on: a live panel on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gipo_cli.runs.layout import RunDir
from gipo_cli.text import duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

LINE_SECONDS = 10.0
_RATE_WINDOW = 30
_ABSENT = "-"

Row = Mapping[str, Any]


class Rate:
    """Steps per second over the last few reports, pauses for evaluation included."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)

    def report(self, step: int) -> float | None:
        """Take note of a step count.

        Args:
            step: Environment steps done now.

        Returns:
            Steps per second, once there are two different moments.
        """
        self._points.append((time.monotonic(), step))
        (first, start), (last, end) = self._points[0], self._points[-1]
        return (end - start) / (last - first) if last > first else None


class Display:
    """Shows progress; a context manager.

    Args:
        title: What is being trained, one short line.
        total_steps: Environment steps of the whole run.
        step: Where this attempt starts.
        quiet: Show nothing but the summary.
        console: Where to; default: standard output.
    """

    def __init__(
        self,
        title: str,
        total_steps: int,
        *,
        step: int = 0,
        quiet: bool = False,
        console: Console | None = None,
    ) -> None:
        self.console = console or _console()
        self._title, self._total, self._quiet = title, total_steps, quiet
        self._rate = Rate()
        self._rate.report(step)
        self._step = step
        self._train: dict[str, Any] = {}
        self._eval: dict[str, Any] = {}
        self._live: Live | None = None
        self._last_line = -math.inf
        self._news = False
        self.steps_per_second: float | None = None

    def __enter__(self) -> Self:
        from rich.live import Live

        if self.console.is_terminal and not self._quiet:
            self._live = Live(
                get_renderable=self.render, console=self.console, refresh_per_second=4, transient=False
            )
            self._live.start()
        elif not self._quiet:
            self._print(self._title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif not self._quiet and self._train and self._news:
            self._print(self.line())

    def update(self, row: Row) -> None:
        """Show the newest iteration.

        Args:
            row: A row of ``metrics.csv``.
        """
        self._train, self._news = dict(row), True
        self._step = int(row["step"])
        self.steps_per_second = self._rate.report(self._step)
        if self._live is None and not self._quiet and time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            self._news = False
            self._print(self.line())

    def evaluation(self, row: Row) -> None:
        """Show the newest evaluation.

        Args:
            row: A row of ``eval.csv``.
        """
        self._eval, self._news = dict(row), True

    def note(self, text: str) -> None:
        """Say something once, above the panel.

        Args:
            text: One sentence.
        """
        if not self._quiet:
            self._print(text)

    def line(self) -> str:
        """The state of the run as one plain line."""
        cells = self._cells()
        parts = [
            f"{self._step}/{self._total} {self._percent()}",
            f"{_number(self.steps_per_second, '.0f')} steps/s, {self._left()} left",
            f"train return {cells['train/return']} success {cells['train/success']}",
            f"eval return {cells['eval/return']} success {cells['eval/success']}",
            f"utilisation {cells['utilisation']} ess {cells['ess']} lag {cells['lag']}",
        ]
        return " | ".join(parts)

    def render(self) -> RenderableType:
        """The panel."""
        from rich.console import Group
        from rich.markup import escape
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        head = Table.grid(padding=(0, 2), expand=True)
        head.add_column(ratio=1)
        for _ in range(3):
            head.add_column(justify="right", no_wrap=True)
        head.add_row(
            ProgressBar(total=self._total, completed=min(self._step, self._total)),
            f"[bold]{self._percent()}[/]",
            f"{_number(self.steps_per_second, ',.0f')} steps/s",
            f"{self._left()} left",
        )
        body = Table.grid(padding=(0, 3))
        body.add_column(style="dim", no_wrap=True)
        for _ in range(2):
            body.add_column(justify="right", no_wrap=True, min_width=9)
        body.add_column(style="dim", no_wrap=True)
        body.add_column(justify="right", no_wrap=True, min_width=7)
        for row in self._rows():
            body.add_row(*row)
        done = f"[dim]{self._step:,} of {self._total:,} steps[/]"
        return Group(f"[bold]{escape(self._title)}[/]  {done}", head, body)

    def _rows(self) -> list[tuple[str, ...]]:
        cells = self._cells()
        lag = f"{cells['lag']} (max {cells['lag_max']})"
        evaluation = (f"[bold]{cells[f'eval/{name}']}[/]" for name in ("return", "success"))
        return [
            ("", "[dim]return[/]", "[dim]success[/]", "samples that count", cells["utilisation"]),
            (
                "training",
                cells["train/return"],
                cells["train/success"],
                "effective sample size",
                cells["ess"],
            ),
            ("evaluation", *evaluation, "policy lag, updates", lag),
        ]

    def _cells(self) -> dict[str, str]:
        train, evaluation = self._train, self._eval
        return {
            "train/return": _number(train.get("train/return")),
            "train/success": _share(train.get("train/success")),
            "eval/return": _number(evaluation.get("return_mean")),
            "eval/success": _share(evaluation.get("success")),
            "utilisation": _share(train.get("health/utilisation")),
            "ess": _number(train.get("health/ess"), ".2f"),
            "lag": _number(train.get("health/lag_mean"), ".1f"),
            "lag_max": _number(train.get("health/lag_max"), ".0f"),
        }

    def _percent(self) -> str:
        # Rounded down: 100% means finished.
        return f"{100 * min(self._step, self._total) // self._total}%"

    def _left(self) -> str:
        if not self.steps_per_second:
            return _ABSENT
        return duration(max(self._total - self._step, 0) / self.steps_per_second)

    def _print(self, text: str) -> None:
        from rich.text import Text

        # As an object: without markup, which the live panel below it needs.
        self.console.print(Text(text), soft_wrap=True)


def _console() -> Console:
    from contextlib import suppress

    from rich.console import Console

    class Unwatched(Console):
        """Falls silent when its reader leaves (``gipo train | head``): that is no reason for a run to end."""

        def on_broken_pipe(self) -> None:
            with suppress(SystemExit):
                super().on_broken_pipe()

    return Unwatched(highlight=False)


def print_summary(console: Console, run: RunDir, *, tensorboard: bool) -> None:
    """Say where the results are and what to type next.

    Args:
        console: Where to.
        run: The run folder.
        tensorboard: Whether there are events to look at.
    """
    import shlex

    from gipo_cli.runs.trust import trust_flag

    ref, trust = shlex.quote(str(run.path)), trust_flag(run)
    lines = [
        f"results in {run.path}",
        f"  gipo show {ref}",
        f"  gipo eval {ref}{trust}",
        f"  gipo video {ref}{trust}",
    ]
    if tensorboard:
        lines.append(f"  tensorboard --logdir {shlex.quote(str(run.tensorboard))}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _number(value: Any, form: str = ".4g") -> str:
    return _ABSENT if value is None or not math.isfinite(value) else format(value, form)


def _share(value: Any) -> str:
    return _ABSENT if value is None or not math.isfinite(value) else f"{value:.0%}"
