"""What the user sees while a run goes on: a live panel on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gipo_cli.runs.durable import read_sealed
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.manifest import trust_flag
from gipo_cli.runs.status import Rate
from gipo_cli.streams import lasting_console
from gipo_cli.text import duration, sparkline

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console, RenderableType
    from rich.live import Live

LINE_SECONDS = 10.0
_NUMBERS = {
    "train_return": ("train/return", ".4g"),
    "train_success": ("train/success", ".0%"),
    "eval_return": ("eval/return_mean", ".4g"),
    "eval_success": ("eval/success", ".0%"),
    "utilisation": ("health/utilisation", ".0%"),
    "ess": ("health/ess", ".2f"),
    "lag": ("health/lag_mean", ".1f"),
    "buffer": ("buffer/size", ",.0f"),
    "max_lag": ("health/lag_max", ".0f"),
    "arrival": ("actors/arrival_lag", ".0f"),
    "queue": ("actors/queue", ".0f"),
    "learner_wait": ("time/learner_wait", ".2f"),
    "actors_wait": ("time/actors_wait", ".2f"),
    "dropped": ("actors/dropped", ".0f"),
    "masked": ("actors/masked", ".0f"),
    "replaced": ("actors/replaced", ".0f"),
    "reuse": ("actors/reuse", ".3g"),
}
_ACTORS = (
    "arrival lag {arrival} queue {queue} waits {learner_wait} s (learner) {actors_wait} s (actors) "
    "reuse {reuse} dropped {dropped} masked {masked} replaced {replaced}"
)
_SPARKLINE = 50
_PANEL = (
    ("", "[dim]return", "[dim]success", "utilisation", "{utilisation}"),
    ("training", "{train_return}", "{train_success}", "effective sample size", "{ess}"),
    ("evaluation", "[bold]{eval_return}", "[bold]{eval_success}", "policy lag", "{lag} (max {max_lag})"),
)


class Display:
    """Shows progress; a context manager, and a listener.

    Args:
        title: What is being trained, one short line.
        total_steps: Environment steps of the whole run.
        name: The run's.
        capacity: Transitions that its buffer has room for.
        step: Where this attempt starts.
        quiet: Show nothing but the summary.
        console: Where to; default: standard output.
    """

    def __init__(
        self,
        title: str,
        total_steps: int,
        *,
        name: str = "",
        capacity: int | None = None,
        step: int = 0,
        quiet: bool = False,
        console: Console | None = None,
    ) -> None:
        self.console = console or lasting_console()
        self._name, self._title, self._total, self._quiet = name, title, total_steps, quiet
        self._capacity, self._begun = capacity, time.monotonic()
        self._returns: list[float] = []
        self._rate, self._step = Rate(), step
        self._rate.report(step)
        self._speed: float | None = None
        self._train: Mapping[str, float] = {}
        self._eval: Mapping[str, float] = {}
        self._live: Live | None = None
        self._last_line = -math.inf
        self._news = False

    def __enter__(self) -> Self:
        from rich.live import Live

        if self.console.is_terminal and not self._quiet:
            self._live = Live(
                get_renderable=self.render, console=self.console, refresh_per_second=4, transient=False
            )
            self._live.start()
        else:
            self.note(self._title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was found, with the newest numbers on it."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._train and self._news:
            self._news = False
            self.note(self.line())

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Show the newest iteration or evaluation."""
        if "iteration" in values:
            self._train, self._news = values, True
            self._step = step
            self._speed = self._rate.report(step)
            if math.isfinite(newest := values.get("train/return", math.nan)):
                self._returns.append(newest)
            if self._live is None and time.monotonic() - self._last_line >= LINE_SECONDS:
                self._last_line = time.monotonic()
                self._news = False
                self.note(self.line())
        elif "eval/return_mean" in values:
            self._eval, self._news = values, True

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Nothing is shown of it."""

    def note(self, text: str) -> None:
        """Say something once, above the panel."""
        from rich.text import Text

        if not self._quiet:
            # As an object: without markup, which the live panel below it needs.
            self.console.print(Text(text), soft_wrap=True)

    def line(self) -> str:
        """The state of the run as one plain line."""
        known = self._known()
        text = (
            "{step}/{total} {percent} | {speed} steps/s, {left} left | "
            "train return {train_return} success {train_success} | "
            "eval return {eval_return} success {eval_success} | utilisation {utilisation} ess {ess} lag {lag}"
        )
        text += f" | {_ACTORS}" if "actors/queue" in self._train else ""
        return text.format(step=self._step, total=self._total, **known)

    def render(self) -> RenderableType:
        """The panel."""
        from rich.console import Group
        from rich.markup import escape
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        known = self._known()
        head = Table.grid(padding=(0, 2), expand=True)
        head.add_column(ratio=1)
        head.add_column(justify="right", no_wrap=True)
        bar = ProgressBar(total=self._total, completed=min(self._step, self._total))
        head.add_row(bar, f"[bold]{known['percent']}[/] [dim]of {self._total:,} steps")
        pace = "{speed} steps/s   {elapsed} elapsed   {left} left   buffer {buffer}"
        if self._capacity:
            pace += f" of {self._capacity:,}"
        body = Table.grid(padding=(0, 3))
        for width in (0, 9, 9, 0, 7):
            name = "dim" if not width else None
            body.add_column(style=name, justify="right" if width else "left", no_wrap=True, min_width=width)
        for row in _PANEL:
            body.add_row(*(cell.format(**known) for cell in row))
        more = [f"[dim]{_ACTORS.format(**known)}[/]"] if "actors/queue" in self._train else []
        drawn = "" if self.console.options.ascii_only else sparkline(self._returns, _SPARKLINE)
        curve = f"[dim]return[/]  {drawn}"
        title = f"[bold]{escape(self._name)}[/]  " if self._name else ""
        top, facts = f"{title}{escape(self._title)}", f"[dim]{pace.format(**known)}[/]"
        return Group(top, head, facts, body, *more, curve)

    def _known(self) -> dict[str, str]:
        """Every number that is shown, as text."""
        newest = {**self._train, **self._eval}
        known = {name: _number(newest.get(tag), form) for name, (tag, form) in _NUMBERS.items()}
        left = max(self._total - self._step, 0) / self._speed if self._speed else None
        # Rounded down: 100% means finished.
        percent = f"{100 * min(self._step, self._total) // self._total}%"
        return known | {
            "percent": percent,
            "speed": _number(self._speed, ",.0f"),
            "left": duration(left),
            "elapsed": duration(time.monotonic() - self._begun),
        }


def print_summary(console: Console, run: RunDir, *, tensorboard: bool) -> None:
    """Say how often a run that began as another policy succeeds, where results are and what to type next."""
    ref, trust = shlex.quote(str(run.path)), trust_flag(run)
    facts = read_sealed(run.success) if run.success.is_file() else {}
    lines = [
        *(f"{when}: {line}" for when in ("before", "after") for line in success_lines(facts.get(when))),
        f"results in {run.path}",
        f"  gipo show {ref}",
        f"  gipo eval {ref}{trust}",
        f"  gipo video {ref}{trust}",
    ]
    if tensorboard:
        lines.append(f"  tensorboard --logdir {shlex.quote(str(run.tensorboard))}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def success_lines(success: dict[str, Any] | None) -> list[str]:
    """Success by the mode and by samples, one time limit a line."""
    words = {"limit": "training's time limit", "task": "task's own time limit"}
    lines = []
    for limit, rates in (success or {}).items():
        shown = [f"{kind} {'unknown' if rate is None else f'{rate:.0%}'}" for kind, rate in rates.items()]
        lines.append(f"success, {words.get(limit, limit)}: {', '.join(shown)}")
    return lines


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)
