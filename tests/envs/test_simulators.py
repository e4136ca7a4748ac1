"""Environments of Gymnasium's registry, users' own among them."""

import gymnasium as gym
import numpy as np
import pytest
from env_tools import shipped

from gipo_cli.envs.make import make_env
from gipo_cli.errors import UserError


def mine(**changes):
    return shipped("gymnasium", **{"id": "Mine-v0", "imports": ["my_own_envs"], **changes})


def test_a_users_own_environment_through_the_import_hook(my_module):
    env = make_env(mine(kwargs={"goal": 0.5}), 1)
    env.reset()
    for _ in range(7):
        observation, reward, terminated, truncated, info = env.step(np.zeros(1, np.float32))
    assert observation[1] == 0.5
    assert reward == pytest.approx(-abs(float(observation[0]) - 0.5), abs=1e-6)
    assert (terminated, truncated, info["episode"]["l"]) == (False, True, 7)
    assert make_env(mine(), 1, render_mode="rgb_array").render_mode == "rgb_array"


def test_a_module_may_stand_before_the_id(my_module):
    assert make_env(mine(id="my_own_envs:Mine-v0", imports=[]), 1).reset()[0].shape == (2,)


def test_the_time_limit_may_be_longer_than_the_registered_one(my_module):
    env = make_env(mine(max_episode_steps=9), 1)
    env.reset()
    assert [env.step(np.zeros(1, np.float32))[3] for _ in range(9)] == [False] * 8 + [True]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"id": "Reecher-v5", "imports": []}, ["'Reecher-v5'", "(did you mean Reacher-v5", "env.imports"]),
        ({"id": "CartPole-v1", "imports": []}, ["Discrete(2)", "continuous"]),
        ({"imports": ["no_such_module"]}, ["env.imports", "'no_such_module'"]),
        ({"kwargs": {"gaol": 1}}, ["gymnasium (Mine-v0) cannot be made", "gaol", "env.kwargs"]),
    ],
)
def test_mistakes_are_one_sentence(my_module, changes, parts):
    with pytest.raises(UserError) as caught:
        make_env(mine(**changes), 1)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_an_id_that_has_a_name_here_is_told_by_it(monkeypatch):
    monkeypatch.delitem(gym.registry, "AdroitHandDoor-v1", raising=False)
    with pytest.raises(UserError, match=r"type env=adroit_door env\.reward=released"):
        make_env(shipped("gymnasium", id="AdroitHandDoor-v1"), 1)
