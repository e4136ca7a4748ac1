import numpy as np
import pytest
from env_tools import ACTION, Script
from env_tools import wrap as wrap_env

from gipo_cli.envs.task_env import episode_seed
from gipo_cli.errors import RunFailed


def wrap(script=(), **settings):
    return wrap_env(Script(script), **settings)


def play(env):
    """All step results of one episode."""
    env.reset()
    steps = [env.step(ACTION)]
    while not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(ACTION))
    return steps


def successes(key, *values):
    return [(1.0, {key: value}, False, False) for value in values]


@pytest.mark.parametrize(
    ("values", "anywhere", "at_end"),
    [((0, 1, 0), True, False), ((0, 0, 1), True, True), ((0, 0, 0), False, False)],
)
@pytest.mark.parametrize("mode", ["any", "last"])
@pytest.mark.parametrize("key", ["success", "is_success"])
def test_success_at_any_step_and_at_the_last(values, anywhere, at_end, mode, key):
    steps = play(wrap(successes(key, *values), limit=3, success=mode))
    assert [info["is_success_step"] for *_, info in steps] == [bool(value) for value in values]
    assert all("is_success" not in info for *_, info in steps[:-1])
    final = steps[-1][-1]
    assert final["success_any"] is anywhere
    assert final["success_last"] is at_end
    assert final["is_success"] is (anywhere if mode == "any" else at_end)


def test_a_task_that_reports_no_success_has_none():
    *_, info = play(wrap([(0.0, {}, False, False), (0.0, {}, True, False)]))[-1]
    assert not {"is_success", "success_any", "success_last"} & set(info)
    assert info["is_success_step"] is False


@pytest.mark.parametrize("first", [True, False])
def test_an_environment_that_reports_success_in_some_episodes_only_is_refused(first):
    reporting, silent = successes("is_success", 0, 1), [(0.0, {}, False, False)] * 2
    env = wrap(reporting if first else silent, limit=2)
    for _ in range(2):
        assert ("is_success" in play(env)[-1][-1]) is first
    env.unwrapped.script = silent if first else reporting
    with pytest.raises(
        RunFailed, match=r"episode 2, step 2\): some episodes report success and others do not"
    ):
        play(env)


def test_success_of_one_episode_does_not_leak_into_the_next():
    env = wrap(successes("success", 1, 0), limit=2)
    assert play(env)[-1][-1]["success_any"] is True
    env.unwrapped.script = successes("success", 0, 0)
    assert play(env)[-1][-1]["success_any"] is False


def test_success_key_chooses_among_several_and_must_be_there():
    script = [(0.0, {"is_success": 0, "success": 0, "solved": np.float32(1)}, True, False)]
    assert play(wrap(script, success_key="solved"))[-1][-1]["is_success"] is True
    assert play(wrap(script))[-1][-1]["is_success"] is False
    with pytest.raises(
        RunFailed, match=r"info has no key 'won' \(env.success_key\); it has: success, solved"
    ):
        play(wrap(script, success_key="won"))


def test_time_limit_is_a_truncation():
    steps = play(wrap(limit=4))
    assert [step[2:4] for step in steps] == [(False, False)] * 3 + [(False, True)]


def test_termination_is_not_a_truncation_unless_both_hold():
    end = [(0.0, {}, False, False), (0.0, {}, True, False)]
    assert play(wrap(end, limit=3))[-1][2:4] == (True, False)
    assert play(wrap(end, limit=2))[-1][2:4] == (True, True)
    assert play(wrap([(0.0, {}, False, True)]))[-1][2:4] == (False, True)


@pytest.mark.parametrize(
    ("script", "limit"), [((), 3), ([(0.0, {}, False, False)] * 2 + [(0.0, {}, True, False)], None)]
)
@pytest.mark.parametrize(("done", "ended"), [(2, False), (3, True), (9, True)])
def test_replaying_stops_where_the_episode_ends_and_says_so(script, limit, done, ended):
    env, like = wrap(script, limit=limit), wrap(script, limit=limit)
    steps = play(like)[:done]
    observation, over = env.replay(0, [ACTION] * done)
    np.testing.assert_array_equal(observation, steps[-1][0])
    assert over is ended


def test_episode_statistics():
    env = wrap([(np.float64(1.5), {}, False, False), (np.float32(-4.0), {}, False, True)])
    steps = play(env)
    assert [type(step[1]) for step in steps] == [float, float]
    assert "episode" not in steps[0][-1]
    first = steps[-1][-1]["episode"]
    assert (first["r"], first["l"]) == (-2.5, 2)
    second = play(env)[-1][-1]["episode"]
    assert (second["r"], second["l"]) == (-2.5, 2)
    assert 0 <= first["t"] <= second["t"]


def test_episode_seeds_come_from_seed_index_and_number_alone():
    env = wrap(seed=7, index=2)
    for _ in range(3):
        env.reset()
        env.step(ACTION)
    assert env.unwrapped.seeds == [episode_seed(7, 2, k) for k in range(3)]
    assert env.get_wrapper_attr("episode_index") == 3
    env.set_episode_index(1)
    env.reset()
    assert env.unwrapped.seeds[-1] == episode_seed(7, 2, 1)
    assert env.get_wrapper_attr("episode_index") == 2
    for no_number in (None, "1", 1.0):
        with pytest.raises(TypeError):
            env.set_episode_index(no_number)
    assert env.get_wrapper_attr("episode_index") == 2


def test_an_explicit_seed_becomes_the_base_and_restarts_the_count():
    env = wrap(seed=7, index=2)
    env.reset()
    env.reset(seed=30, options={"a": 1})
    assert env.reset()[1] == {"options": None}
    assert env.unwrapped.seeds[1:] == [episode_seed(30, 2, 0), episode_seed(30, 2, 1)]


def test_episode_seeds_do_not_collide():
    seeds = {episode_seed(s, i, k) for s in range(10) for i in range(10) for k in range(100)}
    # 10,000 draws of 32 bits: a birthday collision or two would be chance, more would be a fault.
    assert len(seeds) >= 9_998


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ((np.nan, {}, False, False), "reward is nan"),
        ((-np.inf, {}, False, False), "reward is -inf"),
        ((np.zeros(2), {}, False, False), "step raised TypeError"),
        (ValueError("boom"), "step raised ValueError: boom"),
    ],
)
def test_a_bad_step_names_environment_and_quantity(item, says):
    env = wrap([(0.0, {}, False, False), item], seed=1, index=3)
    env.reset()
    env.step(ACTION)
    with pytest.raises(RunFailed) as caught:
        env.step(ACTION)
    assert str(caught.value).startswith("environment script (number 3, episode 0, step 2): ")
    assert says in str(caught.value)


def test_a_failing_reset_names_environment_and_exception():
    env = wrap()
    env.unwrapped.reset = lambda **_: 1 / 0
    with pytest.raises(RunFailed, match=r"environment script .*reset raised ZeroDivisionError"):
        env.reset()
