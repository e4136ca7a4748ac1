"""All figures of a report, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from gipo_cli.compare import figures_groups, figures_probe, figures_time
from gipo_cli.compare.canvas import Sheet
from gipo_cli.compare.comparison import Comparison
from gipo_cli.compare.style import RC, Look, looks

AGAINST = "Marker: interquartile mean over seeds; bar: 95% bootstrap interval; dots: every run."
OTHER_SETTINGS = (
    "A run measures its own objective with its own other settings, the others with their defaults; each such "
    "variant is a line, from the data of the runs that measured it."
)
OVERFLOW = "A measurement that overflowed counts as infinite."


class Picture(NamedTuple):
    """A figure with its file name (no ending), title and caption."""

    name: str
    title: str
    caption: str
    figure: Figure


class Kind(NamedTuple):
    """A kind of figure; ``draw`` yields one for each place for which the runs have data."""

    title: str
    caption: str
    draw: Callable[[Comparison, Mapping[str, Look]], Iterator[Sheet]]

    @property
    def name(self) -> str:
        """The beginning of its file names."""
        return self.draw.__name__

    def pictures(self, comparison: Comparison) -> Iterator[Picture]:
        """The figures of this kind, in the common style."""
        # A label may hold a dollar sign.
        with mpl.rc_context({**RC, "text.parse_math": False}):
            for sheet in self.draw(comparison, looks(comparison.arms)):
                title = f"{self.title}: {sheet.place}" if sheet.place else self.title
                caption = f"{self.caption} {sheet.remark}".strip()
                yield Picture(f"{self.name}{sheet.ending}", title, caption, sheet.figure)


FIGURES = (
    Kind("Final value against buffer size", AGAINST, figures_groups.final_vs_buffer),
    Kind(
        "Learning curves",
        "Thick: interquartile mean over seeds; shaded: its 95% bootstrap interval; thin: every run. "
        "Cut to the range of steps that all runs cover.",
        figures_time.learning_curves,
    ),
    Kind(
        "Final value",
        "Marker: interquartile mean over seeds; bar: 95% bootstrap interval; ticks: every run.",
        figures_groups.final_scores,
    ),
    Kind(
        "Final value against measured policy lag",
        f"{AGAINST} Lag is the mean over training of learner version minus behaviour version.",
        figures_groups.final_vs_lag,
    ),
    Kind(
        "Sample efficiency",
        "One marker per run at the first evaluation that reaches the threshold; a cross beyond the "
        "dotted end of training is a run that never does.",
        figures_groups.sample_efficiency,
    ),
    Kind(
        "Probability of improvement",
        "Probability that a run of the first group ends higher than one of the second, ties counted "
        "half, with its 95% bootstrap interval. An interval that holds 0.5 (dotted) includes no "
        "difference.",
        figures_groups.probability_of_improvement,
    ),
    Kind(
        "Performance profiles",
        "Share of runs whose normalised final value exceeds τ, with pointwise 95% bootstrap bands.",
        figures_groups.performance_profiles,
    ),
    Kind(
        "Health of the data",
        "Line: interquartile mean over seeds; shaded: lowest to highest seed. Utilisation is the share of "
        "samples whose gradient coefficient exceeds 0.01.",
        figures_time.data_health,
    ),
    Kind(
        "Utilisation against lag",
        "Interquartile mean over seeds of each run's mean over training, by age of the samples.",
        figures_time.utilisation_by_lag,
    ),
    Kind(
        "Bias and variance",
        "Median over runs and measurements of that third of training; one line per objective over "
        f"its parameter. {OTHER_SETTINGS} "
        "A hollow marker on the left edge is a squared bias estimated at or below zero: too small "
        f"to be measured. {OVERFLOW}",
        figures_probe.bias_variance,
    ),
    Kind(
        "Best setting over time",
        "Of a line's settings that all of its runs measured, the one whose estimated mean squared "
        "error at the batch size in use is lowest (median over runs); none if all are alike, as on "
        f"fresh data. {OTHER_SETTINGS} {OVERFLOW}",
        figures_probe.best_setting,
    ),
    Kind(
        "Wall time",
        "Every run as one line. Times depend on the machine and on what else it did.",
        figures_time.wall_time,
    ),
)
