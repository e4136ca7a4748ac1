from pathlib import Path

import pytest

from gipo_cli.errors import UserError
from gipo_cli.settings.compose import compose
from gipo_cli.settings.grid import expand


def test_no_axis_is_one_run():
    assert expand([]) == [[]]
    assert expand(["env=fetch_push", "seed=3"]) == [["env=fetch_push", "seed=3"]]


def test_product_with_the_first_axis_slowest():
    assert expand(["buffer.size=500,5000", "env=fetch_reach", "seed=range(1,4)"]) == [
        ["buffer.size=500", "env=fetch_reach", "seed=1"],
        ["buffer.size=500", "env=fetch_reach", "seed=2"],
        ["buffer.size=500", "env=fetch_reach", "seed=3"],
        ["buffer.size=5000", "env=fetch_reach", "seed=1"],
        ["buffer.size=5000", "env=fetch_reach", "seed=2"],
        ["buffer.size=5000", "env=fetch_reach", "seed=3"],
    ]


def test_choice_lists_and_quoted_values():
    assert expand(["seed=choice(4,2)", "agent.policy.hidden=[64,64],[32]"]) == [
        ["seed=4", "agent.policy.hidden=[64,64]"],
        ["seed=4", "agent.policy.hidden=[32]"],
        ["seed=2", "agent.policy.hidden=[64,64]"],
        ["seed=2", "agent.policy.hidden=[32]"],
    ]
    assert expand(["env.task='a,b'"]) == [["env.task='a,b'"]]
    assert expand(["+env.kwargs.x=1,2"]) == [["+env.kwargs.x=1"], ["+env.kwargs.x=2"]]


def test_sigma_multiplies_only_the_objectives_that_have_it():
    assert expand(["objective=gipo,ppo_clip", "objective.sigma=0.2,0.5", "seed=1,2"]) == [
        ["objective=gipo", "objective.sigma=0.2", "seed=1"],
        ["objective=gipo", "objective.sigma=0.2", "seed=2"],
        ["objective=gipo", "objective.sigma=0.5", "seed=1"],
        ["objective=gipo", "objective.sigma=0.5", "seed=2"],
        ["objective=ppo_clip", "seed=1"],
        ["objective=ppo_clip", "seed=2"],
    ]


def test_two_conditional_axes_and_a_shared_knob():
    """eps belongs to ppo_clip and spo, tau_neg to sapo, and none to no_clip."""
    assert expand(
        ["objective=ppo_clip,spo,sapo,no_clip", "objective.eps=0.1,0.3", "objective.tau_neg=2"]
    ) == [
        ["objective=ppo_clip", "objective.eps=0.1"],
        ["objective=ppo_clip", "objective.eps=0.3"],
        ["objective=spo", "objective.eps=0.1"],
        ["objective=spo", "objective.eps=0.3"],
        ["objective=sapo", "objective.tau_neg=2"],
        ["objective=no_clip"],
    ]


def test_the_preset_decides_the_objective_where_none_is_typed():
    assert expand(["objective.sigma=0.2,0.5"]) == [["objective.sigma=0.2"], ["objective.sigma=0.5"]]
    assert expand(["preset=sb3_ppo,authors", "objective.sigma=0.2,0.5"]) == [
        ["preset=sb3_ppo"],
        ["preset=authors", "objective.sigma=0.2"],
        ["preset=authors", "objective.sigma=0.5"],
    ]


def test_a_users_objective_file_has_its_own_knobs(tmp_path: Path):
    (tmp_path / "objective").mkdir()
    (tmp_path / "objective" / "wide.yaml").write_text("name: gipo\nsigma: 3.0\n")
    runs = expand(["objective=wide,sapo", "objective.sigma=1,2"], config_dirs=[tmp_path])
    assert runs == [
        ["objective=wide", "objective.sigma=1"],
        ["objective=wide", "objective.sigma=2"],
        ["objective=sapo"],
    ]


def test_every_run_of_a_grid_composes():
    for overrides in expand(["objective=gipo,sapo", "objective.sigma=0.1,1"]):
        assert compose(overrides).overrides == overrides


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["seed="], ["seed=", "no values"]),
        (["seed=range(3,3)"], ["no values"]),
        (["seed=choice()"], ["cannot be read"]),
        (["seed=range(1,5,0)"], ["cannot be expanded"]),
        (["seed=interval(0,1)"], ["no fixed list"]),
        (["env=glob(*)"], ["cannot be expanded"]),
        (["seed=shuffle(1,2,3)"], ["no fixed list"]),
        (["seed=1,1"], ["more than once"]),
        (["seed=1", "seed=2,3"], ["seed", "more than once", "one axis"]),
        (["objective=gipo,sapo", "objective.sgma=1,2"], ["sgma", "did you mean sigma", "tau_pos"]),
        (["objective=sapo", "objective.sigma=1,2"], ["sigma", "tau_neg, tau_pos"]),
        (["objective=gipo,spao", "objective.sigma=1"], ["spao", "sapo"]),
    ],
)
def test_bad_axes_are_one_sentence(overrides: list[str], words: list[str]):
    with pytest.raises(UserError) as caught:
        expand(overrides)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
