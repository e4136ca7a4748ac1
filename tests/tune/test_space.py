"""Ranges as they are typed, and what is said about those that are none."""

import math

import pytest

from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.errors import UserError
from gipo_cli.tune.space import own_knob, split


def only(line: str):
    fixed, (dimension,) = split([line])
    assert not fixed
    return dimension


def test_ranges_and_choices():
    rate = only("agent.update.actor_lr=log(1e-5,1e-3)")
    assert (rate.key, rate.ends, rate.log, rate.whole) == ("agent.update.actor_lr", (1e-5, 1e-3), True, False)
    assert rate.size == math.inf
    sigma = only("objective.sigma=uniform(.1, 2)")
    assert (sigma.knob, sigma.ends, sigma.log) == ("sigma", (0.1, 2.0), False)
    rates = only("agent.update.actor_lr=choice(1e-4,3e-4)")
    assert (rates.ends, rates.size, list(rates.values)) == (("0.0001", "0.0003"), 2, ["0.0001", "0.0003"])


def test_a_whole_number_is_searched_in_whole_numbers():
    rounds = only("agent.update.rounds=uniform(4,6)")
    assert (rounds.size, list(rounds.values), rounds.ends) == (3, [4, 5, 6], (4, 6))


def test_what_is_drawn_can_be_typed_and_stays_in_its_range():
    sigma = only("objective.sigma=uniform(0.12344,2)")
    assert sigma.rounded(1.23456789) == 1.235
    assert sigma.rounded(0.12344) == 0.12344, "0.1234 is less than the range's begin"


def test_lists_and_plain_values_stay_fixed():
    lines = ["seed=1,2", "seed2=range(1,4)", "env.task=reach-v3,push-v3", "agent.policy.hidden=[64,64]"]
    assert split(lines) == (lines, [])


def test_the_own_knob_is_its_grid():
    assert own_knob("gipo").key == "objective.sigma"
    assert list(map(float, own_knob("gipo").choices)) == list(OBJECTIVES["gipo"].grid)
    with pytest.raises(UserError, match="no_clip has no grid of its own"):
        own_knob("no_clip")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("agent.update.actor_lr=log(0,1)", "must begin above 0"),
        ("agent.update.actor_lr=log(1e-3,1e-5)", "its first number must be less than its second"),
        ("agent.update.actor_lr=log(1e-5)", "needs two numbers"),
        ("agent.update.actor_lr=uniform(1,x)", "needs two numbers"),
        ("agent.update.actor_lr=uniform(0,inf)", "is no range"),
        ("agent.update.actor_lr=int(1,3)", "there is no search over int"),
        ("agent.update.rounds=uniform(1,2.5)", "must hold whole numbers"),
        ("agent.update.actor_lr=choice(1e-4)", "leaves nothing to choose"),
        ("agent.update.actor_lr=choice(1e-4,1e-4)", "more than once"),
        ("agent.ratio=uniform(0,1)", "agent.ratio is no number"),
        ("seed=choice(1,2)", "type its values as seed=a,b"),
        ("objective=choice(gipo,sapo)", "type objective=a,b"),
        ("total_steps=log(100,1000)", "cannot be searched over"),
    ],
)
def test_bad_ranges(line, said):
    with pytest.raises(UserError, match=said):
        split([line])


def test_a_setting_typed_twice():
    with pytest.raises(UserError, match=r"agent\.gamma is given more than once"):
        split(["agent.gamma=uniform(0,1)", "agent.gamma=0.9"])


def test_a_file_of_settings_is_outweighed_by_a_range(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("total_steps: 100\nagent.update.actor_lr: 1e-4\n")
    fixed, space = split([str(file), "agent.update.actor_lr=log(1e-5,1e-3)", "seed=1,2"])
    assert (fixed, [one.key for one in space]) == (["total_steps=100", "seed=1,2"], ["agent.update.actor_lr"])
