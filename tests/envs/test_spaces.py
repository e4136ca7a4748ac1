import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gipo_cli.envs.spaces import ActionMap, ObservationFlattener
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.settings.schema import ActionConfig


def box(*shape, low=-1.0, high=1.0, dtype=np.float64):
    return gym.spaces.Box(low, high, shape, dtype)


def binned(space, bins):
    return ActionMap(space, ActionConfig(kind="binned", bins=bins), "toy")


def test_goal_dictionary_becomes_observation_and_desired_goal_where_the_achieved_goal_is_redundant():
    space = gym.spaces.Dict(achieved_goal=box(2), desired_goal=box(2), observation=box(3))
    flatten = ObservationFlattener(space, "toy", ["achieved_goal"])
    flat = flatten({"achieved_goal": [9, 9], "desired_goal": [4, 5], "observation": np.array([1, 2, 3])})
    assert flat.tolist() == [1, 2, 3, 4, 5]
    assert flat.dtype == np.float32
    assert flatten.space == gym.spaces.Box(-np.inf, np.inf, (5,), np.float32)


def test_every_part_of_a_goal_dictionary_is_seen_the_goal_first():
    space = gym.spaces.Dict(
        achieved_goal=box(1), force=box(2, 2), desired_goal=box(1), observation=box(2), camera=box(0)
    )
    flatten = ObservationFlattener(space, "toy")
    whole = {
        "achieved_goal": [3],
        "force": [[4, 5], [6, 7]],
        "desired_goal": [2],
        "observation": [0, 1],
        "camera": [],
    }
    assert flatten(whole).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert flatten.text == "observation (2) + desired_goal (1) + achieved_goal (1) + force (4) + camera (0)"


def test_what_is_seen_of_a_box_and_of_parts_within_parts():
    assert ObservationFlattener(box(2, 2), "toy").text == "observation (4)"
    nested = gym.spaces.Dict(arm=gym.spaces.Dict(pose=box(7), grip=box()))
    assert set(ObservationFlattener(nested, "toy").text.split(" + ")) == {"arm/pose (7)", "arm/grip (1)"}


def test_nested_goals_and_other_dictionaries_and_matrices_are_flattened_in_order():
    goals = gym.spaces.Dict(b=box(1), a=box(2))
    flatten = ObservationFlattener(gym.spaces.Dict(observation=box(1), desired_goal=goals), "toy")
    order = list(goals)
    parts = {"a": [2.0, 3.0], "b": [4.0]}
    assert flatten({"observation": [1.0], "desired_goal": parts}).tolist() == [
        1.0,
        *parts[order[0]],
        *parts[order[1]],
    ]

    plain = ObservationFlattener(gym.spaces.Dict(x=box(2, 2), y=box()), "toy")
    assert plain({"x": np.array([[1, 2], [3, 4]]), "y": 5.0}).tolist() == [1, 2, 3, 4, 5]


def test_every_call_returns_its_own_array():
    flatten = ObservationFlattener(box(2), "toy")
    first, second = flatten(np.zeros(2)), flatten(np.ones(2))
    assert first.tolist() == [0, 0]
    assert not np.shares_memory(first, second)


def test_large_finite_observations_are_fine():
    large = np.array([3e38, -3e38])
    assert ObservationFlattener(box(2), "toy")(large).tolist() == large.astype(np.float32).tolist()


@pytest.mark.parametrize(("bad", "says"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_non_finite_observation_names_the_component(bad, says):
    with pytest.raises(RunFailed, match=f"observation component 1 is {says}"):
        ObservationFlattener(box(3), "toy")(np.array([0.0, bad, 0.0]))


def test_wrong_shape_names_the_part():
    flatten = ObservationFlattener(gym.spaces.Dict(observation=box(3), desired_goal=box(2)), "toy")
    with pytest.raises(
        RunFailed, match=r"observation/desired_goal has shape \(1,\) where its space says \(2,\)"
    ):
        flatten({"observation": np.zeros(3), "desired_goal": np.zeros(1)})


def test_other_observation_spaces_are_refused():
    with pytest.raises(UserError, match="observation k is a Discrete space"):
        ObservationFlattener(gym.spaces.Dict(k=gym.spaces.Discrete(3)), "toy")


def test_bins_are_evenly_spaced_and_end_at_the_bounds():
    act = binned(gym.spaces.Box(np.array([-1.0, 0.0]), np.array([1.0, 8.0]), dtype=np.float64), 5)
    assert act.space == gym.spaces.MultiDiscrete([5, 5])
    assert act(np.array([0, 0])).tolist() == [-1.0, 0.0]
    assert act(np.array([1, 3])).tolist() == [-0.5, 6.0]
    assert act(np.array([4, 4])).tolist() == [1.0, 8.0]


@given(st.integers(0, 255))
def test_the_authors_256_bins(token):
    value = binned(box(4, dtype=np.float32), 256)(np.full(4, token))
    np.testing.assert_allclose(value, -1 + 2 * token / 255, atol=1e-7)


@given(st.floats(-50, 50), st.floats(0.1, 50), st.integers(2, 300))
def test_end_bins_are_the_bounds_exactly(low, width, bins):
    space = gym.spaces.Box(np.float32(low), np.float32(low + width), (1,))
    act = binned(space, bins)
    assert act(np.array([0])) == space.low
    assert act(np.array([bins - 1])) == space.high


def test_continuous_actions_pass_unchanged_and_matrices_are_flat_for_the_agent():
    act = ActionMap(box(2, 3), ActionConfig(), "toy")
    assert act.space == gym.spaces.Box(-1, 1, (6,), np.float32)
    assert act(np.arange(6.0)).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("space", [gym.spaces.Discrete(2), gym.spaces.Box(0, 9, (2,), np.int64)])
def test_other_action_spaces_are_refused(space):
    with pytest.raises(UserError, match=r"env=toy has the action space .*continuous"):
        ActionMap(space, ActionConfig(), "toy")


@pytest.mark.parametrize("kind", ["binned", "continuous"])
@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0, np.inf), (-np.inf, 0)])
def test_actions_without_bounds_are_refused(kind, bounds):
    space = gym.spaces.Box(*bounds, (2,), np.float64)
    with pytest.raises(UserError, match=r"env=toy has actions without bounds; give its action space finite"):
        ActionMap(space, ActionConfig(kind=kind), "toy")


def test_scaled_actions_go_from_bound_to_bound():
    space = gym.spaces.Box(np.float32([0, -0.01]), np.float32([1000, 0.03]))
    act = ActionMap(space, ActionConfig(scale=True), "toy")
    assert act.space == gym.spaces.Box(-1, 1, (2,), np.float32)
    assert act.note is None
    assert act(np.float32([-1, 1])).tolist() == [space.low[0], space.high[1]]
    np.testing.assert_allclose(act(np.float32([0.4, 0])), [700, 0.01], rtol=1e-6)
    assert act(np.float32([0.3, -0.7])).dtype == np.float32


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(-1, 1))
def test_a_scaled_action_is_within_the_bounds(low, width, action):
    space = gym.spaces.Box(np.float32(low), np.float32(low + width), (1,))
    assert space.contains(ActionMap(space, ActionConfig(scale=True), "toy")(np.float32([action])))


@pytest.mark.parametrize(
    ("low", "high", "far"),
    [
        (0, 1000, True),
        (-0.01, 0.01, True),
        (5, 6, True),
        (-9, -2, True),
        (-2, 2, False),
        (0, 1, False),
        (-0.4, 0.4, False),
    ],
)
def test_bounds_far_from_a_new_policys_actions_are_noted_with_the_cure(low, high, far):
    note = ActionMap(gym.spaces.Box(low, high, (3,)), ActionConfig(), "toy").note
    assert (note is not None and note.endswith("type env.action.scale=true")) is far
    assert ActionMap(gym.spaces.Box(low, high, (3,)), ActionConfig(kind="binned"), "toy").note is None


@pytest.mark.parametrize("shape", [(2,), (2, 3)])
@pytest.mark.parametrize("settings", [{}, {"scale": True}, {"kind": "binned", "bins": 3}])
def test_a_task_that_changes_its_action_changes_no_one_elses(shape, settings):
    act = ActionMap(box(*shape, dtype=np.float32), ActionConfig(**settings), "toy")
    mine = act.space.sample()
    before = mine.copy()
    act(mine)[...] = 9
    np.testing.assert_array_equal(mine, before)
    assert act(mine).max() <= 1
