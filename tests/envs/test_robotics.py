"""Against gymnasium-robotics as it comes."""

import numpy as np
import pytest
from env_tools import random_actions, rollout, shipped

from gipo_cli.envs.make import make_env


def test_fetch_success_is_the_distance_and_its_limit_is_fifty():
    env = make_env(shipped("fetch_reach", success="any"), 1)
    for _ in range(2):
        observation, _ = env.reset()
        hits = []
        truncated = False
        while not truncated:
            action = np.append(np.clip(10 * (observation[10:] - observation[:3]), -1, 1), 0)
            observation, reward, _, truncated, info = env.step(action)
            distance = np.linalg.norm(observation[:3] - observation[10:])
            assert reward == pytest.approx(-distance, abs=1e-6)
            hits.append(bool(distance < 0.05))
            assert info["is_success_step"] == hits[-1]
        assert len(hits) == 50
        assert info["success_any"]
        assert info["success_last"] == hits[-1]


# Where the released observation holds palm minus object (door: 32:35, relocate: 30:33), or both (hammer).
DISTANCES = {
    "adroit_door": lambda o: np.linalg.norm(o[..., 35:38], axis=-1),
    "adroit_hammer": lambda o: np.linalg.norm(o[..., 33:36] - o[..., 36:39], axis=-1),
    "adroit_relocate": lambda o: np.linalg.norm(o[..., 30:33], axis=-1),
}


@pytest.mark.parametrize("name", DISTANCES)
def test_corrected_adroit_reward_is_the_released_one_less_a_fifth_of_the_distance(name):
    corrected, released = (make_env(shipped(name, reward=reward), 1) for reward in ("dense", "released"))
    actions = random_actions(corrected, 20)
    observations, rewards = rollout(corrected, actions)
    same, published = rollout(released, actions)
    np.testing.assert_array_equal(observations, same)
    distance = DISTANCES[name](observations[1:].astype(np.float64))
    assert distance.min() > 0.01
    np.testing.assert_allclose(rewards, published - 0.2 * distance, atol=1e-6)


def test_sparse_adroit_reward_is_paid_for_success_only():
    env = make_env(shipped("adroit_door", reward="sparse"), 1)
    _, rewards = rollout(env, random_actions(env, 5))
    assert rewards.tolist() == [-0.1] * 5


def test_kitchen_succeeds_when_every_chore_is_done():
    env = make_env(shipped("franka_kitchen", kwargs={"tasks_to_complete": ["microwave", "kettle"]}), 1)
    env.reset()
    sim = env.unwrapped
    idle = np.zeros(9, np.float32)
    sim.goal["microwave"] = sim.data.qpos[[22]].copy()  # already there
    *_, terminated, _, first = env.step(idle)
    assert (terminated, first["is_success_step"]) == (False, False)
    assert first["episode_task_completions"] == ["microwave"]
    sim.goal["kettle"] = sim.data.qpos[23:30].copy()
    *_, terminated, truncated, last = env.step(idle)
    assert (terminated, truncated, last["is_success"]) == (True, False, True)
    assert first["episode_task_completions"] == ["microwave"]  # an earlier step's record stays as it was
