import os
import signal

import numpy as np
import pytest
from env_tools import shipped

from gipo_cli.envs.make import make_vec_env
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


def mine(**changes):
    return shipped("gymnasium", id="Mine-v0", imports=["my_own_envs"], **changes)


def test_one_vector_of_a_users_own_environments_through_its_life(my_module):
    actions = np.random.default_rng(0).uniform(-2, 2, (15, 2, 1)).astype(np.float32)
    serial = make_vec_env(mine(), 3, n_envs=2)
    vector = make_vec_env(mine(vector="subproc"), 3, n_envs=2)
    try:
        for seed in (None, 11):
            expected = trajectories(serial, actions, seed)
            assert_same(expected, trajectories(vector, actions, seed))
            assert not np.array_equal(expected[0][0][0], expected[0][0][1])
        assert vector.get_attr("episode_index") == serial.get_attr("episode_index") == [3, 3]

        # Signals are for the parent, which stops at a safe point.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for process in vector.processes:
                os.kill(process.pid, number)
        assert vector.step(actions[0])[0].shape == (2, 2)

        vector.processes[1].kill()
        vector.processes[1].join()
        with pytest.raises(RunFailed, match="an environment process ended"):
            vector.step(actions[0])
        # A checkpoint asks for this.
        with pytest.raises(RunFailed, match="an environment process ended"):
            vector.get_attr("episode_index", indices=[1])
        with pytest.raises(RunFailed, match="an environment process ended"):
            vector.env_method("replay", 0, [], indices=[1])
    finally:
        vector.close()
    assert not any(process.is_alive() for process in vector.processes)


def test_seeding_a_vector_again_repeats_it_and_another_seed_does_not():
    vector = make_vec_env(shipped("gymnasium", id="Pendulum-v1"), 3, n_envs=2)
    actions = np.zeros((3, 2, 1), np.float32)
    first = trajectories(vector, actions, seed=5)
    assert_same(first, trajectories(vector, actions, seed=5))
    other = trajectories(vector, actions, seed=6)
    assert not np.array_equal(first[0][0], other[0][0])
    # Neighbouring seeds must not hand each other's episodes around.
    assert not np.array_equal(first[0][0][1], other[0][0][0])


def test_a_mistake_is_the_same_sentence_with_processes():
    with pytest.raises(UserError, match="Discrete"):
        make_vec_env(shipped("gymnasium", id="CartPole-v1", vector="subproc"), 1, n_envs=2)
