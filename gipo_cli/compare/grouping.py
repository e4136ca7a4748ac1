"""What differs between runs makes the groups; a seed never does."""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gipo_cli.compare.load import RunTable, Value
from gipo_cli.compare.words import digits_apart, setting_words
from gipo_cli.errors import UserError
from gipo_cli.settings.explain import is_number

TASK_KEYS = (
    "env.name", "env.id", "env.task", "env.reward", "env.max_episode_steps", "env.success", "env.success_key",
)  # fmt: skip
ARGUMENTS = "env.kwargs."
ANY_GYMNASIUM = "gymnasium"
NO_TREATMENT = ("seed", "preset", "imports", "total_steps", "env.imports", "env.vector", "env.kwargs")
NO_TREATMENT_SECTIONS = ("eval.", "checkpoint.", "diagnostics.", "logging.", "runtime.", ARGUMENTS)
FIRST_KEYS = ("objective.name", "buffer.size")
SHORT_KEYS = {"objective": "objective.name", "buffer": "buffer.size", "env": "env.name", "task": "env.task"}


@dataclass(frozen=True)
class Arm:
    """One group of runs that differ in their seed only, over all environments.

    Attributes:
        label: the settings that set it apart, in words.
        series: the same without the buffer size; arms of one series form one line over buffer sizes.
        objective: name of the objective, empty where the arm mixes several.
        buffer: transitions the replay buffer holds, None where the arm mixes several, be it between
            environments, or an import is silent.
        settings: the grouping keys with this arm's values.
    """

    label: str
    series: str
    objective: str
    buffer: int | None
    settings: tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Grouping:
    """Runs by arm and environment.

    Attributes:
        keys: the settings that groups are made of, most important first.
        arms: in the order in which tables and figures list them.
        arm_of: by run folder, in the order of the runs given.
        environment_of: by run folder.
        tied: settings that differ but change only together with ``keys``.
        pooled: settings that differ within a group and an environment, because the grouping was chosen by
            hand.
        between: settings that differ within a group between environments only.
    """

    keys: tuple[str, ...]
    arms: tuple[Arm, ...]
    arm_of: tuple[Arm, ...]
    environment_of: tuple[str, ...]
    tied: tuple[str, ...]
    pooled: tuple[str, ...]
    between: tuple[str, ...]


def group_runs(runs: Sequence[RunTable], group_by: Sequence[str] | None = None) -> Grouping:
    """Group runs by what differs between them in some environment.

    The objective always makes groups. Another setting that differs between environments only, such as a
    buffer size that belongs to a task, makes none, so that groups extend over environments.

    Settings of one objective count as different only between runs of that objective, and a setting that an
    imported run does not state is not a difference. Of settings that always change together only the most
    important one makes the label; the others are returned as ``tied``.

    Args:
        runs: at least one run.
        group_by: keys to group by instead, in full (``agent.ratio``) or short where that is unambiguous.

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
    digits = {key: digits_apart(_seen(runs, key)) for key in keys}
    arms = {values: _arm(values, members, digits) for values, members in _groups(runs, keys).items()}
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


def _chosen(group_by: Sequence[str], runs: Sequence[RunTable]) -> tuple[str, ...]:
    keys = tuple(dict.fromkeys(resolve_key(key, runs) for key in group_by))
    if "seed" in keys:
        raise UserError("Seeds are repetitions and never a group; leave seed out of --group-by.")
    if tasks := [key for key in keys if _of_the_task(key)]:
        raise UserError(f"Tasks are always panels of their own; leave {tasks[0]} out of --group-by.")
    return keys


def _groups(runs: Iterable[RunTable], keys: Sequence[str]) -> dict[tuple[Value, ...], list[RunTable]]:
    groups: dict[tuple[Value, ...], list[RunTable]] = defaultdict(list)
    for run in runs:
        groups[_values(run, keys)].append(run)
    return groups


def _mixed(runs: Iterable[RunTable], keys: Sequence[str], key: str) -> bool:
    """Whether a group by ``keys`` has several values of another key."""
    return any(len(_seen(members, key)) > 1 for members in _groups(runs, keys).values())


def _differing(runs: Sequence[RunTable]) -> list[str]:
    """Keys with several values, most important first."""
    keys: dict[str, None] = dict.fromkeys(FIRST_KEYS)
    for section in ("objective.", ""):
        keys.update(dict.fromkeys(key for run in runs for key in run.config if key.startswith(section)))
    return [key for key in keys if _is_treatment(key) and _differs(runs, key)]


def _is_treatment(key: str) -> bool:
    return key not in NO_TREATMENT and key not in TASK_KEYS and not key.startswith(NO_TREATMENT_SECTIONS)


def _of_the_task(key: str) -> bool:
    return key in TASK_KEYS or key.startswith(ARGUMENTS)


def _differs(runs: Sequence[RunTable], key: str) -> bool:
    if not key.startswith("objective.") or key == "objective.name":
        return len(_seen(runs, key)) > 1
    names = {run.objective for run in runs}
    return any(len(_seen([run for run in runs if run.objective == name], key)) > 1 for name in names)


def _seen(runs: Iterable[RunTable], key: str) -> set[Value]:
    return {run.config[key] for run in runs if key in run.config}


def _sufficient(environments: Sequence[Sequence[RunTable]], differing: Sequence[str]) -> tuple[str, ...]:
    """The objective, and the fewest leading keys that tell apart what all do inside each environment."""
    kept: list[str] = []
    for key in differing:
        if key == "objective.name" or any(_splits(own, kept, key) for own in environments):
            kept.append(key)
    return tuple(kept)


def _splits(runs: Sequence[RunTable], keys: Sequence[str], key: str) -> bool:
    """Whether a key that differs between runs makes more groups of them."""
    return _differs(runs, key) and len(_groups(runs, (*keys, key))) > len(_groups(runs, keys))


def _values(run: RunTable, keys: Iterable[str]) -> tuple[Value, ...]:
    return tuple(run.config.get(key) for key in keys)


def _arm(values: Sequence[Value], members: Sequence[RunTable], digits: Mapping[str, int]) -> Arm:
    """The arm of some runs, from its values of the keys that ``digits`` holds, in that order."""
    settings = tuple(zip(digits, values, strict=True))
    objectives = {run.objective for run in members}
    buffers = {run.buffer for run in members}
    parts = {key: setting_words(key, value, digits[key]) for key, value in settings if _belongs(key, members)}
    if len(objectives) == 1:
        parts = {"objective.name": setting_words("objective.name", members[0].objective), **parts}
    series = _join({key: words for key, words in parts.items() if key != "buffer.size"})
    return Arm(
        label=_join(parts) or "all runs",
        series=series or "all runs",
        objective=objectives.pop() if len(objectives) == 1 else "",
        buffer=buffers.pop() if len(buffers) == 1 else None,
        settings=settings,
    )


def _belongs(key: str, members: Sequence[RunTable]) -> bool:
    return any(key in run.config for run in members)


def _join(parts: dict[str, str]) -> str:
    """Objective settings follow its name after a blank, everything else after a comma."""
    own = " ".join(words for key, words in parts.items() if key.startswith("objective."))
    return ", ".join(
        [own] * bool(own) + [words for key, words in parts.items() if not key.startswith("objective.")]
    )


def _order(arm: Arm) -> tuple[object, ...]:
    """Objectives together, each by its own settings, then by buffer size; numbers as numbers."""
    own = [item for item in arm.settings if item[0] != "buffer.size"]
    ranks = [(1, value, "") if isinstance(value, int | float) else (0, 0, str(value)) for _, value in own]
    return (arm.objective, *ranks, arm.buffer or 0, arm.label)


def environment_labels(runs: Sequence[RunTable]) -> tuple[str, ...]:
    """The task of every run in words: its name, and whatever else is needed to tell two apart."""
    short = [_short_task(run) for run in runs]
    extra: dict[str, list[str]] = {}
    digits: dict[tuple[str, str], int] = {}
    for name in set(short):
        rivals = [run for run, own in zip(runs, short, strict=True) if own == name]
        arguments = sorted({key for run in rivals for key in run.config if key.startswith(ARGUMENTS)})
        # An argument that is not given is a difference; a setting that an imported run omits is not.
        extra[name] = [key for key in TASK_KEYS if len(_seen(rivals, key)) > 1]
        extra[name] += [key for key in arguments if len({run.config.get(key) for run in rivals}) > 1]
        digits |= {(name, key): digits_apart(_seen(rivals, key)) for key in extra[name]}
    return tuple(
        ", ".join(
            [name]
            + [
                setting_words(key, run.config[key], digits[name, key])
                for key in extra[name]
                if key in run.config
            ]
        )
        for run, name in zip(runs, short, strict=True)
    )


def _short_task(run: RunTable) -> str:
    name, task = str(run.config["env.name"]), run.config.get("env.task")
    if name == ANY_GYMNASIUM and run.config.get("env.id"):
        return str(run.config["env.id"])
    return name if not task or str(task) in name else f"{name} {task}"


def resolve_key(text: str, runs: Sequence[RunTable]) -> str:
    """The full configuration key that ``text`` stands for.

    Raises:
        UserError: none or several keys fit; the message names the nearest.
    """
    known = sorted({key for run in runs for key in run.config})
    for candidate in (text, SHORT_KEYS.get(text, text), f"{text}.name"):
        if candidate in known:
            return candidate
    fits = [key for key in known if key.endswith(f".{text}")]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UserError(f"The key {text!r} is ambiguous; write one of {', '.join(fits)}.")
    close = difflib.get_close_matches(text, [*known, *(key.rsplit(".", 1)[-1] for key in known)], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else " A run's config.yaml holds its settings."
    raise UserError(f"No run has the setting {text!r}.{hint}")


def filter_runs(runs: Sequence[RunTable], filters: Iterable[str]) -> list[RunTable]:
    """The runs that pass every ``key=value[,value]`` or ``key!=value[,value]``.

    A list is one value, as in ``agent.policy.hidden=[64,64]``.

    Raises:
        UserError: no ``=``, an unknown key, or a filter that no run passes.
    """
    kept = list(runs)
    for text in filters:
        key, passes = _condition(text, runs)
        passing = [run for run in kept if passes(run.config.get(key))]
        if not passing:
            there = ", ".join(sorted({_typed(run.config.get(key)) for run in kept}))
            raise UserError(f"No run passes the filter {text!r}; {key} is one of: {there}.")
        kept = passing
    return kept


def predicate(filters: Iterable[str], runs: Sequence[RunTable]) -> Callable[[Mapping[str, Value]], bool]:
    """The filters of `filter_runs` as one test of a configuration; their keys are read as for ``runs``."""
    conditions = [_condition(text, runs) for text in filters]
    return lambda config: all(passes(config.get(key)) for key, passes in conditions)


def _condition(text: str, runs: Sequence[RunTable]) -> tuple[str, Callable[[Value], bool]]:
    """The key of a filter, and which of its values pass."""
    name, equals, wanted = text.partition("=")
    if not equals or not name.rstrip("!"):
        raise UserError(
            f"The filter {text!r} is no key=value; write for example objective=gipo or buffer.size!=512."
        )
    test = _reads_as(wanted)
    return resolve_key(name.rstrip("!"), runs), lambda value: test(value) is not name.endswith("!")


def _typed(value: Value) -> str:
    """A value as one types it in a filter."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _reads_as(text: str) -> Callable[[Value], bool]:
    """Whether a value is one of the texts typed: as a number where both are, else letter by letter."""
    wanted = text.split(",")

    def test(value: Value) -> bool:
        if isinstance(value, tuple):
            return "".join(text.split()) == _typed(value)
        if value is None or isinstance(value, bool):
            return json.dumps(value) in wanted
        if not isinstance(value, int | float):
            return str(value) in wanted
        return any(is_number(text) and float(text) == value for text in wanted)

    return test
