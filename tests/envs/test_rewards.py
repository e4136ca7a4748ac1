import numpy as np
import pytest
from env_tools import ACTION, Script, shipped, wrap

from gipo_cli.envs.make import make_env
from gipo_cli.envs.resolve import resolve
from gipo_cli.envs.rewards import paid
from gipo_cli.errors import RunFailed, UserError


def steps(script, count=1, **settings):
    env = wrap(Script(script), **settings)
    env.reset()
    return [env.step(ACTION)[1:] for _ in range(count)]


def test_what_a_step_pays():
    rewards, successes = np.array([0.5, 10.0]), np.array([False, True])
    for cfg, pays in [
        (shipped("metaworld"), [0.5, 10]),
        (shipped("metaworld", reward="shifted"), [-9.5, 0]),
        (shipped("fetch_reach", reward="success"), [0, 1]),
    ]:
        assert paid(cfg, rewards, successes).tolist() == pays
        assert [paid(cfg, *step) for step in zip(rewards, successes, strict=True)] == pays


def test_shifted_is_metaworlds_reward_less_ten():
    cfg = shipped("metaworld")
    plain, shifted = (make_env(cfg.model_copy(update={"reward": name}), 1) for name in (None, "shifted"))
    action = np.array([0.5, 0.2, -1, 0], np.float32)
    for env in (plain, shifted):
        env.reset()
    assert shifted.step(action)[1] == plain.step(action)[1] - 10
    assert resolve(shipped("metaworld", reward="success")).reward == "dense"
    with pytest.raises(UserError, match=r"env\.reward may be dense or sparse or success$"):
        resolve(shipped("fetch_reach", reward="shifted"))
    with pytest.raises(UserError, match=r"env.reward may be null \(the id names its own reward\) or success"):
        resolve(shipped("gymnasium", id="Reacher-v5", reward="dense"))


WON = {"success": True}
LOST = {"success": False}


def test_success_pays_one_and_may_end_the_episode():
    script = [(7.0, LOST, False, False), (8.0, WON, False, False), (9.0, LOST, False, False)]
    assert [step[0] for step in steps(script, 3, reward="success")] == [0, 1, 0]
    ended = steps(script, 2, end_on_success=True)
    assert [step[:3] for step in ended] == [(7.0, False, False), (8.0, True, False)]
    assert ended[1][3]["is_success"] is True
    assert (ended[1][3]["episode"]["r"], ended[1][3]["episode"]["l"]) == (15, 2)


@pytest.mark.parametrize("setting", [{"reward": "success"}, {"end_on_success": True}])
def test_without_a_report_of_success_neither_is_possible(setting):
    with pytest.raises(RunFailed, match=r"env\.(reward=success|end_on_success=true) needs success in info"):
        steps([(1.0, {}, False, False)], **setting)


def test_a_repeated_action_adds_rewards_up_and_reports_any_success():
    script = [(1.0, LOST, False, False), (2.0, WON, False, False), (4.0, LOST, False, False)] * 2
    env = wrap(Script(script), action={"repeat": 3}, limit=5)
    like = Script(script)
    env.reset()
    seen = like.reset(seed=env.unwrapped.seeds[0])[0]
    _, reward, terminated, truncated, info = step = env.step(ACTION)
    for _ in range(3):
        seen = like.step(ACTION)[0]
    np.testing.assert_array_equal(step[0], seen.astype(np.float32))
    assert (reward, terminated, truncated, info["is_success_step"]) == (7, False, False, True)
    # The limit is reached within the second action, whose steps after that are not taken.
    _, reward, _, truncated, info = env.step(ACTION)
    assert (reward, truncated, env.unwrapped.now) == (3, True, 5)
    assert (info["episode"]["r"], info["episode"]["l"]) == (10, 2)
    assert steps(script, action={"repeat": 3}, end_on_success=True)[0][:2] == (3, True)


def test_an_end_within_a_repeated_action_is_the_end():
    assert steps([(1.0, {}, False, False), (2.0, {}, True, False)], 1, action={"repeat": 4})[0][:2] == (
        3,
        True,
    )
