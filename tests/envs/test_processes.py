import os
import signal

import numpy as np
import pytest
from test_make_env import mine, my_module, shipped  # noqa: F401 - a fixture

from gipo_cli.envs.make import make_env, make_vec_env
from gipo_cli.errors import RunFailed, UserError


def trajectories(vector, actions, seed=None):
    if seed is not None:
        vector.seed(seed)
    steps = [(vector.reset(), None, None, None)]
    for action in actions:
        observation, reward, done, infos = vector.step(action)
        ends = [info.get("terminal_observation") for info in infos]
        steps.append((observation, np.float32(reward), done, ends))
    return steps


def assert_same(left, right):
    for one, two in zip(left, right, strict=True):
        np.testing.assert_equal(one, two)


def test_processes_give_the_trajectories_of_one_process():
    cfg = shipped("fetch_reach", max_episode_steps=6)
    actions = np.random.default_rng(0).uniform(-1, 1, (15, 2, 4)).astype(np.float32)
    dummy = make_vec_env(cfg, 3, n_envs=2)
    processes = make_vec_env(cfg.model_copy(update={"vector": "subproc"}), 3, n_envs=2)
    try:
        for seed in (None, 11):
            expected = trajectories(dummy, actions, seed)
            assert_same(expected, trajectories(processes, actions, seed))
            assert not np.array_equal(expected[0][0][0], expected[0][0][1])
        assert processes.get_attr("episode_index") == dummy.get_attr("episode_index") == [3, 3]
    finally:
        processes.close()


def test_environments_of_a_vector_are_those_made_one_by_one():
    cfg = shipped("fetch_reach")
    starts = make_vec_env(cfg, 3, n_envs=3).reset()
    np.testing.assert_array_equal(starts, [make_env(cfg, 3, index).reset()[0] for index in range(3)])


def test_seeding_a_vector_again_repeats_it_and_another_seed_does_not():
    vector = make_vec_env(shipped("fetch_reach"), 3, n_envs=2)
    actions = np.zeros((3, 2, 4), np.float32)
    first = trajectories(vector, actions, seed=5)
    assert_same(first, trajectories(vector, actions, seed=5))
    other = trajectories(vector, actions, seed=6)
    assert not np.array_equal(first[0][0], other[0][0])
    # Neighbouring seeds must not hand each other's episodes around.
    assert not np.array_equal(first[0][0][1], other[0][0][0])


def test_a_users_module_is_found_in_the_children_which_leave_ctrl_c_to_the_parent(my_module):  # noqa: F811
    vector = make_vec_env(mine(vector="subproc"), 1, n_envs=2)
    try:
        vector.reset()
        for process in vector.processes:
            os.kill(process.pid, signal.SIGINT)
        assert vector.step(np.zeros((2, 1), np.float32))[0].shape == (2, 2)
    finally:
        vector.close()


def test_a_dead_child_fails_the_run_and_the_rest_can_be_closed(my_module):  # noqa: F811
    vector = make_vec_env(mine(vector="subproc"), 1, n_envs=2)
    vector.reset()
    vector.processes[1].kill()
    vector.processes[1].join()
    with pytest.raises(RunFailed, match="an environment process ended"):
        vector.step(np.zeros((2, 1), np.float32))
    # A checkpoint asks for this.
    with pytest.raises(RunFailed, match="an environment process ended"):
        vector.get_attr("episode_index", indices=[1])
    with pytest.raises(RunFailed, match="an environment process ended"):
        vector.env_method("replay", 0, [], indices=[1])
    vector.close()
    assert not any(process.is_alive() for process in vector.processes)


def test_a_mistake_is_the_same_sentence_with_processes():
    with pytest.raises(UserError, match="Discrete"):
        make_vec_env(shipped("gymnasium", id="CartPole-v1", vector="subproc"), 1, n_envs=2)
