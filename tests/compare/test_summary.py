"""The table's numbers on a study small enough to work out by hand."""

import io
import math
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_runs import config, write_run

from gipo_cli.compare.comparison import build_comparison
from gipo_cli.compare.load import LeftOut, read_run
from gipo_cli.compare.notes import notes
from gipo_cli.compare.selection import Criterion, select_runs
from gipo_cli.compare.summary import ALL, HEADINGS, summarise, terminal_table
from gipo_cli.errors import UserError

SUCCESS, RETURN = Criterion("eval", "success"), Criterion("eval", "return_mean")
TRAINING = Criterion("metrics", "train/return")
# Two evaluations each, at 50k and 100k steps; the second one is the final value.
GIPO = {1: [0.6, 0.8], 2: [0.4, 1.0], 3: [0.5, 0.9]}
PPO = {1: [0.1, 0.8], 2: [0.2, 0.4], 3: [0.0, 0.3]}


@pytest.fixture
def study(make):
    def made(env="reach", gipo=GIPO, ppo=PPO, **dotted):
        pairs = [("gipo", gipo), ("ppo_clip", ppo)]
        return make(
            *(
                (config(name, seed=s, env=env, **dotted), rate)
                for name, own in pairs
                for s, rate in own.items()
            )
        )

    return made


def test_golden_table(study):
    ours, theirs = summarise(build_comparison(study(), SUCCESS))
    assert (ours.arm.label, ours.n, theirs.arm.label, theirs.n) == ("GIPO", 3, "PPO-clip", 3)
    # Of three values nothing is trimmed: the mean of 0.8, 1.0, 0.9 and of 0.8, 0.4, 0.3.
    assert (ours.iqm.value, theirs.iqm.value) == pytest.approx((0.9, 0.5))
    assert (ours.mean, ours.median) == pytest.approx((0.9, 0.9))
    assert (theirs.mean, theirs.median) == pytest.approx((0.5, 0.4))
    assert (ours.optimality_gap, theirs.optimality_gap) == pytest.approx((0.1, 0.5))
    # Nine pairs: one tie (0.8, 0.8), eight wins.
    assert ours.improvement.value == pytest.approx(8.5 / 9)
    assert theirs.improvement is None
    assert ours.difference.value == pytest.approx(0.4)
    assert ours.paired
    # Trapezoids between 50k and 100k are the means of the two values.
    assert (ours.area, theirs.area) == pytest.approx((0.7, (0.45 + 0.3 + 0.15) / 3))
    # At 0.5: gipo's seeds at 50k, 100k, 50k; ppo's first at 100k, the others never.
    assert (ours.threshold, ours.reached, ours.steps) == (0.5, 3, 50_000)
    assert (theirs.reached, theirs.steps) == (1, math.inf)
    assert ours.efficiency is None
    assert ours.wall == 600
    # Every resample of three values from {0.8, 0.9, 1.0} has a mean in that range, and the extreme ones
    # have probability 1/27 > 2.5 %.
    assert (ours.iqm.low, ours.iqm.high) == pytest.approx((0.8, 1.0))


def test_ratio_of_sample_efficiency_is_the_baselines_steps_over_ours(study):
    ours, theirs = summarise(build_comparison(study(), SUCCESS, threshold=0.3))
    assert (ours.steps, theirs.steps, ours.efficiency) == (50_000, 100_000, 2.0)
    assert theirs.efficiency is None


def test_aggregate_pools_normalised_scores_and_averages_improvement(study):
    runs = study() + study(
        env="push", gipo={s: [0, 0.5] for s in (1, 2, 3)}, ppo={s: [0, 0.5] for s in (1, 2, 3)}
    )
    rows = {(row.environment, row.arm.objective): row for row in summarise(build_comparison(runs, SUCCESS))}
    whole = rows[ALL, "gipo"]
    # Sorted 0.5 0.5 0.5 0.8 0.9 1.0; int(6 / 4) = 1 is cut at each end.
    assert whole.iqm.value == pytest.approx((0.5 + 0.5 + 0.8 + 0.9) / 4)
    assert whole.improvement.value == pytest.approx((8.5 / 9 + 0.5) / 2)
    assert (whole.n, whole.threshold, whole.steps) == (6, None, None)
    assert whole.wall == 1200


def test_settings_of_the_environments_own_do_not_keep_groups_out_of_the_aggregate(study):
    """As where one task has a buffer size and a learning rate that were found for it."""
    tuned = study(**{"buffer.size": 2048, "agent.update.actor_lr": 1e-3})
    rows = summarise(build_comparison(tuned + study(env="push", **{"buffer.size": 10_000}), SUCCESS))
    assert [(row.environment, row.arm.label, row.rival) for row in rows] == [
        (place, name, "PPO-clip" if name == "GIPO" else "")
        for place in ("push", "reach", ALL)
        for name in ("GIPO", "PPO-clip")
    ]


def test_returns_are_normalised_by_the_range_seen_in_the_environment(study):
    comparison = build_comparison(study(), RETURN)
    (environment,) = comparison.environments
    assert (environment.low, environment.high) == (0, 100)
    # The runs begin at 0, 10, 20, 40, 50 and 60, in the middle 30; GIPO ends at 90.
    assert (environment.way, environment.threshold) == ((30, 90), 75)
    assert summarise(comparison)[0].optimality_gap == pytest.approx(0.1)


class TestWithoutScale:
    """An environment in which all returns are the same, beside one in which they are not."""

    @pytest.fixture
    def comparison(self, study):
        level = {seed: [0.5, 0.5] for seed in (1, 2, 3)}
        return build_comparison(study() + study(env="push", gipo=level, ppo=level), RETURN)

    def test_it_is_in_no_aggregate(self, comparison, study):
        assert {row.environment for row in summarise(comparison)} == {"push", "reach"}
        three = study() + study(env="push", gipo={1: [0.5, 0.5]}, ppo={1: [0.5, 0.5]}) + study(env="slide")
        whole = [row for row in summarise(build_comparison(three, RETURN)) if row.environment == ALL]
        # Returns are 100 times the success rates, from 0 to 100, so the scale gives these back; of six values
        # the lowest and the highest are cut.
        assert [row.iqm.value for row in whole] == pytest.approx([0.9, (0.3 + 0.4 + 0.4 + 0.8) / 4])
        assert [row.n for row in whole] == [6, 6]

    def test_it_has_neither_gap_nor_threshold(self, comparison):
        for row in summarise(comparison):
            blank = row.environment == "push"
            assert [row.optimality_gap is None, row.threshold is None] == [blank] * 2
            assert [row.reached is None, row.steps is None] == [blank] * 2
            texts = dict(zip(HEADINGS, row.texts(), strict=True))
            assert [texts[name] == "-" for name in ("gap", "reached", "steps")] == [blank] * 3
        assert summarise(comparison)[0].improvement.value == 0.5

    def test_a_threshold_may_be_given(self, study):
        level = {seed: [0.5, 0.5] for seed in (1, 2, 3)}
        rows = summarise(build_comparison(study(gipo=level, ppo=level), RETURN, threshold=40))
        assert [(row.reached, row.steps, row.optimality_gap) for row in rows] == [(3, 50_000, None)] * 2

    def test_it_is_said(self, comparison):
        said = " ".join(notes(comparison))
        assert "push: all values are 50, so there is no scale" in said
        assert "(reach 0 to 100)" in said
        way = "(75% of the way from 30, where the runs begin, to 90, where the best group ends)"
        assert f"Threshold for sample efficiency: reach 75 {way}." in said

    def test_a_rate_always_has_one(self, study):
        level = {seed: [0.5, 0.5] for seed in (1, 2, 3)}
        rows = summarise(build_comparison(study(gipo=level, ppo=level), SUCCESS))
        assert [(row.optimality_gap, row.threshold) for row in rows] == [(0.5, 0.5)] * 2


def test_a_single_run_has_no_probability_of_improvement(study):
    for gipo, ppo in ((GIPO, {1: PPO[1]}), ({1: GIPO[1]}, PPO), ({1: GIPO[1]}, {1: PPO[1]})):
        ours, theirs = summarise(build_comparison(study(gipo=gipo, ppo=ppo), SUCCESS))
        assert ours.improvement is None
        texts = dict(zip(HEADINGS, ours.texts(), strict=True))
        assert (texts["P(better)"], texts["interval"]) == ("-", "one seed")
        assert ours.flat()["improvement"] is None
        assert ours.difference is not None
        assert theirs.verdict == ""


def test_different_seeds_are_not_paired(study):
    rows = summarise(build_comparison(study(ppo={7: [0, 0.1], 8: [0, 0.2], 9: [0, 0.3]}), SUCCESS))
    assert not rows[0].paired


def test_flat_rows_have_no_infinities_and_every_column(study):
    records = [row.flat() for row in summarise(build_comparison(study(), SUCCESS))]
    assert records[0].keys() == records[1].keys()
    assert records[1]["steps"] is None
    assert records[0]["improvement"] == pytest.approx(8.5 / 9)
    # Seed 1 ties with its partner, and is drawn three times with probability 1/27 > 2.5 %.
    assert records[0]["improvement_low"] == 0.5
    assert records[0]["versus_baseline"] == "includes no difference"


def test_an_interval_apart_from_no_difference_says_on_which_side(study):
    worse = {s: [0, 0.1 * s] for s in (1, 2, 3)}
    assert summarise(build_comparison(study(ppo=worse), SUCCESS))[0].verdict == "above no difference"
    assert (
        summarise(build_comparison(study(gipo=worse, ppo=GIPO), SUCCESS))[0].verdict == "below no difference"
    )


def test_an_interval_that_includes_no_difference_says_so(study):
    ours, _ = summarise(
        build_comparison(study(ppo=dict(zip((1, 2, 3), GIPO.values(), strict=True))), SUCCESS)
    )
    assert ours.improvement.value == 0.5
    assert ours.verdict == "includes no difference"


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_tables_fit_and_keep_numbers_whole(study, width):
    rows = summarise(build_comparison(study(), SUCCESS))
    console = Console(width=width, file=io.StringIO())
    console.print(terminal_table("reach", rows, width))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "0.9 [0.8, 1]" in text
    assert "0.944" in text
    assert "…" not in text
    assert len(rows[0].texts()) == len(HEADINGS)


def heading(rows, width):
    console = Console(width=width, file=io.StringIO())
    console.print(terminal_table("reach", rows, width))
    return " ".join(console.file.getvalue().splitlines()[1].split())


def test_the_terminal_names_baseline_and_threshold_where_there_is_room(study):
    rows = summarise(build_comparison(study(), SUCCESS, threshold=0.75))
    assert heading(rows, 80) == "group n IQM P(> PPO-clip) steps to 0.75"
    assert heading(rows, 120) == "group n IQM mean P(> PPO-clip) reached steps to 0.75 wall time"
    # Columns of 8, 1, 14, 14 and 5 letters and four gaps of two; the fuller heading of the last has 13.
    assert heading(rows, 50) == "group n IQM P(> PPO-clip) steps"
    assert heading([row for row in rows if not row.rival], 80) == "group n IQM P(better) steps to 0.75"


def test_a_terminal_table_with_several_baselines_names_none(make):
    runs = make(
        *(
            (config(name, seed=seed, **{"objective.eps" if name == "ppo_clip" else "objective.sigma": knob}
                    | {"agent.ratio": ratio}), [0, 0.1 * seed])
            for name, ratio, knob in (
                ("gipo", "joint", 0.5), ("gipo", "each", 0.5),
                ("ppo_clip", "joint", 0.2), ("ppo_clip", "each", 0.2),
            )
            for seed in (1, 2)
        )
    )  # fmt: skip
    rows = summarise(build_comparison(runs, SUCCESS))
    assert {row.rival for row in rows} == {"", "PPO-clip, ratio each", "PPO-clip, ratio joint"}
    assert heading(rows, 120).startswith("group n IQM mean P(better) reached")


class TestSelection:
    def test_unfinished_and_other_budgets_are_left_out_with_their_reasons(self, make, tmp_path):
        finished = [*((config(seed=s), [0, 1]) for s in (1, 2)), (config(seed=3, total_steps=50_000), [0, 1])]
        runs = [*make(*finished), unfinished(make, tmp_path)]
        used, left_out = select_runs(runs, SUCCESS, include_unfinished=False)
        assert used == runs[:2]
        assert [out.reason for out in left_out] == [
            "budget of 50k steps, where most have 100k", "failed at step 40000 of 100000"
        ]  # fmt: skip
        assert select_runs(runs, SUCCESS, include_unfinished=True)[0] == runs

    def test_most_are_more_than_half(self, make):
        def reasons(*budgets):
            runs = make(*((config(seed=s, total_steps=b), [0, 1]) for s, b in enumerate(budgets)))
            return [out.reason for out in select_runs(runs, SUCCESS, include_unfinished=False)[1]]

        assert reasons(2048, 2560) == ["budget of 2.048k steps, where others have 2.56k"]
        assert reasons(2048, 2560, 2560) == ["budget of 2.048k steps, where most have 2.56k"]
        assert reasons(1000, 2000, 3000, 3000) == [
            "budget of 1k steps, where others have 3k", "budget of 2k steps, where others have 3k"
        ]  # fmt: skip
        assert reasons(1_000_448, 1_000_000, 1_000_000) == [
            "budget of 1000448 steps, where most have 1000000"
        ]  # fmt: skip

    @pytest.mark.parametrize(("metric", "file"), [(SUCCESS, "eval.csv"), (TRAINING, "metrics.csv")])
    def test_a_missing_file_is_called_missing(self, tmp_path, metric, file):
        folder = write_run(tmp_path / "a", config(), [0.5])
        (folder / file).unlink()
        _, left_out = select_runs([read_run(folder)], metric, include_unfinished=False)
        assert [out.reason for out in left_out] == [f"no {file}"]

    def test_included_runs_are_cut_to_the_common_range(self, make, tmp_path):
        runs = [
            *make(*((config(seed=s), [0.2, 0.4, 0.6, 0.8, 1.0]) for s in (1, 2))),
            unfinished(make, tmp_path),
        ]
        comparison = build_comparison(runs, SUCCESS, include_unfinished=True)
        assert comparison.environments[0].grid.tolist() == [20_000, 40_000]
        assert comparison.cells["reach", comparison.arms[0]].finals.tolist() == [0.4, 0.4, 0.3]
        said = " ".join(notes(comparison))
        assert "not finished are included as asked for: 1 failed" in said
        assert "cut at 40k" in said

    def test_budgets_that_are_cut_are_told_apart(self, make):
        runs = make(*((config(seed=n, total_steps=n), [0, 1]) for n in (1_000_448, 1_000_000)))
        said = notes(build_comparison(runs, SUCCESS, include_unfinished=True))
        assert "reach: budgets of 1000000 and 1000448 steps, all cut at 1000000." in said

    def test_nan_and_missing_metrics_leave_a_run_out(self, make):
        runs = make((config(), [0, 1]), (config(seed=2), [0, float("nan")]), (config(seed=3), [0, 1]))
        used, left_out = select_runs(runs, SUCCESS, include_unfinished=False)
        assert len(used) == 2
        assert left_out[0].reason == "success is NaN or infinite in 1 row"
        _, left_out = select_runs(runs, Criterion("metrics", "own/column"), include_unfinished=False)
        assert [out.reason for out in left_out] == ["no value of own/column"] * 3

    def test_the_same_run_twice_counts_once(self, make):
        runs = make(config(), config(), config(seed=2))
        used, left_out = select_runs(runs, SUCCESS, include_unfinished=False)
        assert len(used) == 2
        assert left_out[0].reason == "repeats run0: the same training and seed"

    @pytest.mark.parametrize("key", ["eval.episodes", "diagnostics.interval", "checkpoint.interval"])
    def test_what_changes_nothing_that_is_learned_makes_no_second_run(self, make, key):
        runs = make(config(), config(**{key: 7}), config(seed=2))
        used, left_out = select_runs(runs, SUCCESS, include_unfinished=False)
        assert len(used) == 2
        assert left_out[0].reason == "repeats run0: the same training and seed"

    @pytest.mark.parametrize(
        ("short", "long", "kept"),
        [
            ("failed", "done", "long"),
            ("failed", "interrupted", "long"),
            ("running", "failed", "long"),
            ("done", "failed", "short"),
            ("done", "done", "long"),
        ],
    )
    def test_of_the_same_run_twice_a_finished_one_counts_else_the_furthest(self, tmp_path, short, long, kept):
        steps = [50_000, 100_000]
        runs = [
            read_run(write_run(tmp_path / "short", config(), [0.2], steps=steps[:1], state=short)),
            read_run(write_run(tmp_path / "long", config(), [0.2, 0.9], steps=steps, state=long)),
        ]
        for order in (runs, runs[::-1]):
            used, left_out = select_runs(order, SUCCESS, include_unfinished=True)
            assert [run.path.name for run in used] == [kept]
            assert [out.reason for out in left_out] == [f"repeats {kept}: the same training and seed"]

    def test_nothing_to_compare(self, make):
        alone = build_comparison(make(config()), SUCCESS)
        assert len(alone.used) == 1
        assert not any(note.startswith("Nothing to compare") for note in notes(alone))
        runs = make(*(config(seed=s) for s in (1, 2)))
        assert any(note.startswith("Nothing to compare") for note in notes(build_comparison(runs, SUCCESS)))

    def test_no_run_left_says_why(self, make, tmp_path):
        with pytest.raises(UserError, match=r"^No run is left.*failed at step.*--include-unfinished"):
            build_comparison([unfinished(make, tmp_path)], SUCCESS)

    def test_every_reason_is_given_while_there_are_few_kinds(self, make, tmp_path):
        stopped = [unfinished(make, tmp_path)]
        damaged = [LeftOut(Path(f"run{n}"), f"fault {n}") for n in range(6)]
        with pytest.raises(UserError) as caught:
            build_comparison(stopped, SUCCESS, unread=damaged[:2])
        for part in ("failed at step", "fault 0 (1)", "fault 1 (1)"):
            assert part in str(caught.value)
        with pytest.raises(UserError, match="; and 2 other reasons"):
            build_comparison(stopped, SUCCESS, unread=damaged)


def unfinished(make, tmp_path):
    folder = tmp_path / "broken_off"
    if not folder.exists():
        write_run(folder, config(seed=9), [0.2, 0.3], steps=[20_000, 40_000], state="failed")
    return read_run(folder)


class TestNotes:
    def said(self, runs, **options):
        return notes(build_comparison(runs, SUCCESS, **options))

    def test_few_seeds(self, study, make):
        assert self.said(study())[0].startswith("Only 3 seeds")
        assert self.said(make(config(), config("sapo")))[0].startswith("A single seed")
        five = make(*(config(name, seed=s) for name in ("gipo", "sapo") for s in range(5)))
        assert not any("seeds" in note for note in self.said(five))

    def test_no_word_of_significance(self, study):
        assert not any("signific" in note.lower() for note in self.said(study()))

    def test_versions_and_protocols(self, make, tmp_path):
        other = config("sapo", **{"eval.episodes": 50})
        folder = write_run(
            tmp_path / "x", other, [0.5], meta={"versions": {"torch": "2.9.0", "mujoco": "3.3.0"}}
        )
        said = " ".join(self.said([*make(config()), read_run(folder)]))
        assert "different versions of torch: 2.13.0, 2.9.0" in said
        assert "mujoco" not in said
        assert "eval.episodes is 20, 50" in said

    def test_different_intervals_of_evaluation(self, make):
        """The same curve y = x, evaluated twenty times and twice."""
        fine, coarse = ([(i + 1) / n for i in range(n)] for n in (20, 2))
        often = [(config(seed=s, **{"eval.interval": 5000}), fine) for s in (1, 2)]
        seldom = [(config("ppo_clip", seed=s, **{"eval.interval": 50_000}), coarse) for s in (1, 2)]
        comparison = build_comparison(make(*often, *seldom), SUCCESS, threshold=0.1)
        assert summarise(comparison)[0].efficiency == 5
        note = (
            "reach: runs were evaluated every 5k steps and every 50k steps, so steps to the threshold and "
            "efficiency are only as fine as the coarser."
        )
        assert note in notes(comparison)
        once = make((config(seed=3, **{"eval.interval": None}), fine))
        assert any("every 5k steps and only at the end" in note for note in self.said([*make(*often), *once]))
        assert not any("were evaluated" in note for note in self.said(make(*often)))
        # Of training there is a value in each iteration; and no other environment's steps are compared.
        runs = [read_run(run.path, extra_column="train/return") for run in make(*often, *seldom)]
        trained = build_comparison(runs, TRAINING, threshold=0.5)
        assert not any("were evaluated" in note for note in notes(trained))
        apart = make(*often, (config(env="push", **{"eval.interval": 50_000}), coarse))
        assert not any("were evaluated" in note for note in self.said(apart))

    @pytest.mark.parametrize(("count", "words"), [(1, "1 planned run has"), (2, "2 planned runs have")])
    def test_planned_runs_are_counted_apart_from_those_that_went_wrong(self, study, count, words):
        waiting = [LeftOut(Path(f"run{n}"), "not begun", kind="planned") for n in range(count)]
        said = self.said(study(), unread=waiting)
        assert f"{words} not begun." in said
        assert not any("are left out" in note for note in said)
        said = self.said(study(), unread=[*waiting, LeftOut(Path("other"), "failed at step 1 of 2")])
        assert any(note.startswith("1 of 7 runs are left out") for note in said)

    def test_what_differs_between_environments_is_listed_with_its_values(self, study):
        runs = study(**{"buffer.size": 2048}) + study(env="push", **{"buffer.size": 10_000})
        said = "Settings of a group that differ between environments: buffer (10k in push, 2048 in reach)."
        assert said in self.said(runs)
        more = [run for env in ("a", "b", "c") for run in study(env=env, **{"buffer.size": 2048})]
        said = "buffer (2048 in 4 environments, 10k in push)."
        assert any(note.endswith(said) for note in self.said(runs + more))
        assert not any("between environments" in note for note in self.said(study() + study(env="push")))

    @pytest.mark.parametrize(("schedule", "told"), [("constant", False), ("linear", True)])
    def test_settings_changed_on_the_way(self, make, tmp_path, schedule, told):
        update = {"changes": ["total_steps: 10 -> 20", "objective.sigma: 0.5 -> 1.0"]}
        settings = {"agent.update.lr_schedule": schedule}
        longer = write_run(tmp_path / "x", config(**settings), [0.5], meta={"updates": [update]})
        others = make(config("sapo", **settings))
        (said,) = (note for note in self.said([*others, read_run(longer)]) if "went on" in note)
        assert said.startswith("1 of the runs went on")
        assert "objective.sigma: 0.5 -> 1.0" in said
        assert ("total_steps: 10 -> 20" in said) == told

    def test_arms_without_some_environment(self, study):
        runs = study() + [run for run in study(env="push") if run.objective == "gipo"]
        assert any("PPO-clip has no runs in push" in note for note in self.said(runs))

    def test_separated_groups(self, study):
        runs = study(ppo={s: [0, 0.1] for s in (1, 2, 3)})
        assert any("single point" in note for note in self.said(runs))
        assert not any("single point" in note for note in self.said(study()))

    def test_the_scale_is_stated_where_it_is_used(self, study):
        def stated(runs, metric, *, whole=False, threshold=None):
            comparison = build_comparison(runs, metric, threshold=threshold)
            return any(note.startswith("Normalised score") for note in notes(comparison, whole=whole))

        one, two = study(), study() + study(env="push")
        assert stated(one, SUCCESS, whole=True)
        assert not stated(one, SUCCESS)
        assert stated(two, SUCCESS)
        assert not stated(one, RETURN)
        assert stated(one, RETURN, whole=True)

    def test_a_single_run_of_a_group(self, study):
        assert any("no P(better)" in note for note in self.said(study(ppo={1: PPO[1]})))
        assert not any("no P(better)" in note for note in self.said(study()))

    def test_single_evaluations(self, make):
        runs = make((config(), [0.5]), (config("sapo"), [0.6]))
        assert (
            "reach: each run has only one evaluation, so its curve is a single point; lower eval.interval, "
            "or use --metric train/return."
        ) in self.said(runs)
        (said,) = (
            note for note in self.said([*make((config(seed=2), [0.5, 0.6])), *runs]) if "point" in note
        )
        assert said == "reach: the runs have only one step in common, so curves are single points."
        assert not any(
            "single point" in note for note in self.said(make(*((config(seed=s), [0, 1]) for s in (1, 2))))
        )

    @pytest.mark.parametrize(("column", "noisy"), [("train/return", True), ("health/ess", False)])
    def test_what_comes_from_training_is_said_to(self, make, column, noisy):
        runs = [read_run(run.path, extra_column=column) for run in make(config(), config("sapo"))]
        (said,) = (
            note
            for note in notes(build_comparison(runs, Criterion("metrics", column)))
            if "comes from" in note
        )
        assert "from training, not from evaluation episodes" in said
        assert ("exploration noise" in said) is noisy

    def test_settings_that_change_together_have_names(self, make):
        runs = make(config(), config(seed=2), config("ppo_clip"), config("ppo_clip", seed=2))
        said = self.said(runs, group_by=["objective.sigma"])
        assert "Settings that change together with those in the labels: objective (GIPO / PPO-clip)." in said
