import pytest
from synthetic_runs import config

from gipo_cli.compare.comparison import build_comparison
from gipo_cli.compare.selection import Criterion
from gipo_cli.compare.summary import summarise
from gipo_cli.compare.verdict import settings, title, verdicts

SUCCESS = Criterion("eval", "success")
HIGH, LOW = (0.8, 0.9, 0.85, 0.95, 1.0), (0.1, 0.2, 0.15, 0.25, 0.3)


@pytest.fixture
def compared(make):
    def made(envs=("reach",), **finals):
        pairs = [
            (config(name, seed=seed, env=env), [0, value])
            for env in envs
            for name, own in finals.items()
            for seed, value in enumerate(own)
        ]
        comparison = build_comparison(make(*pairs), SUCCESS)
        return comparison, verdicts(comparison, summarise(comparison))

    return made


def test_higher_lower_and_not_told_apart(compared):
    (higher,) = compared(gipo=HIGH, ppo_clip=LOW)[1]
    # Of five the lowest and the highest are left out: 0.9 and 0.2.
    start = "GIPO ends higher than PPO-clip on reach (final success rate 0.9 against 0.2, difference 0.7 ["
    assert higher.startswith(start)
    assert higher.endswith("], 5 runs).")
    (lower,) = compared(gipo=LOW, ppo_clip=HIGH)[1]
    assert lower.startswith("GIPO ends lower than PPO-clip on reach (final success rate 0.2 against 0.9")
    (same,) = compared(gipo=HIGH, ppo_clip=HIGH[::-1])[1]
    assert same.startswith("GIPO and PPO-clip cannot be told apart on reach (")


def test_few_seeds_are_said_to_be_few_and_one_says_nothing(compared):
    (few,) = compared(gipo=HIGH[:3], ppo_clip=LOW[:3])[1]
    assert few.endswith("3 runs; fewer than 5 seeds, so believe it only after more).")
    (one,) = compared(gipo=HIGH[:1], ppo_clip=LOW[:1])[1]
    assert "cannot be compared on reach with a single run in a group (" in one


def test_all_environments_come_first(compared):
    comparison, said = compared(("reach", "push"), gipo=HIGH, ppo_clip=LOW)
    assert ["over all environments" in text for text in said] == [True, False, False]
    assert title(comparison) == "GIPO and PPO-clip on push, reach: success rate"


def test_without_a_baseline_the_highest_is_named(compared):
    (best,) = compared(gipo=HIGH, sapo=LOW)[1]
    assert best.startswith("GIPO ends at success rate 0.9 [")
    assert best.endswith("on reach, the highest of 2 groups (5 runs).")


def test_settings_in_common_and_compared(compared):
    common, differing = settings(compared(gipo=HIGH, ppo_clip=LOW)[0])
    assert differing["objective.name"] == "GIPO / PPO-clip"
    assert differing["objective.eps"] == "0.2"
    assert common["buffer.size"] == "2k"
    assert not common.keys() & {"seed", "logging.tensorboard", *differing}
