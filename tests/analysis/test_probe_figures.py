"""Figures of a run's probes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gipo_cli.analysis.probe import REFERENCES, ProbeRow
from gipo_cli.analysis.probe_figures import best_knobs, frontiers
from gipo_cli.compare.style import LOOKS, RC

FAMILIES = ("no_clip", "ppo_dual_clip", "cispo", "spo", "gipo", "ppo_clip", "sapo", "tis")


def row(reference: str, family: str, value: float, bias2: float) -> ProbeRow:
    known: dict[str, Any] = dict.fromkeys((field.name for field in fields(ProbeRow)), 1.0)
    known |= {"reference": reference, "family": family, "knob": "x", "value": value, "bias2": bias2}
    return ProbeRow(**{**known, "bias2_se": 0.1, "variance": 10 * value, "trained": family == "gipo"})


def found(steps: int) -> dict[int, list[ProbeRow]]:
    """Of every family four knob values, of which the second has no visible bias."""
    biases = {1.0: 0.5, 2.0: -0.5, 3.0: 2.0, 4.0: 4.0}
    rows = [row(r, f, value, bias) for r in REFERENCES for f in FAMILIES for value, bias in biases.items()]
    return {1000 * (index + 1): rows for index in range(steps)}


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("draw", [frontiers, best_knobs])
def test_the_legend_is_whole_and_beside_nothing(steps: int, draw: Any) -> None:
    with mpl.rc_context(RC):
        figure = draw(found(steps), LOOKS)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        box = figure.legends[0].get_window_extent(canvas.get_renderer())
        panels = [axis.get_tightbbox(canvas.get_renderer()) for axis in figure.axes]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(FAMILIES) <= set(labels)
    assert {"in training", "bias² ≤ 0"} <= set(labels) or draw is best_knobs
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y0 >= 0
    assert not any(panel is not None and box.overlaps(panel) for panel in panels)
    assert all(axis.bbox.height > 0.2 * figure.bbox.height for axis in figure.axes)


def test_no_line_leads_to_a_point_at_the_edge() -> None:
    axis = frontiers(found(1), LOOKS).axes[0]
    line = next(line for line in axis.lines if line.get_label() == "gipo")
    x, y = line.get_data()
    assert np.isnan(y).tolist() == [False, True, False, False]
    assert x[0] == 0.5
    (hollow,) = (h for h in axis.lines if h.get_mfc() == "white" and h.get_color() == LOOKS["gipo"][0])
    assert (hollow.get_xdata().item(), hollow.get_ydata().item()) == (0.25, 20.0)
