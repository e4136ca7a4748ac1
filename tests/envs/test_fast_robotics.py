"""Beside the released code, at the simulator's own interface."""

import gymnasium as gym
import gymnasium_robotics
import numpy as np
import pytest
from env_tools import plain, shipped

from gipo_cli.envs import fast_robotics, simulators
from gipo_cli.envs.make import make_env
from gipo_cli.envs.robotics import TESTED

gym.register_envs(gymnasium_robotics)
ALL = [
    "FetchReachDense-v4",
    "FetchPush-v4",
    "FetchSlideDense-v4",
    "FetchPickAndPlaceDense-v4",
    "HandReachDense-v3",
    "HandManipulateBlockDense-v1",
    "HandManipulateEggRotate-v1",
    "HandManipulatePenDense-v1",
    "AdroitHandDoor-v1",
    "AdroitHandHammer-v1",
    "AdroitHandPen-v1",
    "AdroitHandRelocate-v1",
]
OTHERS = [
    "FetchReach-v4",
    "HandReach-v3",
    "HandManipulateBlockRotateZ-v1",
    "HandManipulateBlockRotateXYZDense-v1",
    "HandManipulateEggDense-v1",
    "HandManipulatePenRotateDense-v1",
    "HandManipulatePen-v1",
    "AdroitHandDoorSparse-v1",
    "AdroitHandPenSparse-v1",
]


def pair_of(name):
    """The released simulator, and the faster one."""
    pair = [gym.make(name, disable_env_checker=True).unwrapped for _ in range(2)]
    fast_robotics.quicken(pair[1])
    assert type(pair[1]) is not type(pair[0])
    return pair


def walk(name, steps, seeds):
    """Walk both through episodes, with actions beyond the bounds too."""
    pair = pair_of(name)
    rng = np.random.default_rng(0)
    for seed in seeds:
        starts = [sim.reset(seed=seed) for sim in pair]
        assert plain(starts[0]) == plain(starts[1])
        for step in range(steps):
            action = rng.uniform(-1.2, 1.2, pair[0].action_space.shape).astype(np.float32)
            results = [sim.step(action if seed % 2 else action.astype(float)) for sim in pair]
            assert plain(results[0]) == plain(results[1]), step
        assert pair[0].np_random.random() == pair[1].np_random.random()
    for quantity in ("qpos", "qvel", "qacc_warmstart", "efc_force", "site_xpos", "mocap_pos", "mocap_quat"):
        np.testing.assert_array_equal(*(getattr(sim.data, quantity) for sim in pair))


@pytest.mark.parametrize("name", ALL)
def test_every_environment_steps_as_released_to_the_bit(name):
    walk(name, 30, [3])


@pytest.mark.long
@pytest.mark.parametrize("name", ALL + OTHERS)
def test_whole_episodes_of_every_environment_are_as_released_to_the_bit(name):
    walk(name, 200, [1, 2, 3])


@pytest.mark.parametrize("name", ["FetchReach-v4", "AdroitHandPen-v1"])
def test_what_is_refused_is_refused_as_released(name):
    for sim in pair_of(name):
        sim.reset(seed=1)
        with pytest.raises(ValueError, match=r"could not be broadcast|dimension mismatch"):
            sim.step(np.zeros(3, np.float32))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_rotations_are_upstreams_to_the_bit():
    rng = np.random.default_rng(0)
    turns = [*rng.normal(size=(1000, 4)), np.zeros(4), np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 0, 0])]
    rotations = fast_robotics.rotations
    for turn in turns:
        assert plain(fast_robotics.quat2euler(turn)) == plain(rotations.quat2euler(turn))
        matrix = rotations.quat2mat(turn)
        assert plain(fast_robotics.mat2euler(matrix)) == plain(rotations.mat2euler(matrix))
        euler = turn[:3]
        assert np.array(fast_robotics.euler2quat(euler)).tobytes() == rotations.euler2quat(euler).tobytes()


@pytest.mark.parametrize("name", ["HandManipulateBlock_BooleanTouchSensors-v1", "FrankaKitchen-v1"])
def test_other_simulators_stay_as_they_are(name):
    kind = gym.envs.registration.load_env_creator(gym.spec(name).entry_point)
    assert fast_robotics.quick(kind) is None


def test_another_version_steps_as_released_with_a_note(monkeypatch):
    found = {**TESTED, "gymnasium-robotics": "1.4.3"}
    monkeypatch.setattr(simulators.metadata, "version", found.get)
    env = make_env(shipped("fetch_reach"), 1)
    assert not isinstance(env.unwrapped, fast_robotics.Robot)
    said = "gymnasium-robotics 1.4.3 steps as released; the faster methods are for gymnasium-robotics 1.4.2"
    assert env.notes == [said]


def test_a_list_of_controls_is_simulated_once():
    pair = pair_of("AdroitHandDoor-v1")
    for sim in pair:
        sim.reset(seed=1)
        sim.do_simulation([0.1] * sim.model.nu, 3)
    assert pair[0].data.time == pair[1].data.time > 0
    assert pair[0].data.qpos.tobytes() == pair[1].data.qpos.tobytes()
