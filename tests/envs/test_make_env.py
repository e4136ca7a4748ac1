import sys
import textwrap

import gymnasium as gym
import numpy as np
import pytest
import yaml
from test_registry import CONF

from gipo_cli.envs.make import make_env, make_vec_env
from gipo_cli.envs.metaworld_tasks import METAWORLD_TASKS
from gipo_cli.envs.registry import ENVIRONMENTS
from gipo_cli.errors import UserError
from gipo_cli.settings.schema import EnvConfig

NAMED = [name for name in ENVIRONMENTS if name != "gymnasium"]
SIZES = {
    "fetch_reach": (13, 4),
    "fetch_pick_and_place": (28, 4),
    "adroit_door": (39, 28),
    "metaworld": (39, 4),
}


def shipped(name, **changes):
    """The configuration of conf/env, with changes."""
    return EnvConfig.model_validate({**yaml.safe_load((CONF / f"{name}.yaml").read_text()), **changes})


def rollout(env, actions):
    """Observations (n+1, d) and rewards (n,) of one new episode."""
    observations, rewards = [env.reset()[0]], []
    for action in actions:
        observation, reward, *_ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    return np.array(observations), np.array(rewards)


def random_actions(env, count, seed=0):
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(count)]


def assert_history_free_and_seeded(cfg, steps=15):
    """Episode 3 is the same bits whatever came before it, and another one for another seed or number."""
    env, other = make_env(cfg, 5), make_env(cfg, 5, task_seed=5)
    actions = random_actions(env, steps)
    env.set_episode_index(3)
    first = rollout(env, actions)
    rollout(env, random_actions(env, steps // 2, seed=1))
    env.set_episode_index(3)
    again = rollout(env, actions)
    rollout(other, random_actions(env, 4, seed=2))
    other.set_episode_index(3)
    fresh = rollout(other, actions)
    for copy in (again, fresh):
        np.testing.assert_array_equal(first[0], copy[0])
        np.testing.assert_array_equal(first[1], copy[1])
    other.set_episode_index(4)
    assert not np.array_equal(first[0], rollout(other, actions)[0])
    other.reset(seed=6)
    other.set_episode_index(3)
    assert not np.array_equal(first[0], rollout(other, actions)[0])
    env.close()
    other.close()


@pytest.mark.parametrize("kind", ["continuous", "binned"])
@pytest.mark.parametrize("name", NAMED)
def test_every_named_environment_keeps_the_contract(name, kind):
    env = make_env(shipped(name, max_episode_steps=20, action={"kind": kind, "bins": 11}), 1)
    assert env.render_mode is None
    assert isinstance(env.observation_space, gym.spaces.Box)
    assert env.observation_space.dtype == np.float32
    dimensions = (env.observation_space.shape[0], env.action_space.shape[0])
    assert dimensions == SIZES.get(name, dimensions)
    if kind == "binned":
        assert env.action_space == gym.spaces.MultiDiscrete([11] * dimensions[1])
    observation, _ = env.reset()
    assert env.observation_space.contains(observation)
    for k, action in enumerate(random_actions(env, 20), start=1):
        observation, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        assert type(reward) is float
        assert (terminated, truncated) == (False, k == 20)
        assert type(info["is_success_step"]) is bool
    assert {type(info[key]) for key in ("is_success", "success_any", "success_last")} == {bool}
    assert info["episode"]["l"] == 20
    env.close()


@pytest.mark.parametrize("name", NAMED)
def test_episodes_depend_on_seed_and_number_alone(name):
    assert_history_free_and_seeded(shipped(name))


@pytest.mark.long
@pytest.mark.parametrize("task", METAWORLD_TASKS)
def test_episodes_of_every_metaworld_task_depend_on_seed_and_number_alone(task):
    assert_history_free_and_seeded(shipped("metaworld", task=task), steps=40)


def goal_of(env):
    return tuple(env.unwrapped._last_rand_vec)


def test_metaworld_goals_are_the_benchmarks_and_depend_on_the_task_seed_alone():
    import metaworld  # noqa: F401 - registers Meta-World/MT1

    official = gym.make("Meta-World/MT1", env_name="reach-v3", seed=7, disable_env_checker=True)
    expected = set()
    for task in official.get_wrapper_attr("tasks"):
        official.unwrapped.set_task(task)
        expected.add(tuple(official.unwrapped._last_rand_vec))
    assert len(expected) == 50
    drawn = []
    for seed in (1, 2):
        env = make_env(shipped("metaworld"), seed, task_seed=7)
        drawn.append([env.reset() and goal_of(env) for _ in range(20)])
        assert set(drawn[-1]) < expected
    assert drawn[0] != drawn[1]
    env = make_env(shipped("metaworld"), 1, task_seed=8)
    assert (env.reset() and goal_of(env)) not in expected


def test_metaworld_cycle_visits_every_goal_in_order():
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


def test_metaworld_goal_is_seen_and_its_own_limit_is_a_truncation():
    env = make_env(shipped("metaworld", task="door-open-v3"), 1)
    observation, _ = env.reset()
    np.testing.assert_array_equal(observation[-3:], env.unwrapped._target_pos.astype(np.float32))
    for _ in range(500):
        *_, terminated, truncated, info = env.step(np.zeros(4, np.float32))
    assert (terminated, truncated, info["episode"]["l"]) == (False, True, 500)


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


def test_binned_actions_do_what_the_same_continuous_actions_do():
    binned = make_env(shipped("fetch_push", action={"kind": "binned", "bins": 5}), 1)
    continuous = make_env(shipped("fetch_push"), 1)
    tokens = random_actions(binned, 10)
    values = [np.array([-1, -0.5, 0, 0.5, 1], np.float32)[token] for token in tokens]
    np.testing.assert_array_equal(rollout(binned, tokens)[0], rollout(continuous, values)[0])


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


MODULE = """
    import gymnasium as gym
    import numpy as np

    class Mine(gym.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
        observation_space = gym.spaces.Box(-1, 1, (2,), np.float64)
        action_space = gym.spaces.Box(-2, 2, (1,), np.float32)

        def __init__(self, goal=0.0, render_mode=None):
            self.goal = goal
            self.render_mode = render_mode

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.x = self.np_random.uniform(-1, 1)
            return np.array([self.x, self.goal]), {}

        def step(self, action):
            self.x = float(np.clip(self.x + 0.1 * action[0], -1, 1))
            gap = abs(self.x - self.goal)
            return np.array([self.x, self.goal]), -gap, False, False, {"success": gap < 0.1}

    gym.register("Mine-v0", Mine, max_episode_steps=7)
"""


@pytest.fixture
def my_module(tmp_path, monkeypatch):
    """A user's module in the current directory."""
    (tmp_path / "my_own_envs.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield "my_own_envs"
    sys.modules.pop("my_own_envs", None)
    gym.registry.pop("Mine-v0", None)


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
        ({"id": "Reecher-v5", "imports": []}, ["'Reecher-v5'", "did you mean 'Reacher-v5'?", "env.imports"]),
        ({"id": "CartPole-v1", "imports": []}, ["Discrete(2)", "continuous"]),
        ({"imports": ["no_such_module"]}, ["env.imports", "'no_such_module'"]),
        ({"kwargs": {"gaol": 1}}, ["gymnasium (Mine-v0) cannot be made", "gaol", "env.kwargs"]),
    ],
)
def test_mistakes_with_gymnasium_ids_are_one_sentence(my_module, changes, parts):
    with pytest.raises(UserError) as caught:
        make_env(mine(**changes), 1)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_wrong_chore_is_the_users_mistake():
    with pytest.raises(UserError, match=r"The task microwve cannot be found"):
        make_env(shipped("franka_kitchen", kwargs={"tasks_to_complete": ["microwve"]}), 1)
