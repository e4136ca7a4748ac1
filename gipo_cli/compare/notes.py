"""What a reader must know before believing a figure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from gipo_cli.compare import words
from gipo_cli.compare.comparison import LEARNED, Comparison, Environment
from gipo_cli.compare.curves import FINAL_SHARE
from gipo_cli.compare.load import Run

ENOUGH_SEEDS = 5
ENOUGH_STEPS = 0.99
"""Share of the longest run that is compared without a word about the shortest."""
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

    ``whole`` is for all columns and figures, not for the short table of the terminal.
    """
    return [
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


def _seeds(comparison: Comparison) -> Iterator[str]:
    if note := seeds_note(comparison.fewest_seeds):
        yield note
    counts = {len(cell.runs) for cell in comparison.cells.values()}
    if min(counts) == 1:
        yield (
            "A group with a single run has no P(better) and no performance profile: which of two runs ends "
            "higher is chance."
        )
    if len(counts) > 1:
        yield f"Groups have different numbers of seeds, from {min(counts)} to {max(counts)}."


def _left_out(comparison: Comparison) -> Iterator[str]:
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
        counted = ", ".join(f"{count} {state}" for state, count in sorted(unfinished.items()))
        yield f"Runs that are not finished are included as asked for: {counted}."
    for environment in comparison.environments:
        budgets = {run.budget for run in comparison.runs_of(environment)}
        if len(budgets) > 1 or unfinished:
            *given, end = words.counts_apart(*sorted(budgets), environment.horizon)
            yield f"{environment.label}: budgets of {' and '.join(given)} steps, all cut at {end}."
        yield from _shortest(comparison, environment)


def _shortest(comparison: Comparison, environment: Environment) -> Iterator[str]:
    """Which run sets the range of steps that all are cut to."""
    metric = comparison.metric
    last = {
        run.path: float(run.column(metric.table, metric.column)[0][-1])
        for run in comparison.runs_of(environment)
    }
    first, furthest = min(last, key=last.__getitem__), max(last.values())
    if last[first] < ENOUGH_STEPS * furthest:
        others = sum(step == last[first] for step in last.values()) - 1
        more = f" (and {others} more)" if others else ""
        end, rest = words.counts_apart(last[first], furthest)
        yield (
            f"{environment.label}: everything is compared up to step {end}, where {first.name}{more} ends; "
            f"others go on to {rest}."
        )


def _arms(comparison: Comparison) -> Iterator[str]:
    grouping, used = comparison.grouping, comparison.used
    if len(comparison.arms) == 1 and len(used) > 1:
        yield "Nothing to compare: all runs have one configuration and differ in their seed only."
    for keys, text in (
        (grouping.tied, "Settings that change together with those in the labels"),
        (grouping.pooled, "Settings that differ within a group, as the grouping was chosen"),
    ):
        if keys:
            listed = (f"{words.setting_name(key)} ({values_words(comparison, used, key)})" for key in keys)
            yield f"{text}: {'; '.join(listed)}."
    if grouping.between:
        listed = (_by_environment(comparison, key) for key in grouping.between)
        yield f"Settings of a group that differ between environments: {'; '.join(listed)}."
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


def _by_environment(comparison: Comparison, key: str) -> str:
    places: dict[str, list[str]] = defaultdict(list)
    for environment in comparison.environments:
        if values := values_words(comparison, comparison.runs_of(environment), key):
            places[values].append(environment.label)
    where = (f"{values} in {_listed(labels)}" for values, labels in places.items())
    return f"{words.setting_name(key)} ({', '.join(where)})"


def values_words(comparison: Comparison, runs: Iterable[Run], key: str) -> str:
    """The values that a setting has in some runs, told apart from all that it has."""
    digits = words.digits_apart(words.seen(comparison.used, key))
    if key == "objective.name":
        return " / ".join(sorted(words.objective_words(str(value)) for value in words.seen(runs, key)))
    return " / ".join(sorted(words.value_words(value, digits) for value in words.seen(runs, key)))


def _listed(labels: Sequence[str]) -> str:
    return " and ".join(labels) if len(labels) <= NAMED else f"{len(labels)} environments"


def _same_footing(comparison: Comparison) -> Iterator[str]:
    """Different packages, evaluation protocols and foreign runs."""
    runs, metric = comparison.used, comparison.metric
    versions: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        for package, version in run.versions:
            versions[package].add(version)
    for package, own in sorted(versions.items()):
        if len(own) > 1:
            yield f"Runs used different versions of {package}: {', '.join(sorted(own))}."
    protocol = {key for run in runs for key in run.config if key.startswith("eval.")} - {"eval.interval"}
    for key in sorted(protocol):
        if len(values := words.seen(runs, key)) > 1:
            yield f"Evaluation protocols differ: {key} is {', '.join(sorted(map(str, values)))}."
    if changes := [found for run in runs if (found := _changes(run))]:
        listed = ", ".join(sorted({change for own in changes for change in own}))
        yield f"{len(changes)} of the runs went on with other settings than they began with ({listed})."
    if foreign := sum(run.imported for run in runs):
        yield (
            f"{foreign} runs were imported from TensorBoard; their evaluation protocol and settings are "
            "not known."
        )
    if any(run.config.get("actors.kind", "inline") != "inline" for run in runs):
        whose = "from evaluations of the learner"
        if metric.column.startswith("train/"):
            whose = "of those: leave --metric out, which compares by evaluations of the learner"
        yield f"Policies older than the learner collect in some runs; {metric.title} is {whose}."
    if metric.table == "metrics":
        noise = ": it includes exploration noise, of which groups may keep different amounts"
        played = metric.column.startswith("train/")
        yield f"{metric.title} comes from training, not from evaluation episodes{noise * played}."


def _resolution(comparison: Comparison) -> Iterator[str]:
    """Runs of an environment that were evaluated at different intervals."""
    for environment in comparison.environments:
        if comparison.metric.table != "eval" or environment.threshold is None:
            continue
        own = words.seen(comparison.runs_of(environment), "eval.interval")
        intervals = words.counts_apart(*sorted(value for value in own if isinstance(value, int)))
        told = [f"every {interval} steps" for interval in intervals] + ["only at the end"] * (None in own)
        if len(told) > 1:
            yield (
                f"{environment.label}: runs were evaluated {' and '.join(told)}, so steps to the threshold "
                "and efficiency are only as fine as the coarser."
            )


def _changes(run: Run) -> list[str]:
    """Settings that were changed on the way; a longer budget is one if the learning rate runs over it."""
    constant = run.config.get("agent.update.lr_schedule") == "constant"
    return [change for change in run.changes if not (constant and change.startswith("total_steps:"))]


def _missing(comparison: Comparison) -> Iterator[str]:
    for arm in comparison.arms:
        there = {cell.environment.label for cell in comparison.by_arm(arm)}
        if missing := [env.label for env in comparison.scaled if env.label not in there]:
            yield (
                f"{arm.label} has no runs in {', '.join(missing)}, so it is in no aggregate over "
                "environments."
            )


def _apart(comparison: Comparison) -> Iterator[str]:
    """Bootstrap intervals have no width if no resample can change the order of two arms."""
    for (label, arm), own in comparison.cells.items():
        other = comparison.cells.get((label, comparison.baselines.get(arm, arm)))
        if other is None or other is own or min(len(own.runs), len(other.runs)) < 2:
            continue
        if own.finals.min() > other.finals.max() or own.finals.max() < other.finals.min():
            yield (
                "Where every run of one group ends above every run of the other, the bootstrap interval of "
                "P(better) is a single point; that is a limit of so few runs, not certainty."
            )
            return


def _single_points(comparison: Comparison) -> Iterator[str]:
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


def _scale(comparison: Comparison, whole: bool) -> Iterator[str]:
    metric, scaled = comparison.metric, comparison.scaled
    yield (
        f"Final value: mean of {metric.title} over the last {FINAL_SHARE:.0%} of the common range of steps "
        f"({metric.source})."
    )
    for environment in comparison.environments:
        if not environment.scaled:
            yield (
                f"{environment.label}: all values are {words.number_words(environment.low)}, so there is no "
                "scale; it is in no aggregate over environments and in no performance profile, and "
                "has no gap and no threshold but one of --threshold."
            )
        elif environment.threshold is None:
            yield (
                f"{environment.label}: no group ends above where the runs began, so there is no threshold "
                "but one of --threshold."
            )
    used = whole or len(scaled) > 1
    if metric.is_rate and used:
        yield "Normalised score: the rate itself, 0 to 1."
    if not metric.is_rate and scaled and used:
        scales = "; ".join(f"{env.label} {env.low:.4g} to {env.high:.4g}" for env in scaled)
        yield (
            "Normalised score: 0 is the lowest and 1 the highest value that any of these runs shows in "
            f"that environment ({scales}), so it holds within this comparison only."
        )
    thresholds = [_threshold(env) for env in comparison.environments if env.threshold is not None]
    if thresholds:
        yield f"Threshold for sample efficiency: {'; '.join(thresholds)}."


def _threshold(environment: Environment) -> str:
    text = f"{environment.label} {environment.threshold:.4g}"
    if environment.way is None:
        return text
    start, best = environment.way
    return (
        f"{text} ({LEARNED:.0%} of the way from {start:.4g}, where the runs begin, to {best:.4g}, where the "
        "best group ends)"
    )
