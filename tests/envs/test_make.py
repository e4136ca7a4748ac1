import gymnasium as gym
import numpy as np
import pytest
from env_tools import assert_history_free_and_seeded, random_actions, rollout, shipped

from gipo_cli.envs.make import ADAPTERS, make_env, make_vec_env
from gipo_cli.envs.registry import ENVIRONMENTS
from gipo_cli.envs.task_env import TaskEnv
from gipo_cli.errors import UserError

NAMED = [name for name in ENVIRONMENTS if name != "gymnasium"]
SIZES = {
    "fetch_reach": (13, 4),
    "fetch_pick_and_place": (28, 4),
    "adroit_door": (39, 28),
    "metaworld": (39, 4),
}


def assert_contract(env, steps):
    """One episode of ``steps`` steps, which is its limit."""
    assert env.render_mode is None
    assert isinstance(env.observation_space, gym.spaces.Box)
    assert env.observation_space.dtype == np.float32
    observation, _ = env.reset()
    assert env.observation_space.contains(observation)
    for k, action in enumerate(random_actions(env, steps), start=1):
        observation, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        assert type(reward) is float
        assert (terminated, truncated) == (False, k == steps)
        assert type(info["is_success_step"]) is bool
    assert {type(info[key]) for key in ("is_success", "success_any", "success_last")} == {bool}
    assert info["episode"]["l"] == steps


@pytest.mark.parametrize("name", NAMED)
def test_every_named_environment_keeps_the_contract_with_episodes_from_seed_and_number_alone(name):
    cfg = shipped(name, max_episode_steps=20)
    env, other = make_env(cfg, 5), make_env(cfg, 5, task_seed=5)
    dimensions = (env.observation_space.shape[0], env.action_space.shape[0])
    assert dimensions == SIZES.get(name, dimensions)
    assert_contract(env, 20)
    assert_history_free_and_seeded(env, other)
    binned = cfg.model_validate({**cfg.model_dump(), "action": {"kind": "binned", "bins": 11}})
    env = TaskEnv(env._simulator, binned, label=name, seed=1, index=0)
    assert env.action_space == gym.spaces.MultiDiscrete([11] * dimensions[1])
    assert_contract(env, 20)
    env.close()
    other.close()


def test_every_family_has_an_adapter():
    assert set(ADAPTERS) == {entry.family for entry in ENVIRONMENTS.values()}


def test_binned_actions_do_what_the_same_continuous_actions_do():
    binned = make_env(shipped("metaworld", action={"kind": "binned", "bins": 5}), 1)
    continuous = make_env(shipped("metaworld"), 1)
    tokens = random_actions(binned, 10)
    values = [np.array([-1, -0.5, 0, 0.5, 1], np.float32)[token] for token in tokens]
    np.testing.assert_array_equal(rollout(binned, tokens)[0], rollout(continuous, values)[0])


def test_environments_of_a_vector_are_those_made_one_by_one():
    cfg = shipped("gymnasium", id="Pendulum-v1")
    starts = make_vec_env(cfg, 3, n_envs=3).reset()
    np.testing.assert_array_equal(starts, [make_env(cfg, 3, index).reset()[0] for index in range(3)])


def test_a_constructor_that_refuses_its_arguments_is_the_users_mistake():
    with pytest.raises(UserError, match=r"franka_kitchen .*The task microwve cannot be found.*env\.kwargs"):
        make_env(shipped("franka_kitchen", kwargs={"tasks_to_complete": ["microwve"]}), 1)
