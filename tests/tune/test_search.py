"""Which trials there are and which go on, with made-up results in place of runs."""

import math
from dataclasses import replace

import pytest
from sweep_harness import TINY

from gipo_cli.errors import UserError
from gipo_cli.tune.search import Search, importance
from gipo_cli.tune.session import plan_searches
from gipo_cli.tune.trials import Outcome, Trial, ranked

SPACE = ("agent.update.actor_lr=log(1e-5,1e-3)", "objective.sigma=uniform(.1,2)")


def tiny(*lines: str) -> list[str]:
    """A tiny run's settings, except those that these lines give."""
    keys = [line.partition("=")[0] for line in lines]
    return [*(word for word in TINY if word.partition("=")[0] not in keys), *lines]


def planned(*lines: str, trials: int = 8, batch: int = 4, prune: bool = True) -> Search:
    (search,) = plan_searches(tiny(*lines), trials, batch, prune).values()
    return search


def by_rate(run) -> Outcome:
    """The nearer to a rate of 1e-4, the better; learned over the planned steps."""
    away = abs(math.log10(run.config.agent.update.actor_lr) + 4)
    return Outcome(returned=-away * 1536 / run.total_steps)


def settings(trials) -> list[dict]:
    return [dict(trial.settings) for trial in sorted(trials, key=lambda trial: trial.number)]


def test_the_better_half_goes_on_twice():
    walk = planned(*SPACE, trials=4).walk(by_rate)
    assert not walk.stage
    assert sorted(trial.steps for trial in walk.over) == [384, 384, 768, 1536]
    order = ranked(walk.over)
    away = [abs(math.log10(float(trial.settings["agent.update.actor_lr"])) + 4) for trial in order]
    assert away == sorted(away)
    assert {run.config.seed for trial in order for run in trial.runs} == {1, 2}


def test_without_pruning_every_trial_gets_all_steps():
    walk = planned(*SPACE, trials=4, prune=False).walk(by_rate)
    assert [trial.steps for trial in walk.over] == [1536] * 4


def test_the_budget_is_what_the_stages_take():
    search = planned(*SPACE, trials=6)
    assert search.round(4) == [(4, 384), (2, 768), (1, 1536)]
    # Two seeds of (4 x 384 + 2 x 384 + 768) and of (2 x 384 + 384 + 768) steps.
    assert search.steps == 2 * (4 * 384 + 2 * 384 + 768) + 2 * (2 * 384 + 384 + 768)
    assert planned(*SPACE, trials=6, prune=False).steps == 6 * 2 * 1536


def test_stopped_anywhere_the_same_trials_follow():
    """A search that sees its results one by one draws what one draws that sees them all at once."""
    search = planned(*SPACE)
    whole = search.walk(by_rate)
    known: set[tuple[str, int]] = set()
    while (
        walk := search.walk(lambda run: by_rate(run) if (run.name, run.total_steps) in known else None)
    ).stage:
        missing = [
            run for trial in walk.stage for run in trial.runs if (run.name, run.total_steps) not in known
        ]
        known.add((missing[0].name, missing[0].total_steps))
    assert settings(walk.over) == settings(whole.over)
    assert list(walk.planned) == list(whole.planned)
    longer = replace(search, trials=12).walk(by_rate)
    assert settings(longer.over)[:8] == settings(whole.over)
    assert len({str(own) for own in settings(longer.over)}) == 12


def test_later_rounds_look_where_it_was_good():
    walk = planned(SPACE[0], "seed=1", trials=40, batch=8).walk(by_rate)
    away = [abs(math.log10(float(own["agent.update.actor_lr"])) + 4) for own in settings(walk.over)]
    assert sum(away[20:]) < sum(away[:20])


def test_a_small_grid_is_tried_whole():
    search = planned("objective.sigma=choice(.1,.5)", "agent.update.rounds=uniform(1,2)", trials=32)
    assert search.trials == 4
    assert settings(search.walk(by_rate).over) == [
        {"objective.sigma": sigma, "agent.update.rounds": rounds}
        for sigma in ("0.1", "0.5")
        for rounds in (1, 2)
    ]


def test_no_settings_are_tried_twice():
    walk = planned("agent.update.rounds=uniform(1,9)", "seed=1", trials=8).walk(by_rate)
    assert len({own["agent.update.rounds"] for own in settings(walk.over)}) == 8


def trial(number: int, *outcomes: Outcome, like: Search) -> Trial:
    runs = like.walk(lambda run: None).stage[0].runs
    return Trial(number, {}, runs[: len(outcomes)], outcomes)


def test_success_decides_then_the_return_and_a_failure_comes_last():
    search = planned(*SPACE)
    low, high = Outcome(0.0, -5.0), Outcome(0.0, 3.0)
    trials = [
        trial(0, Outcome(0.0, 9.0), Outcome(), like=search),
        trial(1, low, low, like=search),
        trial(2, low, high, like=search),
        trial(3, Outcome(0.5, -9.0), low, like=search),
        trial(4, low, low, like=search),
    ]
    assert [one.number for one in ranked(trials)] == [3, 2, 1, 4, 0]


def test_returns_of_tasks_are_scaled_before_their_mean():
    search = planned("env.id=Pendulum-v1,MountainCarContinuous-v0", "seed=1", *SPACE[:1])
    trials = [
        trial(0, Outcome(returned=-1000.0), Outcome(returned=0.0), like=search),
        trial(1, Outcome(returned=-600.0), Outcome(returned=90.0), like=search),
        trial(2, Outcome(returned=-200.0), Outcome(returned=50.0), like=search),
    ]
    # Scaled: 0 and 0; 1/2 and 1; 1 and 5/9.
    assert [one.number for one in ranked(trials)] == [2, 1, 0]


def test_a_failed_run_ends_its_trial_and_not_the_search():
    search = planned(*SPACE, trials=4)
    worst = search.walk(lambda run: None).stage[2].runs[1].name
    walk = search.walk(lambda run: Outcome() if run.name == worst else by_rate(run))
    assert not walk.stage
    assert ranked([one for one in walk.over if one.steps == 384])[-1].number == 2


def test_where_all_fail_the_search_waits():
    walk = planned(*SPACE).walk(lambda run: Outcome())
    assert [one.number for one in walk.stage] == [0, 1, 2, 3]
    assert not walk.over


def test_importance_is_of_the_setting_that_matters():
    search = planned(*SPACE, "seed=1", trials=24)
    walk = search.walk(by_rate)
    shares = importance(walk.over, search.space)
    assert next(iter(shares)) == "agent.update.actor_lr"
    assert shares["agent.update.actor_lr"] > 0.6
    assert math.isclose(sum(shares.values()), 1.0)
    assert importance(walk.over[:9], search.space) == {}


def test_objectives_are_tuned_alike():
    lines = [*TINY, "objective=gipo,ppo_clip", "objective.sigma=uniform(.1,2)", SPACE[0], "seed=1,2,3"]
    gipo, ppo = plan_searches(lines, 8, 4, True).values()
    assert gipo.steps == ppo.steps
    assert [one.key for one in gipo.space] == ["objective.sigma", "agent.update.actor_lr"]
    assert [one.key for one in ppo.space] == ["agent.update.actor_lr"]


def test_own_grids_of_different_lengths_get_as_many_trials():
    searches = plan_searches([*TINY, "objective=gipo,ppo_clip"], 32, 8, True)
    assert [search.trials for search in searches.values()] == [4, 4]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["agent.update.actorlr=log(1e-5,1e-3)"], "there is no key"),
        (["objective.sigma=uniform(-1,2)"], "objective.sigma=-1"),
        (["objective.eps=uniform(.1,.3)"], r"objective\.eps"),
        (["objective=no_clip"], "no_clip has no grid of its own"),
        (["objective=gipo,no_clip", "objective.sigma=uniform(.1,2)"], "nothing that was typed .* no_clip"),
        ([*SPACE, "eval.episodes=0"], "leave eval.episodes above 0"),
        ([*SPACE, "agent.update.lr_schedule=linear"], "add --no-pruning"),
        (["agent.update.lr_schedule=choice(constant,linear)"], "add --no-pruning"),
        (["runtime.torch_threads=choice(1,2)"], "does not change what is learned"),
        ([*SPACE, "study=smoke"], "leave study= out"),
        ([*SPACE, "~env.max_episode_steps"], "set a value instead"),
        (["agent.update.actor_lr=interval(1e-5,1e-3)"], "there is no search over interval"),
    ],
)
def test_mistakes_are_told_before_anything_runs(lines, said):
    with pytest.raises(UserError, match=said):
        plan_searches(tiny(*lines), 8, 4, True)


def test_a_decaying_rate_is_searched_without_pruning():
    assert planned("agent.update.lr_schedule=choice(constant,linear)", prune=False).size == 2
