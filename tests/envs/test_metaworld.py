import gymnasium as gym
import numpy as np
import pytest
from env_tools import assert_history_free_and_seeded, shipped

from gipo_cli.envs.make import make_env, make_vec_env
from gipo_cli.envs.metaworld import goals_of
from gipo_cli.envs.registry import METAWORLD_TASKS


def goal_of(env):
    return tuple(env.unwrapped._last_rand_vec)


def test_tasks_are_those_of_the_package():
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    assert len(METAWORLD_TASKS) == 50
    assert set(METAWORLD_TASKS) == set(ALL_V3_ENVIRONMENTS)


def test_goals_are_the_benchmarks_and_depend_on_the_task_seed_alone():
    import metaworld  # noqa: F401 - registers Meta-World/MT1

    official = gym.make("Meta-World/MT1", env_name="reach-v3", seed=7, disable_env_checker=True)
    expected = set()
    for task in official.get_wrapper_attr("tasks"):
        official.unwrapped.set_task(task)
        expected.add(tuple(official.unwrapped._last_rand_vec))
    assert len(expected) == 50
    env = make_env(shipped("metaworld"), 1, task_seed=7)
    drawn = []
    for seed in (1, 2):
        env.reset(seed=seed)
        drawn.append([goal_of(env), *(env.reset() and goal_of(env) for _ in range(19))])
        assert set(drawn[-1]) < expected
    assert drawn[0] != drawn[1]
    env = make_env(shipped("metaworld"), 1, task_seed=8)
    assert (env.reset() and goal_of(env)) not in expected


@pytest.mark.long
@pytest.mark.parametrize("task", METAWORLD_TASKS)
def test_goals_of_every_task_are_the_benchmarks_to_the_bit(task):
    import metaworld

    assert goals_of(task, 7) == tuple(metaworld.MT1(task, seed=7).train_tasks)


def test_cycle_visits_every_goal_in_order():
    env = make_env(shipped("metaworld"), 1, goals="cycle")
    order = [env.reset() and goal_of(env) for _ in range(51)]
    assert len(set(order)) == 50
    assert order[50] == order[0]
    vector = make_vec_env(shipped("metaworld"), 1, n_envs=3, goals="cycle")
    visited = []
    for _ in range(2):
        vector.reset()
        visited += [goal_of(env) for env in vector.envs]
    assert visited == order[:6]


def test_the_goal_is_seen_and_the_tasks_own_limit_is_a_truncation():
    env = make_env(shipped("metaworld", task="door-open-v3"), 1)
    observation, _ = env.reset()
    np.testing.assert_array_equal(observation[-3:], env.unwrapped._target_pos.astype(np.float32))
    for _ in range(500):
        *_, terminated, truncated, info = env.step(np.zeros(4, np.float32))
    assert (terminated, truncated, info["episode"]["l"]) == (False, True, 500)


@pytest.mark.long
@pytest.mark.parametrize("task", METAWORLD_TASKS)
def test_episodes_of_every_task_depend_on_seed_and_number_alone(task):
    cfg = shipped("metaworld", task=task)
    assert_history_free_and_seeded(make_env(cfg, 5), make_env(cfg, 5, task_seed=5), steps=40)
