"""What the user sees of a sweep: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING

from gipo_cli.sweep.state import RunState
from gipo_cli.text import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LINE_SECONDS = 30.0
# Those that need attention first, for a table that does not fit.
_STYLE = {"running": "cyan", "failed": "red", "interrupted": "yellow", "waiting": "dim", "done": "green"}
# The run's name is what gives way on a narrow terminal.
_COLUMNS = {"state": 11, "done": 4, "steps/s": 7, "success": 7, "left": 7}
_MARGIN = 6

States = Mapping[str, RunState]


class View:
    """Shows the states of a sweep's runs under the study's name."""

    def __init__(self, title: str, console: Console) -> None:
        self.console = console
        self._title = title
        self._live = False
        self._states: States = {}
        self._left: float | None = None
        self._last_line = time.monotonic()

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keep a table up to date meanwhile, if this is a terminal."""
        from rich.live import Live

        if not self.console.file.isatty():  # whatever FORCE_COLOR says
            yield
            return
        self._live = True
        with Live(get_renderable=self._render, console=self.console, refresh_per_second=2):
            yield

    def update(self, states: States, left: float | None) -> None:
        """Show how far the runs are, and the seconds until the sweep ends, if that can be told."""
        before, self._states, self._left = self._states, states, left
        if self._live:
            return
        for name, state in states.items():
            if name in before and before[name].state != state.state:
                self.note(_line(name, state))
        if time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            self.note(counts(states, left))

    def note(self, text: str) -> None:
        """Say something once."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _render(self) -> Table:
        room = max(self.console.height - _MARGIN, 1)
        return table(self._title, self._states, self._left, room=room, width=self.console.width)


def table(
    title: str, states: States, left: float | None = None, *, room: int | None = None, width: int = 80
) -> Table:
    """The states as a table of this width.

    With ``room`` for so many rows, those that matter least at the moment are only counted. ``left``: seconds
    until the sweep ends, if that can be told.
    """
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", title_justify="left")
    shown.title = Text(f"{title}: {counts(states, left)}")
    room_for_name = max(width - sum(_COLUMNS.values()) - len(_COLUMNS) - 1, 8)
    shown.add_column("run", overflow="ellipsis", no_wrap=True, max_width=room_for_name)
    known = states.values()
    succeeds = any(s.success is not None for s in known) or all(s.result is None for s in known)
    for heading, least in _COLUMNS.items():
        heading = "return" if heading == "success" and not succeeds else heading
        shown.add_column(
            heading, no_wrap=True, min_width=least, justify="left" if heading == "state" else "right"
        )
    brief = short_names(states, room_for_name)
    order = list(_STYLE)
    names = sorted(states, key=lambda name: order.index(states[name].state)) if room else list(states)
    for name in names[:room]:
        state = states[name]
        shown.add_row(
            Text(brief[name]),
            Text(state.state, style=_STYLE[state.state]),
            f"{100 * min(state.step, state.total_steps) // state.total_steps}%",
            _number(state.speed, ",.0f"),
            _number(state.success, ".0%") if succeeds else _number(state.result, ".4g"),
            duration(state.seconds_left),
        )
    if hidden := len(states) - len(names[:room]):
        shown.add_row(Text(f"and {hidden} more", style="dim"))
    return shown


def short_names(names: Iterable[str], room: int) -> dict[str, str]:
    """Shorten names to ``room`` characters.

    They lose the digest at their end and the words they all begin with. What is still too long loses its
    middle, since the end says which seed it is.
    """
    brief = {name: name.rpartition("-")[0] or name for name in names}
    if len(set(brief.values())) < len(brief):
        brief = {name: name for name in brief}
    if len(brief) > 1 and max(map(len, brief.values())) > room:
        words = {name: text.split("-") for name, text in brief.items()}
        alike = takewhile(lambda column: len(set(column)) == 1, zip(*words.values(), strict=False))
        shared = min(len(list(alike)), min(map(len, words.values())) - 1)
        brief = {name: "-".join(parts[shared:]) for name, parts in words.items()}
    end = room // 2
    return {
        name: text if len(text) <= room else f"{text[: room - end - 1]}…{text[len(text) - end :]}"
        for name, text in brief.items()
    }


def counts(states: States, left: float | None = None) -> str:
    """All runs in one line."""
    kinds = [state.state for state in states.values()]
    parts = [f"{kinds.count(kind)} {kind}" for kind in reversed(_STYLE) if kind in kinds]
    total = sum(state.total_steps for state in states.values())
    done = sum(min(state.step, state.total_steps) for state in states.values())
    parts.append(f"{100 * done // max(total, 1)}% of all steps")
    if left and done < total:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)


def _line(name: str, state: RunState) -> str:
    parts = [f"{name}: {state.state}", f"step {state.step} of {state.total_steps}"]
    if state.success is not None:
        parts.append(f"success {state.success:.0%}")
    if state.state in ("failed", "interrupted") and state.reason:
        parts.append(state.reason)
    return ", ".join(parts)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)
