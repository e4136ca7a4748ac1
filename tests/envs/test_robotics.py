"""Joints by address: against gymnasium-robotics as it comes."""

from types import SimpleNamespace

import gymnasium as gym
import gymnasium_robotics
import mujoco
import numpy as np
import pytest

from gipo_cli.envs.make import make_env
from gipo_cli.envs.robotics import find_joints_once
from gipo_cli.settings.compose import compose

gym.register_envs(gymnasium_robotics)


@pytest.mark.parametrize("env_id", ["FetchReachDense-v4", "FetchPush-v4", "HandReach-v3"])
def test_observations_are_equal_to_the_bit(env_id):
    plain, quick = gym.make(env_id), gym.make(env_id)
    assert find_joints_once(quick)
    states = [env.reset(seed=3)[0] for env in (plain, quick)]
    for _ in range(20):
        assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])
        action = plain.action_space.sample()
        states = [env.step(action)[0] for env in (plain, quick)]
    assert np.abs(states[0]["observation"]).max() > 0


def test_names_are_no_longer_looked_up(monkeypatch):
    config = compose(["env=fetch_reach"]).config
    env = make_env(config.env, seed=1)
    looked_up = []

    def spy(model, kind, name):
        looked_up.append(name)
        return find(model, kind, name)

    find = mujoco.mj_name2id
    monkeypatch.setattr(mujoco, "mj_name2id", spy)
    env.reset()
    looked_up.clear()
    env.step(np.zeros(4, np.float32))
    assert [name for name in looked_up if name.startswith("robot0:") and "joint" in name] == [
        "robot0:l_gripper_finger_joint",
        "robot0:r_gripper_finger_joint",
    ]


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "AdroitHandDoor-v1"])
def test_other_simulators_stay_as_they_are(env_id):
    env = gym.make(env_id)
    before = dict(vars(env.unwrapped))
    assert not find_joints_once(env)
    assert vars(env.unwrapped) == before


def test_a_robot_with_a_free_joint_stays_as_it_is():
    body = "<body><{} name='robot:{}'/><geom size='1'/></body>"
    bodies = body.format("freejoint", "base") + body.format("joint", "arm")
    model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{bodies}</worldbody></mujoco>")
    utils = SimpleNamespace(robot_get_obs=None)
    names = SimpleNamespace(joint_names=["robot:base", "robot:arm"])
    sim = SimpleNamespace(model=model, _utils=utils, _model_names=names)
    assert not find_joints_once(SimpleNamespace(unwrapped=sim))
    assert sim._utils is utils
