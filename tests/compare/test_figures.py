"""What figures contain: lines, labels and counts."""

import colorsys
import itertools

import numpy as np
import pytest
import yaml
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from synthetic_runs import config, write_diagnostics, write_metrics, write_run, write_study

from gipo_cli.compare import report, style
from gipo_cli.compare.canvas import log_axis
from gipo_cli.compare.comparison import build_comparison
from gipo_cli.compare.figures import FIGURES
from gipo_cli.compare.gather import search
from gipo_cli.compare.load import read_runs
from gipo_cli.compare.notes import notes
from gipo_cli.compare.selection import Criterion
from gipo_cli.compare.summary import summarise


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_study(root)
    runs, _ = read_runs(search([str(root)]).runs)
    return build_comparison(runs, Criterion("eval", "success"), threshold=0.7)


def draw(name, comparison):
    (kind,) = (kind for kind in FIGURES if kind.name == name)
    return list(kind.pictures(comparison))


def looks(arms):
    return style.variant_looks((arm.objective, arm.series) for arm in arms)


def legend(picture):
    return [text.get_text() for text in picture.figure.legends[0].get_texts()]


def test_learning_curves_show_every_run_and_every_group(comparison):
    (picture,) = draw("learning_curves", comparison)
    axes = picture.figure.axes
    assert [panel.get_title() for panel in axes] == ["buffer 2k", "buffer 20k"]
    for panel, buffer in zip(axes, (2000, 20_000), strict=True):
        assert [line.get_label() for line in panel.lines] == ["GIPO", "PPO-clip"]
        cell = next(
            c for c in comparison.cells.values() if c.arm.buffer == buffer and c.arm.objective == "gipo"
        )
        line = next(line for line in panel.lines if line.get_label() == "GIPO")
        np.testing.assert_allclose(line.get_ydata(), cell.curves.mean(axis=0))
        runs, interval, *others = panel.collections
        assert [path.vertices[:, 1].tolist() for path in runs.get_paths()] == cell.curves.tolist()
        assert interval.get_facecolor()[0][3] == 0.12
        assert len(others) == 2
    assert legend(picture) == ["GIPO (n=3)", "PPO-clip (n=3)"]


def test_of_many_runs_of_a_group_some_are_drawn_and_the_caption_says_so(comparison, monkeypatch):
    told = "A group of more than 2 runs shows at most 2 of them as lines."
    assert not any(
        told[:20] in draw(name, comparison)[0].caption for name in ("learning_curves", "wall_time")
    )
    monkeypatch.setattr("gipo_cli.compare.figures_time.MOST_LINES", 2)
    (picture,) = draw("learning_curves", comparison)
    assert picture.caption.endswith(told)
    cell = next(c for c in comparison.cells.values() if (c.arm.buffer, c.arm.objective) == (2000, "gipo"))
    drawn = picture.figure.axes[0].collections[0].get_paths()
    assert [path.vertices[:, 1].tolist() for path in drawn] == cell.curves[::2].tolist()
    assert legend(picture) == ["GIPO (n=3)", "PPO-clip (n=3)"]


def test_few_seeds_are_said_on_the_figures(comparison):
    for make in (
        "learning_curves",
        "final_vs_buffer",
        "performance_profiles",
    ):
        (picture,) = draw(make, comparison)
        assert "Only 3 seeds" in picture.figure.get_suptitle()


def test_final_against_buffer_has_one_line_per_objective_and_a_tick_per_size(comparison):
    (picture,) = draw("final_vs_buffer", comparison)
    (panel,) = picture.figure.axes
    assert [text.get_text() for text in panel.get_xticklabels()] == ["2k", "20k"]
    lines = [line for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linestyle() != "None"]
    assert len(lines) == 2
    finals = [[cell.finals.mean() for cell in comparison.cells.values() if cell.arm.objective == name]
              for name in ("gipo", "ppo_clip")]  # fmt: skip
    np.testing.assert_allclose([line.get_ydata() for line in lines], finals)
    assert panel.get_xscale() == "log"


def test_final_against_buffer_needs_two_sizes_in_one_environment(tmp_path):
    for env, objective, size in (("reach", "gipo", 2000), ("push", "sapo", 20_000)):
        write_study(tmp_path, envs=(env,), objectives=(objective,), buffers=(size,))
    assert draw("final_vs_buffer", loaded(tmp_path)) == []


def test_sizes_that_belong_to_environments_are_no_panels_and_no_variants(tmp_path):
    for env, size in (("reach", 2000), ("push", 20_000)):
        write_study(tmp_path, envs=(env,), buffers=(size,))
    own = loaded(tmp_path)
    assert draw("final_vs_buffer", own) == []
    profiles = draw("performance_profiles", own)
    curves = draw("learning_curves", own)
    assert [len(pictures) for pictures in (profiles, curves)] == [1, 2]
    for picture in (*profiles, *curves):
        assert [panel.get_title() for panel in picture.figure.axes] == [""]
    assert {legend(picture)[0] for picture in curves} == {"GIPO (n=3)"}
    look = looks(own.arms)
    assert {name: (look[name].color, look[name].fill) for name in look} == {
        "GIPO": ("#0072b2", "full"), "PPO-clip": ("#d55e00", "full")
    }  # fmt: skip


@pytest.mark.parametrize("third", ["sapo in one environment", "ppo_clip of one size"])
def test_panels_go_by_the_sizes_that_an_environment_has(tmp_path, third):
    for env, size in (("reach", 2000), ("push", 20_000)):
        write_study(tmp_path, envs=(env,), objectives=("gipo",), buffers=(size,))
        other = 2000 if "one size" in third else size
        write_study(tmp_path, envs=(env,), objectives=("ppo_clip",), buffers=(other,))
    if "sapo" in third:
        write_study(tmp_path, envs=("push",), objectives=("sapo",), buffers=(20_000,))
    own = loaded(tmp_path)
    titles = {p.title: [a.get_title() for a in p.figure.axes] for p in draw("learning_curves", own)}
    sizes = [""] if "sapo" in third else ["buffer 2k", "buffer 20k"]
    assert titles == {"Learning curves: push": sizes, "Learning curves: reach": [""]}
    (profiles,) = draw("performance_profiles", own)
    (panel,) = profiles.figure.axes
    assert {"GIPO", "PPO-clip"} <= {line.get_label() for line in panel.lines}
    rows = [row.flat() for row in summarise(own)]
    assert {(r["environment"], r["buffer"]) for r in rows if r["objective"] == "gipo"} == {
        ("push", 20_000), ("reach", 2000), ("all environments (normalised)", None)
    }  # fmt: skip


def test_final_against_lag_stands_at_the_measured_lag(comparison):
    (picture,) = draw("final_vs_lag", comparison)
    (panel,) = picture.figure.axes
    line = next(line for line in panel.lines if len(line.get_xdata()) == 2)
    np.testing.assert_allclose(line.get_xdata(), [2, 20], rtol=0.05)


def test_a_scheduled_lag_is_the_axis_and_makes_panels(tmp_path):
    for objective in ("gipo", "ppo_clip"):
        for lag in (0, 4, 16):
            for seed in (1, 2):
                settings = {"actors.kind": "scheduled", "actors.lag": lag}
                tree = config(objective, seed=seed, **settings)
                write_run(tmp_path / f"{objective}-{lag}-{seed}", tree, [0.1, 0.8 - lag / 40])
    own = loaded(tmp_path)
    assert {arm.series for arm in own.arms} == {"GIPO", "PPO-clip"}
    assert [arm.label for arm in own.arms][:3] == ["GIPO, lag 0", "GIPO, lag 4", "GIPO, lag 16"]
    # Each is compared with the baseline of the same lag.
    assert all(rival.lag == arm.lag for arm, rival in own.baselines.items())
    (picture,) = draw("final_vs_lag", own)
    (panel,) = picture.figure.axes
    lines = [line for line in panel.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in lines] == [[0, 4, 16]] * 2
    assert panel.get_xlabel() == "scheduled lag (versions)"
    (picture,) = draw("learning_curves", own)
    assert [axes.get_title() for axes in picture.figure.axes] == ["lag 0", "lag 4", "lag 16"]
    (picture,) = draw("performance_profiles", own)
    assert [axes.get_title() for axes in picture.figure.axes] == ["lag 0", "lag 4", "lag 16"]
    said = "Policies older than the learner collect in some runs; success rate is from evaluations of the"
    assert any(note.startswith(said) for note in notes(own))


def test_runs_that_never_reach_the_threshold_are_drawn_and_counted(comparison):
    (picture,) = draw("sample_efficiency", comparison)
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
    (picture,) = draw("probability_of_improvement", comparison)
    (panel,) = picture.figure.axes
    assert [text.get_text() for text in panel.get_yticklabels()] == ["GIPO, buffer 2k", "GIPO, buffer 20k"]
    assert panel.get_xlabel() == "P(better than PPO-clip)"
    assert len(panel.containers) == 2


def test_profiles_fall_from_one_to_zero(comparison):
    (picture,) = draw("performance_profiles", comparison)
    for panel in picture.figure.axes:
        for line in panel.lines:
            values = np.asarray(line.get_ydata())
            assert values[0] == 1
            assert (np.diff(values) <= 0).all()


def test_health_shows_four_quantities_for_both_buffers(comparison):
    (picture,) = draw("data_health", comparison)
    panels = picture.figure.axes
    assert [panel.get_ylabel() for panel in panels[::2]] == [
        "utilisation", "effective sample size", "KL(behaviour || policy)", "policy lag (versions)"
    ]  # fmt: skip
    assert {len(panel.lines) for panel in panels} == {2}


def test_health_has_the_largest_buffer_beside_runs_that_state_none(tmp_path):
    (imported, *_) = write_study(tmp_path, buffers=(500, 2000, 20_000))
    for folder in imported.parent.glob("*-500-*"):
        tree = yaml.safe_load((folder / "config.yaml").read_text())
        if tree["seed"] == 1:
            del tree["buffer"], tree["agent"]["rollout_steps"]
            (folder / "config.yaml").write_text(yaml.safe_dump(tree))
            folder.rename(folder.with_name(f"imported-{tree['objective']['name']}"))
    (picture,) = draw("data_health", loaded(tmp_path))
    titles = [panel.get_title() for panel in picture.figure.axes]
    assert set(titles) == {"buffer 500", "buffer 20k", "buffer not stated"}
    assert "in between are left out" in picture.caption


def test_a_group_of_several_buffers_is_called_so(tmp_path):
    write_study(tmp_path, objectives=("gipo",))
    write_study(tmp_path, objectives=("sapo",), buffers=(500,))
    runs, _ = read_runs(search([str(tmp_path)]).runs)
    pooled = build_comparison(runs, Criterion("eval", "success"), group_by=["objective.name"])
    (picture,) = draw("learning_curves", pooled)
    assert [panel.get_title() for panel in picture.figure.axes] == ["buffer 500", "several buffers"]


def test_frontier_has_a_line_per_family_and_a_hollow_point_for_no_measurable_bias(comparison):
    (picture,) = draw("bias_variance", comparison)
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
    runs, _ = read_runs(search([str(tmp_path)]).runs)
    comparison = build_comparison(runs, Criterion("eval", "success"))
    assert draw("bias_variance", comparison) == []
    assert len(draw("best_setting", comparison)) == 1


def overflow(folders, **cells):
    """Overwrite diagnostics: ``column=(text, test of the row)``."""
    for folder in folders:
        header, *lines = (folder / "diagnostics.csv").read_text().splitlines()
        rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
        for row in rows:
            row.update({column: text for column, (text, test) in cells.items() if test(folder, row)})
        text = "\n".join([header, *(",".join(row.values()) for row in rows)])
        (folder / "diagnostics.csv").write_text(f"{text}\n")


def loaded(root, metric="success"):
    runs, _ = read_runs(search([str(root)]).runs)
    return build_comparison(runs, Criterion("eval", metric))


def named(panel):
    return [line.get_label() for line in panel.lines if not line.get_label().startswith("_")]


class TestOverflow:
    @pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "0.0"])
    def test_what_is_not_finite_is_not_drawn(self, tmp_path, text):
        overflow(write_study(tmp_path), variance=(text, lambda _, row: row["family"] == "no_clip"))
        (picture,) = draw("bias_variance", loaded(tmp_path))
        assert legend(picture) == ["GIPO", "PPO-clip", "SAPO"]
        assert all(named(panel) == ["gipo", "ppo_clip", "sapo"] for panel in picture.figure.axes)
        picture.figure.draw_without_rendering()

    def test_an_overflow_counts_as_infinite_in_the_median(self, tmp_path):
        """Two of three runs overflowed, and with them the median."""
        folders = write_study(tmp_path, buffers=(2000,), objectives=("gipo",))
        overflow(folders[:2], variance=("", lambda _, row: row["family"] == "no_clip"))
        (picture,) = draw("bias_variance", loaded(tmp_path))
        assert legend(picture) == ["GIPO", "PPO-clip", "SAPO"]

    def test_a_setting_that_overflowed_is_not_the_best(self, tmp_path, comparison):
        (before,) = draw("best_setting", comparison)
        best = {line.get_label(): line.get_ydata()[0] for line in before.figure.axes[0].lines}
        folders = write_study(tmp_path)
        # In two of the three runs of each objective, and with them in the median.
        most = [folder for folder in folders if not folder.name.endswith("-3")]
        overflow(most, mse=("", lambda _, row: row["value"] == str(best["gipo"])))
        (after,) = draw("best_setting", loaded(tmp_path))
        (line,) = (line for line in after.figure.axes[0].lines if line.get_label() == "gipo")
        assert best["gipo"] not in line.get_ydata()

    def test_a_panel_without_a_finite_measurement_says_so(self, tmp_path):
        folders = write_study(tmp_path)
        of_the_large = {name: ("", lambda folder, _: "20000" in folder.name) for name in ("bias2", "mse")}
        overflow(folders, **of_the_large)
        for make, shown in (("bias_variance", 2), ("best_setting", 1)):
            (picture,) = draw(make, loaded(tmp_path))
            texts = [[text.get_text() for text in panel.texts] for panel in picture.figure.axes]
            assert texts == [[]] * shown + [["no finite measurement"]] * shown
            picture.figure.draw_without_rendering()

    def test_no_finite_measurement_at_all_makes_no_figure(self, tmp_path):
        everywhere = dict.fromkeys(("bias2", "variance", "mse"), ("nan", lambda *_: True))
        overflow(write_study(tmp_path), **everywhere)
        for make in ("bias_variance", "best_setting"):
            assert draw(make, loaded(tmp_path)) == []


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    root = tmp_path_factory.mktemp("single")
    write_study(root, points=1)
    return loaded(root)


class TestOneEvaluation:
    def test_curves_are_markers_on_an_axis_from_zero(self, single):
        (picture,) = draw("learning_curves", single)
        for panel in picture.figure.axes:
            assert [len(line.get_xdata()) for line in panel.lines] == [3, 1, 3, 1]
            assert all(line.get_marker() in ("o", "s") for line in panel.lines)
            assert panel.get_xlim() == pytest.approx((0, 110_000))

    def test_wall_time_has_markers(self, single):
        (picture,) = draw("wall_time", single)
        for panel in picture.figure.axes:
            assert [(line.get_marker(), len(line.get_xdata())) for line in panel.lines] == [
                ("o", 3),
                ("s", 3),
            ]
            assert panel.get_xlim()[0] == 0

    def test_health_has_the_steps_of_its_own_file(self, single):
        (picture,) = draw("data_health", single)
        for line in (line for panel in picture.figure.axes for line in panel.lines):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(5_000, 100_001, 5_000))
            assert line.get_marker() == "None"

    def test_health_of_one_iteration_is_markers(self, tmp_path):
        for folder in write_study(tmp_path, points=1):
            tree = yaml.safe_load((folder / "config.yaml").read_text())
            write_metrics(folder, tree, rows=1)
        (picture,) = draw("data_health", loaded(tmp_path))
        assert {line.get_marker() for panel in picture.figure.axes for line in panel.lines} == {"o", "s"}

    def test_fresh_data_lies_on_the_ground(self, tmp_path):
        for folder in write_study(tmp_path):
            write_metrics(folder, yaml.safe_load((folder / "config.yaml").read_text()), lag=0)
        (picture,) = draw("data_health", loaded(tmp_path))
        lags = [panel for panel in picture.figure.axes if panel.get_ylabel() == "policy lag (versions)"]
        (limits,) = {panel.get_ylim() for panel in lags}
        assert limits == pytest.approx((-0.05, 1.05))

    def test_fresh_data_does_not_cut_the_lag_of_stale_data(self, tmp_path):
        for folder in write_study(tmp_path, buffers=(500, 2000), seeds=2):
            tree = yaml.safe_load((folder / "config.yaml").read_text())
            write_metrics(folder, tree, lag=0 if tree["buffer"]["size"] == 500 else 7)
        (picture,) = draw("data_health", loaded(tmp_path))
        lags = [panel for panel in picture.figure.axes if panel.get_ylabel() == "policy lag (versions)"]
        (limits,) = {panel.get_ylim() for panel in lags}
        assert limits[0] < 0 < 7 < limits[1]


def test_what_has_no_scale_is_in_no_profile_and_no_sample_efficiency(tmp_path):
    for env, top in (("flat", 0.0), ("reach", 1.0), ("push", 1.0)):
        for name, seed in itertools.product(("gipo", "ppo_clip"), (1, 2)):
            tree = config(name, seed=seed, env=env)
            write_run(tmp_path / env / f"{name}{seed}", tree, [0, 1], returns=[0.0, top * seed])
    comparison = loaded(tmp_path, "return_mean")
    (picture,) = draw("performance_profiles", comparison)
    assert picture.figure.get_suptitle().startswith("over 2 environments")
    # Seeds end at 0.5 and 1 of the scale, so half of the four runs exceed 0.5 and all of them 0.49.
    line = picture.figure.axes[0].lines[0]
    assert [line.get_ydata()[place] for place in (49, 50)] == [1, 0.5]
    efficiency = draw("sample_efficiency", comparison)
    assert [one.name for one in efficiency] == ["sample_efficiency_push", "sample_efficiency_reach"]


def test_shares_of_runs_are_not_drawn_for_a_single_run(tmp_path):
    write_study(tmp_path, seeds=1)
    comparison = loaded(tmp_path)
    for make in ("probability_of_improvement", "performance_profiles"):
        assert draw(make, comparison) == []


def test_values_that_are_about_the_same_have_one_number_on_a_logarithmic_axis():
    axes = Figure().subplots()
    log_axis(axes, "x", 0.7508, 0.7512)
    assert list(axes.get_xticks()) == [0.7508]
    assert axes.get_xlim() == pytest.approx((0.7508 / 1.5, 0.7512 * 1.5))


def test_best_setting_is_the_one_of_least_error(comparison):
    (picture,) = draw("best_setting", comparison)
    lines = {line.get_label(): line.get_ydata() for line in picture.figure.axes[0].lines}
    # The bias grows over training in the fixture, so less trust region is better and better.
    assert list(lines) == ["gipo", "ppo_clip", "sapo"]
    for k, best in enumerate(lines["gipo"]):
        error = {s: 1e-3 / (1 + s) ** 2 * (1 + k) + (1 + s) / 512 for s in (0.1, 0.2, 0.5, 1.0, 2.0)}
        assert best == min(error, key=error.get)


def test_what_runs_measured_with_other_settings_is_a_line_of_its_own(tmp_path):
    """GIPO runs measure their own neg_ratio, the PPO-clip runs the default; they are not one estimator."""
    for folder in write_study(tmp_path, buffers=(2000,)):
        tree = yaml.safe_load((folder / "config.yaml").read_text())
        if tree["objective"]["name"] == "gipo":
            tree["objective"]["neg_ratio"] = 0.5
            (folder / "config.yaml").write_text(yaml.safe_dump(tree))
            overflow([folder], variance=("0.25", lambda _, row: row["family"] == "gipo"))
    (picture,) = draw("bias_variance", loaded(tmp_path))
    assert legend(picture) == ["GIPO", "GIPO σ ratio 0.5", "No clip", "PPO-clip", "SAPO"]  # noqa: RUF001
    usual, own = (line for line in picture.figure.axes[0].lines if line.get_label().startswith("gipo"))
    assert set(own.get_ydata()) == {0.25}
    assert 0.25 not in usual.get_ydata()
    assert usual.get_color() != own.get_color()
    # Hollow means a bias that cannot be measured.
    assert {line.get_fillstyle() for line in picture.figure.legends[0].get_lines()} == {"full"}
    (best,) = draw("best_setting", loaded(tmp_path))
    labels = ["GIPO σ", "GIPO σ, with σ ratio 0.5", "PPO-clip ε", "SAPO τ+"]  # noqa: RUF001
    assert legend(best) == labels


@pytest.mark.parametrize(("ratio", "label"), [(1.05, "SAPO"), (2.0, "SAPO τ-/τ+ 2")])
def test_sapos_temperatures_are_told_apart_by_their_ratio(tmp_path, ratio, label):
    """While the first is varied the ratio stays, so that these runs measure the same estimators."""
    for tau in (0.3, 1.0, 2.0):
        tree = config("sapo", **{"objective.tau_pos": tau, "objective.tau_neg": tau * ratio})
        write_diagnostics(write_run(tmp_path / str(tau), tree, [0.5]), tree)
    (picture,) = draw("bias_variance", loaded(tmp_path))
    assert [words for words in legend(picture) if "SAPO" in words] == [label]


def test_an_imported_run_may_not_state_its_temperatures(tmp_path):
    for seed in (1, 2):
        tree = config("sapo", seed=seed)
        tree["objective"] = {"name": "sapo"}
        write_diagnostics(write_run(tmp_path / str(seed), tree, [0.5]), tree)
    (picture,) = draw("bias_variance", loaded(tmp_path))
    assert legend(picture)[-1] == "SAPO"


def test_a_panel_in_which_all_settings_are_alike_says_so(tmp_path):
    folders = write_study(tmp_path)
    overflow(folders, mse=("0.125", lambda folder, _: "20000" in folder.name))
    (picture,) = draw("best_setting", loaded(tmp_path))
    texts = [[text.get_text() for text in panel.texts] for panel in picture.figure.axes]
    assert texts == [[], ["no setting is best"]]


def test_an_error_estimated_below_zero_is_the_smallest(tmp_path):
    def middle(_, row):
        return row["family"] == "gipo" and row["value"] == "0.5"

    overflow(write_study(tmp_path), mse=("-0.001", middle))
    (picture,) = draw("best_setting", loaded(tmp_path))
    (gipo,) = (line for line in picture.figure.axes[0].lines if line.get_label() == "gipo")
    assert set(gipo.get_ydata()) == {0.5}


def test_no_setting_is_the_best_where_errors_differ_by_rounding(tmp_path):
    """As on fresh data, where all ratios are 1 and the settings of an objective make no difference."""
    folders = write_study(tmp_path)
    overflow(folders, mse=("0.125", lambda _, row: row["family"] == "gipo"))
    overflow(
        folders, mse=("0.12500000000000003", lambda _, row: row["family"] == "gipo" and row["value"] == "0.1")
    )
    (picture,) = draw("best_setting", loaded(tmp_path))
    assert legend(picture) == ["PPO-clip ε", "SAPO τ+"]


def test_a_setting_that_some_runs_did_not_measure_is_not_ranked(tmp_path):
    (folder, *others) = write_study(tmp_path, buffers=(2000,))

    def rare(_, row):
        return row["family"] == "gipo" and row["value"] in ("0.3", "0.5")

    overflow([folder], value=("0.3", rare))
    overflow([folder, *others], mse=("1e-9", rare))
    (picture,) = draw("best_setting", loaded(tmp_path))
    (gipo,) = (line for line in picture.figure.axes[0].lines if line.get_label() == "gipo")
    assert set(gipo.get_ydata()) <= {0.1, 0.2, 1.0, 2.0}


def test_utilisation_by_lag_leaves_empty_buckets_empty(comparison):
    (picture,) = draw("utilisation_by_lag", comparison)
    small, large = (panel.lines[0].get_ydata() for panel in picture.figure.axes)
    assert np.isfinite(small).tolist() == [True, True, False, False, False]
    assert np.isfinite(large).tolist() == [True, True, True, True, False]
    np.testing.assert_allclose(large[:4], 0.95 ** np.arange(1, 5))


def test_wall_time_has_one_line_per_run(comparison):
    (picture,) = draw("wall_time", comparison)
    for panel in picture.figure.axes:
        assert [len(lines.get_paths()) for lines in panel.collections] == [3, 3]


@pytest.mark.parametrize("kind", FIGURES, ids=lambda kind: kind.name)
def test_no_text_is_cut_or_overlaps_another(comparison, kind):
    for picture in kind.pictures(comparison):
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
        from gipo_cli.core.objectives import OBJECTIVES

        looks = [style.base_look(name) for name in OBJECTIVES]
        for part in zip(*looks, strict=True):
            assert len(set(part)) == len(looks)

    def test_looks_do_not_depend_on_what_else_is_compared(self, comparison):
        some = [arm for arm in comparison.arms if arm.objective == "ppo_clip"]
        assert looks(some)["PPO-clip"] == looks(comparison.arms)["PPO-clip"]

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


def test_labels_are_text_and_no_markup(tmp_path, monkeypatch):
    names = ("cost_$", "$x^$\x1b[31m", "=1+1", "<script>alert(1)</script>")
    for number, name in enumerate(names):
        for seed in (1, 2):
            write_run(tmp_path / f"{number}{seed}", config(name, seed=seed, env="a$b"), [0.5, 1])
    own = loaded(tmp_path)
    monkeypatch.setattr(report, "FIGURES", FIGURES[1:3])
    files = report.report_files(own, summarise(own))
    assert {arm.label for arm in own.arms} == {"cost_$", "$x^$\\x1b[31m", *names[2:]}
    rows = files["summary.csv"].decode()
    assert "'=1+1" in rows
    assert ",=" not in rows
    page = files["report.html"].decode()
    assert page.count("<script") == 1  # the report's own, which sorts tables
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
