"""What a comparison is of, and what came out, in words that stand on top of a report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from gipo_cli.compare import words
from gipo_cli.compare.aggregate import Interval
from gipo_cli.compare.comparison import Comparison
from gipo_cli.compare.notes import ENOUGH_SEEDS, values_words
from gipo_cli.compare.summary import ALL, NO_DIFFERENCE, Row, interval_words
from gipo_cli.settings.schema import keys_that_change

NAMED = 4
"""Groups and environments that a title names; more are counted."""
SIDE = tuple(f"{key}." for key in keys_that_change("draw", "scores", "origin", "nothing"))


def title(comparison: Comparison) -> str:
    """Who is compared, where and by what."""
    groups = _some([arm.label for arm in comparison.arms], "groups", " and ")
    places = _some([environment.label for environment in comparison.environments], "environments", ", ")
    return f"{groups} on {places}: {comparison.metric.title}"


def _some(names: Sequence[str], what: str, between: str) -> str:
    return between.join(names) if len(names) <= NAMED else f"{len(names)} {what}"


def verdicts(comparison: Comparison, rows: Sequence[Row]) -> list[str]:
    """One sentence per comparison with the baseline, those over all environments first."""
    found = [
        _verdict(row, row.difference, f"final {comparison.metric.title}")
        for row in sorted(rows, key=lambda row: row.environment != ALL)
        if row.rival and row.difference
    ]
    return found or [*_best(comparison, rows)]


def _verdict(row: Row, difference: Interval, metric: str) -> str:
    ours, theirs = row.iqm.value, row.iqm.value - difference.value
    numbers = f"{metric} {words.number_words(ours)} against {words.number_words(theirs)}"
    pair, place = (
        f"{row.arm.label} and {row.rival}",
        f"over {ALL}" if row.environment == ALL else f"on {row.environment}",
    )
    if row.improvement is None:
        return f"{pair} cannot be compared {place} with a single run in a group ({numbers})."
    evidence = f"{numbers}, difference {interval_words(difference)}, {row.n} runs"
    # A warning stands where few seeds make the intervals too narrow.
    few = (
        f"; fewer than {ENOUGH_SEEDS} seeds, so believe it only after more"
        if row.fewest < ENOUGH_SEEDS
        else ""
    )
    if row.improvement.includes(NO_DIFFERENCE):
        return f"{pair} cannot be told apart {place} ({evidence})."
    how = "higher" if row.improvement.low > NO_DIFFERENCE else "lower"
    return f"{row.arm.label} ends {how} than {row.rival} {place} ({evidence}{few})."


def _best(comparison: Comparison, rows: Sequence[Row]) -> Iterator[str]:
    """Without a baseline: the group that ends highest, by environment."""
    by_place: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_place[row.environment].append(row)
    for place, own in by_place.items():
        best = max(own, key=lambda row: row.iqm.value)
        among = f", the highest of {len(own)} groups" if len(own) > 1 else ""
        numbers = f"{comparison.metric.title} {interval_words(best.iqm)}"
        yield f"{best.arm.label} ends at {numbers} on {place}{among} ({best.n} run{'s' * (best.n > 1)})."


def settings(comparison: Comparison) -> tuple[dict[str, str], dict[str, str]]:
    """Settings in common and those compared, as text by dotted key, without those that change no result."""
    grouping, used = comparison.grouping, comparison.used
    keys = dict.fromkeys(key for run in used for key in run.config if not f"{key}.".startswith(SIDE))
    shared = [key for key in keys if all(key in run.config for run in used)]
    # Parameters that only some objectives have set groups apart, too.
    own = [key for key in keys if key.startswith("objective.") and key not in shared]
    compared = dict.fromkeys([*grouping.keys, *own, *grouping.tied, *grouping.pooled, *grouping.between])
    common = [key for key in shared if key not in compared and len(words.seen(used, key)) == 1]
    return (
        {key: values_words(comparison, used, key) for key in common},
        {key: values_words(comparison, used, key) for key in compared},
    )


def versions(comparison: Comparison) -> str:
    """The packages that trained the runs."""
    found: dict[str, set[str]] = defaultdict(set)
    for run in comparison.used:
        for package, version in run.versions:
            found[package].add(version)
    return ", ".join(f"{package} {' / '.join(sorted(own))}" for package, own in sorted(found.items()))
