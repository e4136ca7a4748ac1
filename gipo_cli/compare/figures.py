"""All figures of a report, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gipo_cli.compare import figures_finals, figures_frontier, figures_health, figures_time, figures_versus
from gipo_cli.compare.canvas import Picture
from gipo_cli.compare.comparison import Comparison

FIGURES: tuple[Callable[[Comparison], Iterator[Picture]], ...] = (
    figures_finals.final_vs_buffer,
    figures_time.learning_curves,
    figures_finals.final_scores,
    figures_finals.final_vs_lag,
    figures_finals.sample_efficiency,
    figures_versus.probability_of_improvement,
    figures_versus.performance_profiles,
    figures_health.data_health,
    figures_health.utilisation_by_lag,
    figures_frontier.bias_variance,
    figures_frontier.best_setting,
    figures_time.wall_time,
)
"""Each yields the figures of its kind for which the runs have data; `style.RC` must be in force."""
