import numpy as np
import pytest
import toy_robot

from gipo_cli.envs.make import make_env
from gipo_cli.errors import UserError
from gipo_cli.settings.compose import compose
from gipo_cli.training.evaluate import EVALUATION_INDEX
from gipo_cli.training.record import DEMONSTRATION_INDEX, record, record_scripted


def recorded(**changes):
    arguments = {"episodes": 4, "seed": 3, "source": "the expert", **changes}
    return record(lambda: toy_robot.expert, toy_robot.config(), **arguments)


def test_episodes_end_at_their_first_success_and_repeat():
    made = recorded()
    assert made.successful.all()
    assert made.success.sum() == 4
    assert made.number.tolist() == [0, 1, 2, 3]
    assert made.goal.tolist() == [-1] * 4
    assert made.to_bytes() == recorded().to_bytes()
    assert made.to_bytes() != recorded(seed=4).to_bytes()
    env = make_env(toy_robot.config(), 3, DEMONSTRATION_INDEX)
    for episode in range(4):
        rows = made.rows(episode)
        obs, ended = env.replay(int(made.number[episode]), made.action[rows])
        np.testing.assert_array_equal(obs, made.final_obs[episode])
        assert not ended
    # An evaluation of the same seed begins elsewhere.
    other = make_env(toy_robot.config(), 3, EVALUATION_INDEX)
    assert not np.array_equal(other.reset()[0], made.obs[0])


def test_noise_is_clipped_and_what_was_done_is_what_is_recorded():
    made = recorded(noise=0.8)
    assert np.abs(made.action).max() == 1.0
    before = made.obs[:-1][~made.success[:-1]]
    after = made.obs[1:][~made.success[:-1]]
    done = made.action[:-1][~made.success[:-1]]
    np.testing.assert_allclose(after[:, :2] - before[:, :2], 0.2 * done, atol=1e-5)
    assert not np.allclose(done, [toy_robot.expert(obs) for obs in before])


def lazy(obs):
    return np.zeros(2) if obs[2] > 0 else toy_robot.expert(obs)


def test_failures_are_left_out_counted_and_kept_if_asked():
    made = record(lambda: lazy, toy_robot.config(), episodes=4, seed=3, source="it")
    assert made.successful.all()
    assert made.about["played"] > 4
    kept = record(lambda: lazy, toy_robot.config(), episodes=6, seed=3, source="it", successful=False)
    assert kept.about["played"] == 6
    assert 0 < kept.successful.sum() < 6
    assert kept.length[~kept.successful].tolist() == [30] * int((~kept.successful).sum())


def test_a_policy_that_fails_says_how_often():
    with pytest.raises(UserError, match=r"the script succeeded in 0 of 20 episodes of .*use less noise"):
        record(lambda: lambda _: np.zeros(2), toy_robot.config(), episodes=2, seed=3, source="the script")


def test_a_scripted_policy_plays_with_the_tasks_actions_whatever_the_agents_are():
    config = compose(["env=metaworld", "env.task=coffee-button-v3", "env.action.kind=binned"]).config
    made = record_scripted(config.env, episodes=2, seed=1)
    assert made.action.dtype == np.float32
    assert np.abs(made.action).max() <= 1
    assert ((made.goal >= 0) & (made.goal < 50)).all()
    assert made.about["env"]["task"] == "coffee-button-v3"
    assert made.about["versions"]["metaworld"]
