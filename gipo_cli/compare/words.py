"""Settings and numbers in words that a reader of a figure understands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from gipo_cli.compare.load import Run, Value
from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.text import printable

DIGITS = 6
"""Significant digits of a setting, if they tell all its values apart."""
ANY_GYMNASIUM = "gymnasium"
ARGUMENTS = "env.kwargs."
TASK_KEYS = (
    "env.name", "env.id", "env.task", "env.reward", "env.max_episode_steps", "env.success", "env.success_key",
)  # fmt: skip
SETTINGS = {
    "objective.name": "objective",
    **{f"objective.{name}": text for kind in OBJECTIVES.values() for name, text in kind.symbols.items()},
    "buffer.size": "buffer",
    "demos.episodes": "demonstrations",
    "agent.rollout_steps": "rollout",
    "agent.ratio": "ratio",
    "agent.advantage.kind": "advantage",
    "agent.policy.kind": "policy",
    "env.action.kind": "actions",
    "env.n_envs": "environments",
}


def objective_words(name: str) -> str:
    """An objective's name as it is printed; a user's own is printed as it is."""
    return (OBJECTIVES[name].label if name in OBJECTIVES else "") or printable(name)


def setting_words(key: str, value: Value, digits: int = DIGITS) -> str:
    """One setting, such as ``objective.sigma = 0.5``, as ``σ 0.5``."""
    if key == "objective.name":
        return objective_words(str(value))
    name = "" if SETTINGS.get(key) == "" else setting_name(key)
    return f"{name} {value_words(value, digits)}".strip()


def setting_name(key: str) -> str:
    """A setting without its value, such as ``σ`` for ``objective.sigma``; never empty."""
    parts = key.split(".")
    plain = " ".join(parts[-2:] if parts[-1] in ("kind", "size", "name") else parts[-1:])
    return SETTINGS.get(key) or printable(plain).replace("_", " ")


def seen(runs: Iterable[Run], key: str) -> set[Value]:
    """The values of a setting in the runs that state it."""
    return {run.config[key] for run in runs if key in run.config}


def digits_apart(values: Collection[Value]) -> int:
    """Significant digits at which different values read differently, `DIGITS` or more."""
    apart = set(values)
    enough = (n for n in range(DIGITS, 18) if len({value_words(value, n) for value in apart}) >= len(apart))
    return next(enough, DIGITS)


def value_words(value: Value, digits: int = DIGITS) -> str:
    """One value: ``20k`` for 20000, ``none`` for null, ``64 x 64`` for a list; floats to so many digits."""
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case int() if 1000 <= value < 1e15 and value % 100 == 0 and float(f"{value:.4g}") == value:
            return count_words(value)
        case float():
            return f"{value:.{digits}g}"
        case tuple():
            return " x ".join(value_words(item, digits) for item in value)
    return printable(str(value)).replace("_", " ")


def number_words(value: float) -> str:
    """A result with three significant digits, and never fewer than those before the point."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def count_words(count: float, digits: int = 4) -> str:
    """A number of steps or transitions: 512, 20k, 1.5M; rounded to so many digits."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.{digits}g}{letter}"
    return f"{count:.4g}"


def counts_apart(*counts: float) -> list[str]:
    """Counts as `count_words` has them, in full if different ones would read the same."""
    words = [count_words(count) for count in counts]
    return words if len(set(words)) == len(set(counts)) else [f"{count:.0f}" for count in counts]


def duration_words(seconds: float) -> str:
    """Seconds as ``45 s``, ``12 min`` or ``3.4 h``."""
    if seconds != seconds:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def environment_labels(runs: Sequence[Run]) -> tuple[str, ...]:
    """The task of every run in words: its name, and whatever else is needed to tell two apart."""
    by_name: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_name[_short_task(run)].append(run)
    apart: dict[str, dict[str, int]] = {}
    for name, rivals in by_name.items():
        arguments = sorted({key for run in rivals for key in run.config if key.startswith(ARGUMENTS)})
        # An argument that is not given is a difference; a setting that an imported run omits is not.
        keys = [key for key in TASK_KEYS if len(seen(rivals, key)) > 1]
        keys += [key for key in arguments if len({run.config.get(key) for run in rivals}) > 1]
        apart[name] = {key: digits_apart(seen(rivals, key)) for key in keys}

    def label(run: Run) -> str:
        name, config = _short_task(run), run.config
        told = (setting_words(key, config[key], n) for key, n in apart[name].items() if key in config)
        return ", ".join([name, *told])

    return tuple(map(label, runs))


def _short_task(run: Run) -> str:
    name, task = printable(str(run.config["env.name"])), run.config.get("env.task")
    if name == ANY_GYMNASIUM and run.config.get("env.id"):
        return printable(str(run.config["env.id"]))
    return name if not task or str(task) in name else f"{name} {printable(str(task))}"
