"""What differs between runs makes the groups; a seed never does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gipo_cli.compare.load import Run, Value
from gipo_cli.compare.selection import resolve_key
from gipo_cli.compare.words import (
    ARGUMENTS,
    TASK_KEYS,
    digits_apart,
    environment_labels,
    seen,
    setting_words,
)
from gipo_cli.errors import UserError, suggest
from gipo_cli.settings.schema import keys_that_change

NO_TREATMENT = (*keys_that_change("draw", "budget", "scores", "origin", "nothing"), "env.kwargs")
FIRST_KEYS = ("objective.name", "buffer.size", "actors.lag", "demos.episodes")
DEFAULT_BASELINE = "ppo_clip"
T = TypeVar("T")


@dataclass(frozen=True)
class Arm:
    """One group of runs that differ in their seed only, over all environments."""

    label: str  # the settings that set it apart, in words
    series: str  # the same without the buffer size (or lag); arms of one series form one line over them
    objective: str  # empty if the arm mixes several
    buffer: int | None  # transitions held; None if the arm mixes several or an import is silent
    lag: int | None  # actors.lag if groups differ by it and not by buffer size
    settings: tuple[tuple[str, Value], ...]  # the grouping keys with this arm's values


@dataclass(frozen=True)
class Grouping:
    """Runs by arm and environment."""

    keys: tuple[str, ...]  # the settings that groups are made of, most important first
    arms: tuple[Arm, ...]  # in the order in which tables and figures list them
    arm_of: tuple[Arm, ...]  # of each run, in the order of the runs given
    environment_of: tuple[str, ...]  # likewise the label of its environment
    tied: tuple[str, ...]  # settings that differ but change only together with the keys
    pooled: tuple[str, ...]  # settings that differ within a group and an environment
    between: tuple[str, ...]  # settings that differ within a group between environments only


def group_runs(runs: Sequence[Run], group_by: Sequence[str] | None = None) -> Grouping:
    """Group runs by what differs between them in some environment.

    The objective always makes groups. Another setting that differs between environments only, such as a
    buffer size that belongs to a task, makes none, so that groups extend over environments.

    Settings of one objective count as different only between runs of that objective, and a setting that an
    imported run does not state is not a difference. Of settings that always change together only the most
    important one makes the label; the others are returned as ``tied``.

    ``group_by`` are keys to group by instead, in full (``agent.ratio``) or short if that is unambiguous.

    Raises:
        UserError: an unknown or ambiguous key, the seed, or a setting of the task.
    """
    labels = environment_labels(runs)
    environments = [
        [run for run, own in zip(runs, labels, strict=True) if own == label]
        for label in dict.fromkeys(labels)
    ]
    differing = _differing(runs)
    keys = _sufficient(environments, differing) if group_by is None else _chosen(group_by, runs)
    digits = {key: digits_apart(seen(runs, key)) for key in keys}
    axis = _axis(keys, runs)
    arms = {values: _arm(values, members, digits, axis) for values, members in _groups(runs, keys).items()}
    others = [key for key in differing if key not in keys]
    pooled = [key for key in others if any(_mixed(own, keys, key) for own in environments)]
    between = [key for key in others if key not in pooled and _mixed(runs, keys, key)]
    # One that differs between environments may also change together with the keys inside one of them.
    alone = {key for key in between if not any(_differs(own, key) for own in environments)}
    return Grouping(
        keys=keys,
        arms=tuple(sorted(arms.values(), key=_order)),
        arm_of=tuple(arms[_values(run, keys)] for run in runs),
        environment_of=labels,
        tied=tuple(key for key in others if key not in pooled and key not in alone),
        pooled=tuple(pooled),
        between=tuple(between),
    )


def _chosen(group_by: Sequence[str], runs: Sequence[Run]) -> tuple[str, ...]:
    keys = tuple(dict.fromkeys(resolve_key(key, runs) for key in group_by))
    if "seed" in keys:
        raise UserError("Seeds are repetitions and never a group; leave seed out of --group-by.")
    if tasks := [key for key in keys if key in TASK_KEYS or key.startswith(ARGUMENTS)]:
        raise UserError(f"Tasks are always panels of their own; leave {tasks[0]} out of --group-by.")
    return keys


def _groups(runs: Iterable[Run], keys: Sequence[str]) -> dict[tuple[Value, ...], list[Run]]:
    groups: dict[tuple[Value, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[_values(run, keys)].append(run)
    return groups


def _mixed(runs: Iterable[Run], keys: Sequence[str], key: str) -> bool:
    """Whether a group by ``keys`` has several values of another key."""
    return any(len(seen(members, key)) > 1 for members in _groups(runs, keys).values())


def _differing(runs: Sequence[Run]) -> list[str]:
    """Settings of the agent with several values, most important first."""
    known = dict.fromkeys(key for run in runs for key in run.config)
    keys = dict.fromkeys([*FIRST_KEYS, *(key for key in known if key.startswith("objective.")), *known])
    return [
        key
        for key in keys
        if key not in TASK_KEYS
        and not f"{key}.".startswith(tuple(f"{name}." for name in NO_TREATMENT))
        and _differs(runs, key)
    ]


def _differs(runs: Sequence[Run], key: str) -> bool:
    if not key.startswith("objective.") or key == "objective.name":
        return len(seen(runs, key)) > 1
    return _mixed(runs, ("objective.name",), key)


def _sufficient(environments: Sequence[Sequence[Run]], differing: Sequence[str]) -> tuple[str, ...]:
    """The objective, and the fewest leading keys that tell apart what all do inside each environment."""
    kept: list[str] = []
    for key in differing:
        if key == "objective.name" or any(_splits(own, kept, key) for own in environments):
            kept.append(key)
    return tuple(kept)


def _splits(runs: Sequence[Run], keys: Sequence[str], key: str) -> bool:
    """Whether a key that differs between runs makes more groups of them."""
    return _differs(runs, key) and len(_groups(runs, (*keys, key))) > len(_groups(runs, keys))


def _values(run: Run, keys: Iterable[str]) -> tuple[Value, ...]:
    return tuple(run.config.get(key) for key in keys)


def _axis(keys: Sequence[str], runs: Iterable[Run]) -> str:
    """The setting over which the arms of a series form a line."""
    scheduled = "actors.lag" in keys and all(type(run.config.get("actors.lag")) is int for run in runs)
    return "actors.lag" if scheduled and "buffer.size" not in keys else "buffer.size"


def _arm(values: Sequence[Value], members: Sequence[Run], digits: Mapping[str, int], axis: str) -> Arm:
    """The arm of some runs, from its values of the keys that ``digits`` holds, in that order."""
    settings = tuple(zip(digits, values, strict=True))
    parts = {
        key: setting_words(key, value, digits[key])
        for key, value in settings
        if any(key in run.config for run in members)
    }
    objective = _only({run.objective for run in members})
    if objective is not None:
        parts = {"objective.name": setting_words("objective.name", objective), **parts}
    series = _join({key: words for key, words in parts.items() if key != axis})
    lag = dict(settings).get("actors.lag") if axis == "actors.lag" else None
    return Arm(
        label=_join(parts) or "all runs",
        series=series or "all runs",
        objective=objective or "",
        buffer=_only({run.buffer for run in members}),
        lag=lag if type(lag) is int else None,
        settings=settings,
    )


def _only(values: set[T]) -> T | None:
    return values.pop() if len(values) == 1 else None


def _join(parts: Mapping[str, str]) -> str:
    """Objective settings follow its name after a blank, everything else after a comma."""
    own = " ".join(words for key, words in parts.items() if key.startswith("objective."))
    others = [words for key, words in parts.items() if not key.startswith("objective.")]
    return ", ".join([own, *others] if own else others)


def _order(arm: Arm) -> tuple[object, ...]:
    """Objectives together, each by its own settings, then by buffer size; numbers as numbers."""
    own = [item for item in arm.settings if item[0] != "buffer.size"]
    ranks = [(1, value, "") if isinstance(value, int | float) else (0, 0, str(value)) for _, value in own]
    return (arm.objective, *ranks, arm.buffer or 0, arm.label)


def match_baseline(arms: Sequence[Arm], name: str | None) -> dict[Arm, Arm]:
    """Find the arm that each arm is compared with.

    Named by a whole label, one arm is everyone's baseline. Named by an objective or a series, an arm's
    baseline is the one that shares all its settings outside the objective, above all its buffer size;
    an arm without such a counterpart has no baseline. No name means ``ppo_clip`` if it is there and
    unambiguous.

    Raises:
        UserError: no arm is called so, or several could be meant; the message lists the names.
    """
    wanted = DEFAULT_BASELINE if name is None else name
    whole = [arm for arm in arms if wanted == arm.label]
    if len(whole) == 1:
        return dict.fromkeys(arms, whole[0])
    chosen: dict[tuple[object, ...], Arm] = {}
    for arm in arms:
        if wanted not in (arm.series, arm.objective):
            continue
        if (rival := chosen.setdefault(_surroundings(arm), arm)) is not arm:
            if name is None:
                return {}
            raise UserError(
                f"The baseline {name!r} could be {rival.series!r} or {arm.series!r}; write one of them in "
                "full."
            )
    if not chosen and name is not None:
        names = list(dict.fromkeys(text for arm in arms for text in (arm.objective, arm.series, arm.label)))
        listed = [text for text in names if text]
        raise UserError(
            f"No group is called {name!r}{suggest(name, listed)}. A baseline is one of: "
            f"{', '.join(map(repr, listed))}."
        )
    return {arm: chosen[_surroundings(arm)] for arm in arms if _surroundings(arm) in chosen}


def _surroundings(arm: Arm) -> tuple[object, ...]:
    return tuple(item for item in arm.settings if not item[0].startswith("objective."))
