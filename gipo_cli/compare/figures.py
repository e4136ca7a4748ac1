"""All figures of a report, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from gipo_cli.compare import figures_groups, figures_probe, figures_time
from gipo_cli.compare.canvas import Sheet
from gipo_cli.compare.comparison import Comparison
from gipo_cli.compare.style import RC, Look, variant_looks


class Picture(NamedTuple):
    """A figure with its file name (no ending), title and caption."""

    name: str
    title: str
    caption: str
    figure: Figure


class Kind(NamedTuple):
    """A kind of figure; ``draw`` yields one for each place with data, and its docstring is the caption."""

    title: str
    draw: Callable[[Comparison, Mapping[str, Look]], Iterator[Sheet]]

    @property
    def name(self) -> str:
        """The beginning of its file names."""
        return self.draw.__name__

    def pictures(self, comparison: Comparison) -> Iterator[Picture]:
        """The figures of this kind, in the common style."""
        words = " ".join(str(self.draw.__doc__).split())
        look = variant_looks((arm.objective, arm.series) for arm in comparison.arms)
        # A label may hold a dollar sign.
        with mpl.rc_context({**RC, "text.parse_math": False}):
            for sheet in self.draw(comparison, look):
                title = f"{self.title}: {sheet.place}" if sheet.place else self.title
                caption = f"{words} {sheet.remark}".strip()
                yield Picture(f"{self.name}{sheet.ending}", title, caption, sheet.figure)


FIGURES = (
    Kind("Final value against buffer size", figures_groups.final_vs_buffer),
    Kind("Learning curves", figures_time.learning_curves),
    Kind("Final value", figures_groups.final_scores),
    Kind("Final value against policy lag", figures_groups.final_vs_lag),
    Kind("Sample efficiency", figures_groups.sample_efficiency),
    Kind("Probability of improvement", figures_groups.probability_of_improvement),
    Kind("Performance profiles", figures_groups.performance_profiles),
    Kind("Health of the data", figures_time.data_health),
    Kind("Utilisation against lag", figures_time.utilisation_by_lag),
    Kind("Bias and variance", figures_probe.bias_variance),
    Kind("Best setting over time", figures_probe.best_setting),
    Kind("Wall time", figures_time.wall_time),
)
