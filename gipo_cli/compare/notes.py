"""What a reader must know before believing a figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.curves import FINAL_SHARE
from gipo_cli.compare.load import RunTable, Value
from gipo_cli.compare.words import (
    counts_apart,
    digits_apart,
    number_words,
    objective_words,
    setting_name,
    value_words,
)

ENOUGH_SEEDS = 5
NAMED = 3
"""Environments that are listed by name; more are counted."""


def seeds_note(fewest: int) -> str | None:
    """The warning below five seeds, short enough for a figure."""
    if fewest >= ENOUGH_SEEDS:
        return None
    if fewest == 1:
        return "A single seed: no interval, and no way to tell a method from its luck."
    return f"Only {fewest} seeds: 95% intervals from fewer than {ENOUGH_SEEDS} are too narrow."


def notes(comparison: Comparison, *, whole: bool = True) -> list[str]:
    """Everything to be said beside the numbers, most important first.

    Args:
        comparison: what is shown.
        whole: it is shown with all columns and figures, not as the short table of the terminal.
    """
    found = [
        *_seeds(comparison),
        *_left_out(comparison),
        *_arms(comparison),
        *_same_footing(comparison),
        *_resolution(comparison),
        *_missing(comparison),
        *_apart(comparison),
        *_single_points(comparison),
        *_scale(comparison, whole),
    ]
    return [note for note in found if note]


def _seeds(comparison: Comparison) -> Iterable[str | None]:
    yield seeds_note(comparison.fewest_seeds)
    counts = {len(cell.runs) for cell in comparison.cells.values()}
    if min(counts) == 1:
        yield (
            "A group with a single run has no P(better) and no performance profile: which of two runs ends "
            "higher is chance."
        )
    if len(counts) > 1:
        yield f"Groups have different numbers of seeds, from {min(counts)} to {max(counts)}."


def _left_out(comparison: Comparison) -> Iterable[str]:
    kinds = Counter(out.kind for out in comparison.left_out)
    if missing := kinds["run"]:
        yield (
            f"{missing} of {missing + len(comparison.used)} runs are left out (listed below); a group whose "
            "bad runs are missing looks better than it is."
        )
    if waiting := kinds["planned"]:
        yield f"{waiting} planned run{' has' if waiting == 1 else 's have'} not begun."
    unfinished = Counter(run.state for run in comparison.used if run.state != "done")
    if unfinished:
        words = ", ".join(f"{count} {state}" for state, count in sorted(unfinished.items()))
        yield f"Runs that are not finished are included as asked for: {words}."
    for environment in comparison.environments:
        runs = comparison.runs_of(environment)
        budgets = {run.budget for run in runs}
        if len(budgets) > 1 or unfinished:
            *given, end = counts_apart(*sorted(budgets), environment.horizon)
            yield f"{environment.label}: budgets of {' and '.join(given)} steps, all cut at {end}."


def _arms(comparison: Comparison) -> Iterable[str]:
    if len(comparison.arms) == 1:
        yield "Nothing to compare: all runs have one configuration and differ in their seed only."
    if comparison.grouping.tied:
        yield "Settings that change together with those in the labels: " + _ranges(
            comparison, comparison.grouping.tied
        )
    if comparison.grouping.pooled:
        yield "Settings that differ within a group, as the grouping was chosen: " + _ranges(
            comparison, comparison.grouping.pooled
        )
    if comparison.grouping.between:
        yield "Settings of a group that differ between environments: " + _by_environment(
            comparison, comparison.grouping.between
        )
    for arm in comparison.arms:
        for cell in comparison.by_arm(arm):
            if len(set(cell.seeds)) < len(cell.seeds):
                yield (
                    f"{arm.label} in {cell.environment.label} has several runs of one seed; they count as "
                    "separate runs."
                )
    if len(comparison.arms) > 1 and not comparison.baselines:
        yield (
            "No baseline: the default, ppo_clip, is not among the groups or not unique; --baseline names one."
        )


def _ranges(comparison: Comparison, keys: Sequence[str]) -> str:
    parts = [f"{setting_name(key)} ({_values(comparison, comparison.used, key)})" for key in keys]
    return "; ".join(parts) + "."


def _by_environment(comparison: Comparison, keys: Sequence[str]) -> str:
    parts = []
    for key in keys:
        places: dict[str, list[str]] = {}
        for environment in comparison.environments:
            if words := _values(comparison, comparison.runs_of(environment), key):
                places.setdefault(words, []).append(environment.label)
        where = (f"{words} in {_listed(labels)}" for words, labels in places.items())
        parts.append(f"{setting_name(key)} ({', '.join(where)})")
    return "; ".join(parts) + "."


def _values(comparison: Comparison, runs: Iterable[RunTable], key: str) -> str:
    """The values that a setting has in some runs, told apart from all that it has."""
    digits = digits_apart(_seen(comparison.used, key))
    named = key == "objective.name"
    words = (
        objective_words(str(value)) if named else value_words(value, digits) for value in _seen(runs, key)
    )
    return " / ".join(sorted(words))


def _seen(runs: Iterable[RunTable], key: str) -> set[Value]:
    return {run.config[key] for run in runs if key in run.config}


def _listed(labels: Sequence[str]) -> str:
    return " and ".join(labels) if len(labels) <= NAMED else f"{len(labels)} environments"


def _same_footing(comparison: Comparison) -> Iterable[str]:
    """Different packages, evaluation protocols and foreign runs."""
    runs = comparison.used
    versions: dict[str, set[str]] = {}
    for run in runs:
        for facts in (run.meta, *run.meta.get("updates", ())):
            for package, version in facts.get("versions", {}).items():
                versions.setdefault(package, set()).add(str(version))
    for package, seen in sorted(versions.items()):
        if len(seen) > 1:
            yield f"Runs used different versions of {package}: {', '.join(sorted(seen))}."
    for key in sorted(
        {key for run in runs for key in run.config if key.startswith("eval.") and key != "eval.interval"}
    ):
        if len(values := _seen(runs, key)) > 1:
            yield f"Evaluation protocols differ: {key} is {', '.join(sorted(map(str, values)))}."
    changed = [(run, change) for run in runs for change in _changes(run)]
    if changed:
        count = len({run.path for run, _ in changed})
        settings = ", ".join(sorted({change for _, change in changed}))
        yield f"{count} of the runs went on with other settings than they began with ({settings})."
    if foreign := sum(_is_foreign(run) for run in runs):
        yield (
            f"{foreign} runs were imported from TensorBoard; their evaluation protocol and settings are "
            "not known."
        )
    if comparison.metric.table == "metrics":
        noise = ": it includes exploration noise, of which groups may keep different amounts"
        played = comparison.metric.column.startswith("train/")
        yield (
            f"{comparison.metric.title} comes from training, not from evaluation episodes{noise * played}."
        )


def _resolution(comparison: Comparison) -> Iterable[str]:
    """Where runs of an environment were evaluated at different intervals."""
    for environment in comparison.environments:
        if comparison.metric.table != "eval" or environment.threshold is None:
            continue
        seen = _seen(comparison.runs_of(environment), "eval.interval")
        intervals = counts_apart(*sorted(value for value in seen if isinstance(value, int)))
        words = [f"every {interval} steps" for interval in intervals] + ["only at the end"] * (None in seen)
        if len(words) > 1:
            yield (
                f"{environment.label}: runs were evaluated {' and '.join(words)}, so steps to the threshold "
                "and efficiency are only as fine as the coarser."
            )


def _changes(run: RunTable) -> list[str]:
    """Settings that were changed on the way; a longer budget is one where the learning rate runs over it."""
    constant = run.config.get("agent.update.lr_schedule") == "constant"
    changes = [str(change) for update in run.meta.get("updates", ()) for change in update.get("changes", ())]
    return [change for change in changes if not (constant and change.startswith("total_steps:"))]


def _is_foreign(run: RunTable) -> bool:
    return "imported_from" in run.meta


def _missing(comparison: Comparison) -> Iterable[str]:
    for arm in comparison.arms:
        there = {cell.environment.label for cell in comparison.by_arm(arm)}
        if missing := [env.label for env in comparison.scaled if env.label not in there]:
            yield (
                f"{arm.label} has no runs in {', '.join(missing)}, so it is in no aggregate over "
                "environments."
            )


def _apart(comparison: Comparison) -> Iterable[str]:
    """Bootstrap intervals have no width where no resample can change the order of two arms."""
    for arm, baseline in comparison.baselines.items():
        for environment in comparison.environments:
            own = comparison.cells.get((environment.label, arm))
            other = comparison.cells.get((environment.label, baseline))
            if (
                own
                and other
                and own is not other
                and _separate(own, other)
                and min(len(own.runs), len(other.runs)) > 1
            ):
                yield (
                    "Where every run of one group ends above every run of the other, the bootstrap "
                    "interval of P(better) "
                    "is a single point; that is a limit of so few runs, not certainty."
                )
                return


def _separate(own: Cell, other: Cell) -> bool:
    return bool(own.finals.min() > other.finals.max() or own.finals.max() < other.finals.min())


def _single_points(comparison: Comparison) -> Iterable[str]:
    metric = comparison.metric
    for environment in comparison.environments:
        if len(environment.grid) > 1:
            continue
        runs = comparison.runs_of(environment)
        if metric.table == "eval" and all(len(run.column("eval", metric.column)[0]) == 1 for run in runs):
            yield (
                f"{environment.label}: each run has only one evaluation, so its curve is a single point; "
                "lower eval.interval, or use --metric train/return."
            )
        else:
            yield f"{environment.label}: the runs have only one step in common, so curves are single points."


def _scale(comparison: Comparison, whole: bool) -> Iterable[str]:
    yield (
        f"Final value: mean of {comparison.metric.title} over the last {FINAL_SHARE:.0%} of the common "
        "range of steps "
        f"({comparison.metric.source})."
    )
    for environment in comparison.environments:
        if not environment.scaled:
            yield (
                f"{environment.label}: all values are {number_words(environment.low)}, so there is no "
                "scale; it is in no aggregate over environments and in no performance profile, and "
                "has no gap and no threshold but one of --threshold."
            )
    if comparison.metric.is_rate:
        if whole or len(comparison.scaled) > 1:
            yield "Normalised score: the rate itself, 0 to 1."
    elif comparison.scaled and (whole or len(comparison.scaled) > 1 or _by_the_scale(comparison)):
        scales = "; ".join(f"{env.label} {env.low:.4g} to {env.high:.4g}" for env in comparison.scaled)
        yield (
            "Normalised score: 0 is the lowest and 1 the highest value that any of these runs shows in "
            "that environment "
            f"({scales}), so it holds within this comparison only."
        )
    thresholds = [
        f"{env.label} {env.threshold:.4g}" for env in comparison.environments if env.threshold is not None
    ]
    if thresholds:
        yield f"Threshold for sample efficiency: {'; '.join(thresholds)}."


def _by_the_scale(comparison: Comparison) -> bool:
    """Whether a threshold is the middle of the normalised scale."""
    return any(env.threshold == env.middle for env in comparison.scaled)
