"""What figures contain: lines, labels and counts."""

import colorsys
import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from synthetic_runs import write_study

from gipo_cli.compare import figures_frontier, figures_scores, figures_time, figures_versus, style
from gipo_cli.compare.comparison import build_comparison
from gipo_cli.compare.figures import FIGURES
from gipo_cli.compare.load import find_runs, load_runs
from gipo_cli.compare.metric import Metric


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_study(root)
    runs, _ = load_runs(find_runs([str(root)]), extra_column="")
    return build_comparison(runs, Metric("eval", "success"), threshold=0.7)


def draw(make, comparison):
    with mpl.rc_context(style.RC):
        return list(make(comparison))


def legend(picture):
    return [text.get_text() for text in picture.figure.legends[0].get_texts()]


def test_learning_curves_show_every_run_and_every_group(comparison):
    (picture,) = draw(figures_time.learning_curves, comparison)
    axes = picture.figure.axes
    assert [panel.get_title() for panel in axes] == ["buffer 2k", "buffer 20k"]
    for panel, buffer in zip(axes, (2000, 20_000), strict=True):
        drawn = [line.get_label() for line in panel.lines]
        assert drawn.count("_run") == 6
        assert [label for label in drawn if label != "_run"] == ["GIPO", "PPO-clip"]
        cell = next(
            c for c in comparison.cells.values() if c.arm.buffer == buffer and c.arm.objective == "gipo"
        )
        line = next(line for line in panel.lines if line.get_label() == "GIPO")
        np.testing.assert_allclose(line.get_ydata(), cell.curves.mean(axis=0))
        assert len(panel.collections) == 2
    assert legend(picture) == ["GIPO (n=3)", "PPO-clip (n=3)"]


def test_few_seeds_are_said_on_the_figures(comparison):
    for make in (
        figures_time.learning_curves,
        figures_scores.final_vs_buffer,
        figures_versus.performance_profiles,
    ):
        (picture,) = draw(make, comparison)
        assert "Only 3 seeds" in picture.figure.get_suptitle()


def test_final_against_buffer_has_one_line_per_objective_and_a_tick_per_size(comparison):
    (picture,) = draw(figures_scores.final_vs_buffer, comparison)
    (panel,) = picture.figure.axes
    assert [text.get_text() for text in panel.get_xticklabels()] == ["2k", "20k"]
    lines = [line for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linestyle() != "None"]
    assert len(lines) == 2
    finals = [[cell.finals.mean() for cell in comparison.cells.values() if cell.arm.objective == name]
              for name in ("gipo", "ppo_clip")]  # fmt: skip
    np.testing.assert_allclose([line.get_ydata() for line in lines], finals)
    assert panel.get_xscale() == "log"


def test_final_against_lag_stands_at_the_measured_lag(comparison):
    (picture,) = draw(figures_scores.final_vs_lag, comparison)
    (panel,) = picture.figure.axes
    line = next(line for line in panel.lines if len(line.get_xdata()) == 2)
    np.testing.assert_allclose(line.get_xdata(), [2, 20], rtol=0.05)


def test_runs_that_never_reach_the_threshold_are_drawn_and_counted(comparison):
    (picture,) = draw(figures_scores.sample_efficiency, comparison)
    panel = picture.figure.axes[0]
    cells = list(comparison.of(comparison.environments[0]))
    never = [line for line in panel.lines if line.get_label() == "never"]
    assert [len(line.get_xdata()) for line in never] == [int(np.isinf(cell.reached).sum()) for cell in cells]
    assert sum(len(line.get_xdata()) for line in never) > 0
    assert all(x > 100_000 for line in never for x in line.get_xdata())
    (counts,) = panel.child_axes
    texts = [text.get_text() for text in counts.get_yticklabels()]
    assert texts == [f"{np.isfinite(cell.reached).sum()} of 3" for cell in cells]


def test_probability_of_improvement_has_one_row_per_group_with_a_baseline(comparison):
    (picture,) = draw(figures_versus.probability_of_improvement, comparison)
    (panel,) = picture.figure.axes
    assert [text.get_text() for text in panel.get_yticklabels()] == ["GIPO, buffer 2k", "GIPO, buffer 20k"]
    assert panel.get_xlabel() == "P(better than PPO-clip)"
    assert len(panel.containers) == 2


def test_profiles_fall_from_one_to_zero(comparison):
    (picture,) = draw(figures_versus.performance_profiles, comparison)
    for panel in picture.figure.axes:
        for line in panel.lines:
            values = np.asarray(line.get_ydata())
            assert values[0] == 1
            assert (np.diff(values) <= 0).all()


def test_health_shows_four_quantities_for_both_buffers(comparison):
    (picture,) = draw(figures_time.data_health, comparison)
    panels = picture.figure.axes
    assert [panel.get_ylabel() for panel in panels[::2]] == [
        "utilisation", "effective sample size", "KL(behaviour || policy)", "mean lag (updates)"
    ]  # fmt: skip
    assert {len(panel.lines) for panel in panels} == {2}


def test_frontier_has_a_line_per_family_and_a_hollow_point_for_no_measurable_bias(comparison):
    (picture,) = draw(figures_frontier.bias_variance, comparison)
    assert len(picture.figure.axes) == 4
    panel = picture.figure.axes[0]
    assert [line.get_label() for line in panel.lines if not line.get_label().startswith("_")] == [
        "gipo", "no_clip", "ppo_clip", "sapo"
    ]  # fmt: skip
    points = [line for line in panel.lines if line.get_label().startswith("_")]
    assert len(points) == 5 + 1 + 4 + 3
    assert [line.get_fillstyle() for line in points].count("none") == 1


def test_a_single_measurement_in_the_middle_makes_no_frontier(tmp_path):
    folders = write_study(tmp_path, buffers=(2000,))
    for folder in folders:
        lines = (folder / "diagnostics.csv").read_text().splitlines(keepends=True)
        header, each = lines[0], (len(lines) - 1) // 6
        (folder / "diagnostics.csv").write_text(header + "".join(lines[1 + 2 * each : 1 + 3 * each]))
    runs, _ = load_runs(find_runs([str(tmp_path)]), extra_column="")
    comparison = build_comparison(runs, Metric("eval", "success"))
    assert draw(figures_frontier.bias_variance, comparison) == []
    assert len(draw(figures_frontier.best_setting, comparison)) == 1


def test_best_setting_is_the_one_of_least_error(comparison):
    (picture,) = draw(figures_frontier.best_setting, comparison)
    lines = {line.get_label(): line.get_ydata() for line in picture.figure.axes[0].lines}
    # The bias grows over training in the fixture, so less trust region is better and better.
    assert list(lines) == ["gipo", "ppo_clip", "sapo"]
    for k, best in enumerate(lines["gipo"]):
        error = {s: 1e-3 / (1 + s) ** 2 * (1 + k) + (1 + s) / 512 for s in (0.1, 0.2, 0.5, 1.0, 2.0)}
        assert best == min(error, key=error.get)


def test_utilisation_by_lag_leaves_empty_buckets_empty(comparison):
    (picture,) = draw(figures_frontier.utilisation_by_lag, comparison)
    small, large = (panel.lines[0].get_ydata() for panel in picture.figure.axes)
    assert np.isfinite(small).tolist() == [True, True, False, False, False]
    assert np.isfinite(large).tolist() == [True, True, True, True, False]
    np.testing.assert_allclose(large[:4], 0.95 ** np.arange(1, 5))


def test_wall_time_has_one_line_per_run(comparison):
    (picture,) = draw(figures_time.wall_time, comparison)
    assert [len(panel.lines) for panel in picture.figure.axes] == [6, 6]


@pytest.mark.parametrize("make", FIGURES, ids=lambda make: make.__name__)
def test_no_text_is_cut_or_overlaps_another(comparison, make):
    for picture in draw(make, comparison):
        picture.figure.draw_without_rendering()
        page = picture.figure.bbox
        for axis in (axis for panel in picture.figure.axes for axis in (panel.xaxis, panel.yaxis)):
            boxes = [
                label.get_window_extent()
                for label in axis.get_ticklabels()
                if label.get_text() and label.get_visible() and _within(label, axis)
            ]
            assert all(page.x0 <= box.x0 and box.x1 <= page.x1 for box in boxes)
            assert all(page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
            assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def _within(label, axis):
    low, high = sorted(axis.get_view_interval())
    place = label.get_position()[0 if axis.axis_name == "x" else 1]
    return low <= place <= high


class TestStyle:
    def test_every_objective_has_its_own_look(self):
        from gipo_cli.core.params import PARAMS

        looks = [style.base_look(name) for name in PARAMS]
        for part in zip(*looks, strict=True):
            assert len(set(part)) == len(looks)

    def test_looks_do_not_depend_on_what_else_is_compared(self, comparison):
        some = [arm for arm in comparison.arms if arm.objective == "ppo_clip"]
        assert style.looks(some)["PPO-clip"] == style.looks(comparison.arms)["PPO-clip"]

    def test_colours_stand_out_from_paper_in_light_and_dark(self):
        for color, _, _ in style.LOOKS.values():
            assert contrast(color, "#fefefe") >= 2.2
            assert contrast(color, "#191a1e") >= 2.2

    def test_main_colours_differ_for_red_green_blind_readers(self):
        seen = [deuteranope(style.LOOKS[name][0]) for name in ("gipo", "ppo_clip", "sapo", "no_clip")]
        for one, other in itertools.combinations(seen, 2):
            assert np.abs(one - other).max() > 0.15

    def test_variants_of_one_objective_keep_its_hue(self):
        hues = {colorsys.rgb_to_hls(*to_rgb(style._shade("#0072b2", i, 5)))[0] for i in range(5)}
        assert max(hues) - min(hues) < 0.02


def luminance(color):
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot(parts, (0.2126, 0.7152, 0.0722)))


def contrast(one, other):
    """WCAG 2 contrast ratio."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def deuteranope(color):
    """What a reader without green cones sees (Machado et al., 2009, severity 1)."""
    matrix = [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
    return np.clip(np.array(matrix) @ to_rgb(color), 0, 1)
