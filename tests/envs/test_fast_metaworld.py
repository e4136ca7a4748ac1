"""Beside the released code, at the simulator's own interface."""

import numpy as np
import pytest
from env_tools import plain
from metaworld.policies import ENV_POLICY_MAP
from scipy.spatial.transform import Rotation

from gipo_cli.envs import fast_metaworld, simulators
from gipo_cli.envs.fast_metaworld import FromMatrix
from gipo_cli.envs.make import make_env
from gipo_cli.envs.metaworld import TESTED, make_simulator
from gipo_cli.envs.registry import METAWORLD_TASKS
from gipo_cli.settings.schema import EnvConfig


def ready(sim):
    """Let a simulator draw its goals itself, by its seed: drawing the benchmark's 50 takes a second."""
    sim._set_task_called, sim._freeze_rand_vec, sim.seeded_rand_vec = True, False, True
    sim._partially_observable = False
    del sim.sawyer_observation_space


def walk(name, steps, seeds, **kwargs):
    """Walk both through episodes by the scripted policy, which reaches contacts, and random actions."""
    pair = [make_simulator(name, released=released, **kwargs) for released in (True, False)]
    assert [isinstance(sim, fast_metaworld.Quick) for sim in pair] == [False, True]
    for sim in pair:
        ready(sim)
    rng, policy = np.random.default_rng(0), ENV_POLICY_MAP[name]()
    for seed in seeds:
        for sim in pair:
            sim.seed(seed)
        starts = [sim.reset() for sim in pair]
        assert plain(starts[0]) == plain(starts[1])
        seen = starts[0][0]
        for step in range(steps):
            action = rng.uniform(-1.2, 1.2, 4).astype(np.float32)
            if step % 8 < 7 - seed % 2:
                action = np.asarray(policy.get_action(seen), np.float32)
            results = [sim.step(action) for sim in pair]
            assert plain(results[0]) == plain(results[1]), step
            seen = results[0][0]
        assert pair[0].np_random.random() == pair[1].np_random.random()
    for quantity in ("qpos", "qvel", "qacc_warmstart", "efc_force", "site_xpos"):
        np.testing.assert_array_equal(*(getattr(sim.data, quantity) for sim in pair))
    return pair


@pytest.mark.filterwarnings("ignore:Constant")
@pytest.mark.parametrize("task", METAWORLD_TASKS)
def test_every_task_steps_as_released_to_the_bit(task):
    walk(task, 40, [3])


@pytest.mark.long
@pytest.mark.parametrize("version", ["v2", "v1"])
@pytest.mark.parametrize("task", METAWORLD_TASKS)
def test_whole_episodes_of_every_task_are_as_released_to_the_bit(task, version):
    pair = walk(task, 500, [1, 2, 3], reward_function_version=version)
    for sim in pair:
        with pytest.raises(ValueError, match="You must reset the env manually"):
            sim.step(np.zeros(4, np.float32))


def test_what_is_refused_is_refused_as_released():
    for released in (True, False):
        sim = make_simulator("reach-v3", released=released)
        with pytest.raises(RuntimeError, match=r"You must call env\.set_task"):
            sim.step(np.zeros(4, np.float32))
        ready(sim)
        sim.reset()
        with pytest.raises(AssertionError, match="Actions should be size 4"):
            sim.step(np.zeros(3, np.float32))


def test_quaternions_are_scipys_to_the_bit():
    matrices = [*Rotation.random(2000, rng=np.random.default_rng(0)).as_matrix(), np.eye(3)]
    # Half turns, where the largest of four is a tie or the trace is not it; and what is no rotation.
    matrices += [np.diag(signs) for signs in ([1.0, -1, -1], [-1.0, 1, -1], [-1.0, -1, 1])]
    matrices += [matrices[0] * 1.01, matrices[1] + 1e-7]
    for matrix in matrices:
        assert FromMatrix(matrix).as_quat().tobytes() == Rotation.from_matrix(matrix).as_quat().tobytes()
    with pytest.raises(ValueError, match="Non-positive determinant"):
        FromMatrix(-np.eye(3)).as_quat()


def test_another_version_steps_as_released_with_a_note(monkeypatch):
    found = {**TESTED, "metaworld": "3.1.2"}
    monkeypatch.setattr(simulators.metadata, "version", found.get)
    env = make_env(EnvConfig(name="metaworld", task="reach-v3"), 1)
    assert not isinstance(env.unwrapped, fast_metaworld.Quick)
    assert env.notes == ["metaworld 3.1.2 steps as released; the faster methods are for metaworld 3.1.1"]
