import pytest
from synthetic_runs import config

from gipo_cli.compare.grouping import group_runs, match_baseline
from gipo_cli.compare.selection import filter_runs, read_filters, resolve_key
from gipo_cli.compare.words import (
    count_words,
    counts_apart,
    digits_apart,
    duration_words,
    environment_labels,
    setting_name,
    setting_words,
)
from gipo_cli.errors import UserError


def labels(grouping):
    return [arm.label for arm in grouping.arms]


def test_seeds_are_never_a_group(make):
    runs = make(*(config(seed=seed) for seed in range(3)))
    assert labels(group_runs(runs)) == ["GIPO"]
    with pytest.raises(UserError, match="Seeds are repetitions"):
        group_runs(runs, ["seed"])


def test_objective_and_buffer_size_make_groups_in_order_of_size(make):
    runs = make(*(config(name, buffer=size) for size in (20_000, 512) for name in ("ppo_clip", "gipo")))
    assert labels(group_runs(runs)) == [
        "GIPO, buffer 512", "GIPO, buffer 20k", "PPO-clip, buffer 512", "PPO-clip, buffer 20k"
    ]  # fmt: skip
    assert [arm.series for arm in group_runs(runs).arms] == ["GIPO", "GIPO", "PPO-clip", "PPO-clip"]


def test_an_objectives_own_setting_shows_only_where_it_varies(make):
    runs = make(
        *(config("gipo", **{"objective.sigma": sigma}) for sigma in (1.0, 0.2)), config("ppo_clip")
    )  # fmt: skip
    assert labels(group_runs(runs)) == ["GIPO σ 0.2", "GIPO σ 1", "PPO-clip"]  # noqa: RUF001


def test_labels_have_the_digits_that_tell_arms_apart(make):
    close = make(*(config(**{"objective.sigma": sigma}) for sigma in (0.5, 0.50000001, 1 / 3)))
    assert labels(group_runs(close)) == ["GIPO σ 0.33333333", "GIPO σ 0.5", "GIPO σ 0.50000001"]  # noqa: RUF001
    third = make(*(config(**{"objective.sigma": sigma}) for sigma in (0.5, 1 / 3)))
    assert labels(group_runs(third)) == ["GIPO σ 0.333333", "GIPO σ 0.5"]  # noqa: RUF001
    sizes = make(*(config(buffer=size) for size in (1_234_400, 1_234_000)))
    assert labels(group_runs(sizes)) == ["GIPO, buffer 1.234M", "GIPO, buffer 1234400"]
    masses = make(*(config(**{"env.kwargs": {"mass": mass}}) for mass in (2.0, 2.0000001)))
    assert environment_labels(masses) == ("reach, mass 2", "reach, mass 2.0000001")
    assert digits_apart([None, "none", 0.1]) == 6


def test_what_does_not_treat_the_agent_is_no_group(make):
    runs = make(
        config(),
        config(seed=2, **{"logging.tensorboard": False, "eval.episodes": 5, "runtime.device": "cpu"}),
        config(seed=3, **{"preset": "other", "checkpoint.keep_last": 7, "diagnostics.interval": 100}),
    )
    assert labels(group_runs(runs)) == ["GIPO"]


def test_settings_that_change_together_make_one_label_and_are_told(make):
    runs = make(
        *(config(name, **{"agent.update.batch_size": b}) for name, b in (("gipo", 64), ("ppo_clip", 32)))
    )
    grouping = group_runs(runs)
    assert labels(grouping) == ["GIPO", "PPO-clip"]
    assert grouping.tied == ("agent.update.batch_size",)


class TestBetweenEnvironments:
    """A setting makes a group only where it differs in some environment."""

    def test_one_that_differs_between_environments_only_is_listed(self, make):
        tuned = {"buffer": 2048, "agent.update.actor_lr": 1e-3}
        plain = {"buffer": 10_000, "agent.update.actor_lr": 3e-4}
        runs = make(
            *(
                config(name, env=env, **own)
                for env, own in (("reach", tuned), ("push", plain))
                for name in ("gipo", "ppo_clip")
            )
        )
        grouping = group_runs(runs)
        assert labels(grouping) == ["GIPO", "PPO-clip"]
        assert grouping.between == ("buffer.size", "agent.update.actor_lr")
        assert (grouping.tied, grouping.pooled) == ((), ())
        assert {arm.buffer for arm in grouping.arms} == {None}
        assert group_runs(runs, ["objective"]) == grouping
        assert labels(group_runs(runs, ["buffer"])) == ["buffer 2048", "buffer 10k"]

    def test_one_that_differs_in_some_environment_makes_groups_in_all(self, make):
        runs = make(
            *(config(env="reach", buffer=size) for size in (512, 2048)), config(env="push", buffer=10_000)
        )
        assert labels(group_runs(runs)) == ["GIPO, buffer 512", "GIPO, buffer 2048", "GIPO, buffer 10k"]

    def test_one_that_changes_together_with_the_objective_in_each_is_said_to(self, make):
        sizes = {"reach": {"gipo": 2048, "ppo_clip": 512}, "push": {"gipo": 10_000, "ppo_clip": 512}}
        runs = make(*(config(name, env=e, buffer=n) for e, own in sizes.items() for name, n in own.items()))
        grouping = group_runs(runs)
        assert labels(grouping) == ["GIPO", "PPO-clip"]
        assert grouping.tied == grouping.between == ("buffer.size",)

    def test_objectives_are_groups_though_each_has_an_environment_of_its_own(self, make):
        assert labels(group_runs(make(config(env="reach"), config("sapo", env="push")))) == ["GIPO", "SAPO"]

    def test_an_objectives_own_setting_is_no_exception(self, make):
        runs = make(
            *(config("gipo", env=e, **{"objective.sigma": s}) for e, s in (("reach", 0.2), ("push", 0.5)))
        )
        assert labels(group_runs(runs)) == ["GIPO"]
        assert group_runs(runs).between == ("objective.sigma",)

    def test_an_imported_run_that_does_not_state_it_is_no_group(self, make):
        rates = (("reach", 1e-3), ("push", 3e-4))
        stated = [config(seed=2, env=env, **{"agent.update.actor_lr": rate}) for env, rate in rates]
        grouping = group_runs(make(*stated, config(env="reach")))
        assert labels(grouping) == ["GIPO"]
        assert grouping.between == ("agent.update.actor_lr",)


def test_a_setting_that_cuts_across_makes_a_group_in_words(make):
    runs = make(
        *(config(name, **{"agent.ratio": r}) for name in ("gipo", "sapo") for r in ("joint", "per_dim"))
    )
    assert labels(group_runs(runs)) == [
        "GIPO, ratio joint", "GIPO, ratio per dim", "SAPO, ratio joint", "SAPO, ratio per dim"
    ]  # fmt: skip


def test_grouping_by_hand_pools_and_says_so(make):
    runs = make(*(config(name, buffer=size) for size in (512, 2000) for name in ("ppo_clip", "gipo")))
    grouping = group_runs(runs, ["objective"])
    assert labels(grouping) == ["GIPO", "PPO-clip"]
    assert grouping.pooled == ("buffer.size",)
    assert {arm.buffer for arm in grouping.arms} == {None}


def test_environments_are_told_apart_by_what_differs(make):
    runs = make(
        config(env="fetch_push", **{"env.reward": "dense"}),
        config(env="fetch_push", **{"env.reward": "sparse"}),
        config(env="metaworld", **{"env.task": "reach-v3"}),
    )
    assert environment_labels(runs) == (
        "fetch_push, reward dense", "fetch_push, reward sparse", "metaworld reach-v3"
    )  # fmt: skip
    assert labels(group_runs(runs)) == ["GIPO"]


def test_environments_differ_by_an_argument_that_only_one_is_given(make):
    runs = make(config(env="push"), config(env="push", **{"env.kwargs": {"mass": 2.0}}))
    assert environment_labels(runs) == ("push", "push, mass 2")


def test_a_setting_that_a_run_does_not_state_is_no_difference(make):
    bare = {"seed": 1, "total_steps": 100_000, "env": {"name": "reach"}, "objective": {"name": "gipo"}}
    runs = make(config(seed=2), bare | {"buffer": {"size": 2000}, "agent": {"rollout_steps": 500}})
    assert environment_labels(runs) == ("reach", "reach")
    assert labels(group_runs(runs)) == ["GIPO"]


def test_keys_may_be_short_where_that_is_unambiguous(make):
    runs = make(config(**{"a.kind": 1, "b.kind": 2}))
    assert resolve_key("objective", runs) == "objective.name"
    assert resolve_key("sigma", runs) == "objective.sigma"
    assert resolve_key("buffer", runs) == "buffer.size"
    with pytest.raises(UserError, match="ambiguous"):
        resolve_key("kind", runs)
    with pytest.raises(UserError, match=r"'sigmma' \(did you mean objective\.sigma\?\)\."):
        resolve_key("sigmma", runs)
    with pytest.raises(UserError, match=r"'qqq'; a run's config\.yaml holds its settings\."):
        resolve_key("qqq", runs)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("objective=gipo", [0, 1]),
        ("objective!=gipo", [2]),
        ("sigma=0.50", [0]),
        ("buffer.size=512,2e3", [0, 1, 2]),
        ("buffer=512", [1]),
        ("tensorboard=true", [0, 1, 2]),
        ("env.task=null", [0, 1, 2]),
        ("hidden=[64,64]", [1]),
        ("hidden=[64, 64]", [1]),
        ("hidden!=[64,64]", [0, 2]),
    ],
)
def test_filters(make, text, kept):
    small = {"objective.sigma": 2.0, "agent.policy.hidden": [64, 64]}
    runs = make(config(), config(buffer=512, **small), config("sapo"))
    assert filter_runs(runs, read_filters([text], runs)) == [runs[i] for i in kept]


def test_filters_that_cannot_be_met_say_what_there_is(make):
    runs = make(config(), config("sapo"))
    with pytest.raises(UserError, match=r"objective\.name is one of: gipo, sapo"):
        filter_runs(runs, read_filters(["objective=ppo"], runs))
    large = make(config(**{"agent.policy.hidden": [512, 512, 256]}))
    with pytest.raises(UserError, match=r"hidden is one of: \[512,512,256\]\."):
        filter_runs(large, read_filters(["hidden=512"], large))
    with pytest.raises(UserError, match="no key=value"):
        filter_runs(runs, read_filters(["gipo"], runs))


class TestBaseline:
    def grouping(self, make, *names):
        return group_runs(make(*(config(name, buffer=size) for name in names for size in (512, 2000)))).arms

    def test_the_default_is_ppo_clip_of_the_same_buffer(self, make):
        arms = self.grouping(make, "gipo", "ppo_clip")
        found = {arm.label: other.label for arm, other in match_baseline(arms, None).items()}
        assert found["GIPO, buffer 512"] == "PPO-clip, buffer 512"
        assert found["GIPO, buffer 2k"] == "PPO-clip, buffer 2k"

    def test_a_whole_label_is_everyones_baseline(self, make):
        arms = self.grouping(make, "gipo", "ppo_clip")
        assert {other.label for other in match_baseline(arms, "GIPO, buffer 512").values()} == {
            "GIPO, buffer 512"
        }

    def test_without_ppo_clip_there_is_none(self, make):
        assert match_baseline(self.grouping(make, "gipo", "sapo"), None) == {}

    def test_an_unknown_or_ambiguous_name_is_refused(self, make):
        with pytest.raises(UserError, match=r"'sappo' \(did you mean sapo\?\)\."):
            match_baseline(self.grouping(make, "gipo", "sapo"), "sappo")
        arms = group_runs(make(*(config(**{"objective.sigma": s}) for s in (0.5, 1.0)))).arms
        with pytest.raises(UserError, match="could be 'GIPO σ .*' or 'GIPO σ 1'"):  # noqa: RUF001, RUF043
            match_baseline(arms, "gipo")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("objective.name", "ppo_dual_clip", "PPO dual-clip"),
        ("objective.name", "my_own", "my_own"),
        ("objective.kernel", "cauchy", "cauchy"),
        ("agent.update.batch_size", 512, "batch size 512"),
        ("agent.advantage.kind", "vtrace", "advantage vtrace"),
        ("agent.policy.hidden", (64, 64), "hidden 64 x 64"),
        ("agent.update.kl_stop", None, "kl stop none"),
        ("env.normalize_obs", True, "normalize obs on"),
        ("buffer.size", 2048, "buffer 2048"),
        ("buffer.size", 1_500_000, "buffer 1.5M"),
    ],
)
def test_settings_in_words(key, value, words):
    assert setting_words(key, value) == words


def test_counts_that_would_read_the_same_are_written_in_full():
    assert counts_apart(1_000_448, 1_000_000, 2_000_000) == ["1000448", "1000000", "2000000"]
    assert counts_apart(1_500_000, 20_000, 20_000.0) == ["1.5M", "20k", "20k"]


def test_counts_and_durations_in_words():
    assert [count_words(x) for x in (0, 999, 20_000, 1_250_000)] == ["0", "999", "20k", "1.25M"]
    assert [duration_words(x) for x in (45, 600, 12_240, float("nan"))] == [
        "45 s",
        "10 min",
        "3.4 h",
        "unknown",
    ]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("objective.name", "objective"), ("objective.sigma", "σ"), ("objective.kernel", "kernel"),  # noqa: RUF001
        ("agent.update.batch_size", "batch size"), ("data.store.kind", "store kind"),
    ],
)  # fmt: skip
def test_a_setting_has_a_name_of_its_own(key, name):
    assert setting_name(key) == name
