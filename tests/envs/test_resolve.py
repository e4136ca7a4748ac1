import pytest

from gipo_cli.envs.registry import ENVIRONMENTS
from gipo_cli.envs.resolve import resolve
from gipo_cli.errors import UserError
from gipo_cli.settings.schema import EnvConfig


def config(**values):
    return EnvConfig.model_validate(values)


def test_null_reward_is_the_first_listed():
    assert resolve(config(name="fetch_push")).id == "FetchPushDense-v4"
    assert resolve(config(name="fetch_push")).reward == "dense"
    assert resolve(config(name="fetch_push", reward="sparse")).id == "FetchPush-v4"
    assert resolve(config(name="franka_kitchen")).reward == "sparse"
    assert resolve(config(name="metaworld", task="sweep-v3")).id is None


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"name": "fetch_reech"}, ["'fetch_reech'", "(did you mean fetch_reach"]),
        ({"name": "qqq"}, ["'qqq'", "fetch_reach, fetch_push"]),
        ({"name": "metaworld"}, ["needs env.task", "reach-v3"]),
        ({"name": "metaworld", "task": "reach"}, ["'reach'", "(did you mean reach-v3"]),
        ({"name": "hand_manipulate_egg", "task": "rotat"}, ["(did you mean rotate"]),
        ({"name": "fetch_reach", "task": "reach-v3"}, ["single task", "left out; type env=metaworld"]),
        ({"name": "fetch_reach", "task": "reach-v4"}, ["'reach-v4' must be left out"]),
        ({"name": "fetch_reach", "reward": "released"}, ["dense or sparse"]),
        ({"name": "metaworld", "task": "reach-v3", "reward": "sparse"}, ["env.reward may be dense"]),
        ({"name": "gymnasium", "id": "Reacher-v5", "reward": "dense"}, ["null"]),
        ({"name": "gymnasium"}, ["env.id=Reacher-v5"]),
        ({"name": "fetch_reach", "id": "Reacher-v5"}, ["env=gymnasium only"]),
        ({"name": "metaworld", "task": "reach-v3", "max_episode_steps": 501}, ["501", "500 steps"]),
        ({"name": "fetch_reach", "kwargs": {"render_mode": "human"}}, ["env.kwargs.render_mode"]),
        ({"name": "adroit_door", "kwargs": {"reward_type": "sparse"}}, ["governed by env.reward"]),
    ],
)
def test_mistakes_are_one_sentence(values, parts):
    with pytest.raises(UserError) as caught:
        resolve(config(**values))
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not ENVIRONMENTS["fetch_reach"].installed
    with pytest.raises(UserError, match="pip install gymnasium-robotics"):
        resolve(config(name="fetch_reach"))
    assert resolve(config(name="gymnasium", id="Reacher-v5")).id == "Reacher-v5"
