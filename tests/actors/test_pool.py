"""What the learner gets from its actors, whatever happens to them."""

import os
import sys

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stage import Broken, Stage, composed, iterate, opened

from gipo_cli.actors.positions import join, split
from gipo_cli.envs.make import make_vec_env
from gipo_cli.errors import RunFailed, StoppedError, UserError
from gipo_cli.learning.actor import Position
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.settings.schema import ActorsConfig
from gipo_cli.training.session import train
from gipo_cli.training.workshop import Workshop

THREE = ["actors=processes", "actors.n=3", "actors.max_lag=2"]


def begun(*overrides, **given):
    agent, crew, pool = opened(composed(*overrides), **given)
    pool.begin()
    pool.publish()
    return agent, crew, pool


@pytest.mark.parametrize("overflow", ["pace", "drop", "mask"])
def test_the_bound_holds_and_everything_is_counted(overflow):
    agent, crew, pool = begun(*THREE, f"actors.overflow={overflow}", deaths=0.1)
    try:
        iterate(agent, pool, 40)
    finally:
        pool.close()
    arrivals, report = pool.arrivals(), pool.report(160)
    taken = [row for row in arrivals if row["fate"] != "dropped"]
    assert [row["iteration"] for row in taken] == list(range(40))
    assert all(row["lag"] == row["iteration"] - row["version"] for row in arrivals)
    assert all((row["lag"] <= 2) == (row["fate"] == "used") for row in arrivals)
    fates = {row["fate"] for row in arrivals}
    assert fates == {"pace": {"used"}, "drop": {"used", "dropped"}, "mask": {"used", "masked"}}[overflow]
    for fate in ("dropped", "masked"):
        assert report[f"actors/{fate}"] == sum(row["fate"] == fate for row in arrivals)
    assert report["actors/replaced"] == crew.died > 0
    assert report["actors/reuse"] == 160 / (32 * len(arrivals))
    assert {row["actor"] for row in arrivals} == {0, 1, 2}
    assert agent.learner.steps == 40 * 32
    assert agent.learner.buffer.added == 32 * sum(row["fate"] == "used" for row in arrivals)


def test_no_transition_comes_twice_when_actors_die():
    """Each episode of each environment appears once, from its first step to its last."""
    agent, _, pool = begun(*THREE, deaths=0.3)
    try:
        rollouts = iterate(agent, pool, 30)
    finally:
        pool.close()
    starts = [tuple(obs) for rollout in rollouts for obs in rollout.obs.reshape(-1, 3)]
    assert len(set(starts)) == len(starts)
    lengths = np.concatenate([rollout.episodes[:, -1] for rollout in rollouts])
    assert len(lengths) > 20
    assert set(lengths) == {30}


def test_an_actor_that_dies_again_and_again_ends_the_run_with_the_reason():
    agent, _, pool = begun("actors=processes", deaths=1.0)
    try:
        with pytest.raises(RunFailed, match=r"actor 0 ended 3 times in a row .* it was ended by dice"):
            iterate(agent, pool, 1)
    finally:
        pool.close()


def test_an_environment_that_fails_ends_the_run_in_its_own_words():
    agent, _, pool = begun("actors=processes", kind=Broken)
    try:
        with pytest.raises(RunFailed, match=r"^environment Mine \(step 7\): reward is nan$"):
            iterate(agent, pool, 1)
    finally:
        pool.close()


def test_waiting_can_be_stopped():
    agent, _, pool = begun("actors=processes")
    try:
        iterate(agent, pool, 1)
        stopped = False
        for _ in range(3):
            try:
                pool.next(lambda: True)
            except StoppedError:
                stopped = True
        assert stopped
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("what", "found", "words"),
    [
        ("versions", {"torch": "0.1"}, r"versions are .*0\.1"),
        ("observation_space", Box(-1, 1, (7,)), r"observations are .*\(7,\).* and not .*\(3,\)"),
        ("action_space", Box(-1, 1, (2,)), r"actions are .*\(2,\).* and not .*\(1,\)"),
    ],
    ids=["versions", "observations", "actions"],
)
def test_an_actor_that_is_not_like_the_learner_is_refused(what, found, words):
    class Odd(Stage):
        def events(self, seconds):
            return [
                event._replace(what=event.what._replace(**{what: found})) for event in super().events(seconds)
            ]

    with pytest.raises(UserError, match=f"actor 0 is not like the learner: its {words}"):
        opened(composed("actors=processes"), kind=Odd)


def test_more_actors_than_can_ever_work_or_than_cores_is_said(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    pool = opened(composed("actors=processes", "actors.n=3", "actors.max_lag=1"))[2]
    pool.close()
    assert pool.notes == [
        "with actors.max_lag=1 only 2 of 3 actors can ever work at once; raise it to 2, or lower actors.n",
        "3 actors and the learner share 2 cores; more than that many do not help",
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["actors.n=1"], "Ray is not installed; type: pip install ray"),
        (["actors.address=nowhere"], "'nowhere' is not an address of a Ray cluster; write host:port"),
        (
            ["actors.address=127.0.0.2:1"],
            r"nothing answers at 127\.0\.0\.2:1 .*; start the cluster with: ray",
        ),
    ],
    ids=["missing", "malformed", "unreachable"],
)
def test_without_ray_nothing_is_written(lines, words, tmp_path, monkeypatch):
    if "installed" in words:
        monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=words):
        train(
            composed("actors=ray", *lines), run_dir=tmp_path / "r", overrides=[], command=["gipo"], quiet=True
        )
    assert not list(tmp_path.iterdir())


def test_positions_of_actors_join_and_split():
    position = Position([3, 4], [np.ones((2, 1)), np.ones((5, 1))], np.zeros((2, 3)), torch.arange(4))
    other = Position([5, 6], [np.ones((0, 1)), np.ones((1, 1))], np.ones((2, 3)), torch.arange(4) + 1)
    joined = join([position, other])
    assert joined.episodes == [3, 4, 5, 6]
    for one, same in zip(split(joined, 2), (position, other), strict=True):
        assert one.episodes == same.episodes
        assert np.array_equal(one.last_obs, same.last_obs)
        assert torch.equal(one.generator, same.generator)
    assert torch.equal(join([position]).generator, position.generator)
    with pytest.raises(ValueError, match="of 2 actors and this run has 1"):
        split(joined, 1)


def test_a_ready_vector_of_environments_has_no_actors_elsewhere():
    env = make_vec_env(composed().env, 1)
    with pytest.raises(ValueError, match="actors of kind processes make their environments from"):
        GIPO("mlp", env, actors=ActorsConfig(kind="processes"))


def test_training_environments_elsewhere_cannot_evaluate():
    config = composed("actors=processes", "eval.env=training", "eval.episodes=1")
    with pytest.raises(UserError, match=r"with actors=processes they are the actors'; type eval\.env=own"):
        Workshop(config)
