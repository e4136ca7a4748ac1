import numpy as np
import pytest
from env_tools import shipped

from gipo_cli.envs.registry import METAWORLD_TASKS
from gipo_cli.envs.scripted import scripted
from gipo_cli.envs.spaces import ActionMap
from gipo_cli.errors import UserError
from gipo_cli.settings.schema import ActionConfig


@pytest.mark.parametrize("task", METAWORLD_TASKS)
def test_every_task_has_a_policy_that_leaves_the_observation_alone(task):
    play = scripted(shipped("metaworld", task=task))()
    obs = np.linspace(-1, 1, 39, dtype=np.float32)
    before = obs.copy()
    assert play(obs).shape == (4,)
    np.testing.assert_array_equal(obs, before)


def test_other_environments_have_none():
    with pytest.raises(UserError, match=r"env=fetch_reach .*has no scripted policy"):
        scripted(shipped("fetch_reach"))


def test_a_tasks_action_is_that_of_the_nearest_bin_and_of_the_scale():
    import gymnasium as gym

    space = gym.spaces.Box(np.float32([-1, 0]), np.float32([1, 10]))
    binned = ActionMap(space, ActionConfig(kind="binned", bins=5), "it")
    # Bins of the first dimension: -1, -.5, 0, .5, 1; of the second: 0, 2.5, 5, 7.5, 10.
    own = np.float32([[-0.9, 9.0], [0.3, 0.0], [1.0, 5.1]])
    assert binned.inverse(own).tolist() == [[0, 4], [3, 0], [4, 2]]
    scaled = ActionMap(space, ActionConfig(scale=True), "it")
    np.testing.assert_allclose(scaled.inverse(own), [[-0.9, 0.8], [0.3, -1], [1, 0.02]], atol=1e-6)
    for agents in (np.float32([0.3, -0.7]), np.float32([1, 1])):
        np.testing.assert_allclose(scaled.inverse(scaled(agents)[None])[0], agents, atol=1e-6)
    plain = ActionMap(space, ActionConfig(), "it")
    np.testing.assert_array_equal(plain.inverse(own), own)
