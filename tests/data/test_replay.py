import numpy as np
import pytest

from gipo_cli.data.replay import COLUMNS, ReplayBuffer
from gipo_cli.data.rollout import Rollout, next_values
from gipo_cli.settings.schema import AdvantageConfig

STORED = AdvantageConfig(kind="stored", gamma=0.9, gae_lambda=0.8)


def make_rollout(rng, steps, envs, version=0, first=0, end_share=0.2, distribution=0):
    """Rows are numbered in obs[..., 0], by time, from ``first``."""
    number = first + np.arange(steps * envs).reshape(steps, envs)
    terminated = rng.random((steps, envs)) < end_share
    truncated = ~terminated & (rng.random((steps, envs)) < end_share)
    ended = terminated | truncated
    ended_or_last = ended.copy()
    ended_or_last[-1] = True
    rows = np.flatnonzero(ended_or_last)
    tails = rng.normal(size=(len(rows), 2)).astype(np.float32)
    normal = rng.normal(size=(steps, envs)).astype(np.float32)
    return Rollout(
        obs=np.stack([number, normal], -1).astype(np.float32),
        action=rng.normal(size=(steps, envs, 3)).astype(np.float32),
        reward=rng.normal(size=(steps, envs)).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        log_prob=rng.normal(size=(steps, envs, 3)).astype(np.float32),
        value=critic(np.stack([number, normal], -1).reshape(-1, 2)).reshape(steps, envs),
        tail_row=rows.astype(np.int64),
        tail_obs=tails,
        tail_value=critic(tails),
        policy_version=version,
        distribution=rng.normal(size=(steps, envs, distribution)).astype(np.float32)
        if distribution
        else None,
    )


def critic(obs):
    return (0.1 * np.sin(obs[:, 0]) + obs[:, 1]).astype(np.float32)


def filled(capacity, shapes, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    buffer = ReplayBuffer(capacity, (2,), 3, **kwargs)
    first = 0
    for version, (steps, envs) in enumerate(shapes):
        buffer.add(make_rollout(rng, steps, envs, version, first), STORED)
        first += steps * envs
    return buffer


@pytest.mark.parametrize(
    ("capacity", "shapes"), [(20, [(5, 2)] * 5), (17, [(5, 2)] * 5), (12, [(5, 2), (3, 4), (7, 1)])]
)
def test_holds_exactly_the_newest_transitions(capacity, shapes):
    buffer = filled(capacity, shapes)
    total = sum(t * e for t, e in shapes)
    assert len(buffer) == min(capacity, total)
    held = set(buffer.obs[buffer.draw(10**9, np.random.default_rng(0)), 0].astype(int))
    assert held == set(range(total - len(buffer), total))


def test_draws_distinct_rows_uniformly_and_by_its_own_stream():
    buffer = filled(40, [(10, 2)] * 3)
    rng = np.random.default_rng(1)
    counts = np.zeros(40)
    for _ in range(4000):
        slots = buffer.draw(10, rng)
        assert len(set(slots.tolist())) == 10
        counts[slots] += 1
    # Each row is in a batch with probability 1/4: five standard deviations of a binomial.
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75)
    again = buffer.draw(10, np.random.default_rng(7))
    np.random.seed(3)  # noqa: NPY002 - the global stream must not matter
    assert np.array_equal(again, buffer.draw(10, np.random.default_rng(7)))


def test_a_batch_larger_than_the_buffer_is_the_buffer_once():
    buffer = filled(40, [(4, 2)])
    assert sorted(buffer.draw(512, np.random.default_rng(0)).tolist()) == list(range(8))


def test_empty_buffer_and_oversized_rollout_are_refused():
    buffer = ReplayBuffer(7, (2,), 3)
    with pytest.raises(ValueError, match="empty"):
        buffer.draw(1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="8 transitions does not fit a buffer of 7"):
        buffer.add(make_rollout(np.random.default_rng(0), 4, 2), STORED)
    with pytest.raises(ValueError, match="distribution"):
        ReplayBuffer(8, (2,), 3, distribution_dim=6).add(make_rollout(np.random.default_rng(0), 4, 2), STORED)


def test_a_shuffled_pass_visits_every_row_once():
    buffer = filled(17, [(5, 2)] * 3)
    batches = list(buffer.shuffled(4, np.random.RandomState(0)))
    assert [len(b) for b in batches] == [4, 4, 4, 4, 1]
    assert sorted(np.concatenate(batches).tolist()) == list(range(17))


@pytest.mark.parametrize("capacity", [30, 23])
def test_recomputing_with_the_same_critic_changes_nothing(capacity):
    buffer = filled(capacity, [(5, 2), (4, 3), (6, 1), (5, 2)])
    before = buffer.advantage.copy(), buffer.value_target.copy()
    buffer.recompute(critic, STORED)
    np.testing.assert_allclose(buffer.advantage, before[0], atol=1e-6)
    np.testing.assert_allclose(buffer.value_target, before[1], atol=1e-6)


def test_recomputing_uses_todays_critic_at_truncations_and_segment_ends_but_not_at_terminations():
    rng = np.random.default_rng(0)
    rollout = make_rollout(rng, 3, 1, end_share=0)
    ended = np.array([[True], [False], [False]])
    one_step = AdvantageConfig(kind="recompute", gamma=0.5, gae_lambda=0.0)
    for terminated, expected in ((True, 0.0), (False, 50.0)):
        flags = {"terminated": ended & terminated, "truncated": ended & (not terminated)}
        rows = {
            "tail_row": np.array([0, 2]),
            "tail_obs": np.zeros((2, 2), np.float32),
            "tail_value": np.zeros(2, np.float32),
        }
        buffer = ReplayBuffer(3, (2,), 3)
        buffer.add(Rollout(**{**vars(rollout), **flags, **rows}), one_step)
        # Value 100 at the tails (observation 0, 0), 0 elsewhere.
        buffer.recompute(lambda obs: np.where((obs == 0).all(1), 100.0, 0.0).astype(np.float32), one_step)
        gain = buffer.advantage - buffer.reward
        np.testing.assert_allclose(gain, [expected - 0.0, 0.0, 50.0], atol=1e-5)


def bootstrap_of(rollout):
    following = next_values(rollout.value, rollout.tail_row, rollout.tail_value)
    return STORED.gamma * following * ~rollout.terminated


def test_reward_scale_is_applied_at_use_and_rewards_stay_raw():
    small = filled(10, [(5, 2)], reward_scale=0.5)
    full = filled(10, [(5, 2)])
    np.testing.assert_array_equal(small.reward, full.reward)
    # With lambda = 0 the target is the scaled reward and a bootstrap that the scale leaves alone.
    one_step = STORED.model_copy(update={"gae_lambda": 0.0})
    rollout = make_rollout(np.random.default_rng(0), 5, 2)
    for scale in (1.0, 0.5):
        added = ReplayBuffer(10, (2,), 3, reward_scale=scale)
        added.add(rollout, one_step)
        bootstrap = added.value_target.reshape(5, 2) - scale * rollout.reward
        np.testing.assert_allclose(bootstrap, bootstrap_of(rollout), atol=1e-5)
    zero = lambda obs: np.zeros(len(obs), np.float32)  # noqa: E731
    small.recompute(zero, STORED)
    full.recompute(zero, STORED)
    np.testing.assert_allclose(small.advantage, 0.5 * full.advantage, rtol=1e-6)


def test_an_older_policy_version_is_kept_with_its_rows():
    rng = np.random.default_rng(0)
    buffer = ReplayBuffer(20, (2,), 3)
    for version in (5, 2):
        buffer.add(make_rollout(rng, 5, 2, version), STORED)
    assert buffer.version.tolist() == [5] * 10 + [2] * 10


@pytest.mark.parametrize("shapes", [[(5, 2)], [(5, 2)] * 5])
def test_state_comes_back_and_goes_on_alike(shapes):
    buffer = filled(17, shapes, distribution_dim=0)
    numbers, arrays = buffer.state()
    other = ReplayBuffer(17, (2,), 3)
    other.load(numbers, {name: array.copy() for name, array in arrays.items()})
    for each in (buffer, other):
        each.add(make_rollout(np.random.default_rng(9), 3, 2, 9, first=100), STORED)
        each.recompute(lambda obs: 2 * critic(obs), STORED)
    for name in ("obs", *COLUMNS):
        np.testing.assert_array_equal(getattr(buffer, name), getattr(other, name))
    with pytest.raises(ValueError, match="holds 17 transitions, this one 18"):
        ReplayBuffer(18, (2,), 3).load(numbers, arrays)
    with pytest.raises(ValueError, match=r"distribution is float32\[(10|17), 0\], not float32\[\1, 4\]"):
        ReplayBuffer(17, (2,), 3, distribution_dim=4).load(numbers, arrays)


def test_a_million_binned_transitions_fit_in_400_megabytes():
    buffer = ReplayBuffer(1_000_000, (39,), 4, np.uint8)
    rows = {
        "tail_row": np.array([499]),
        "tail_obs": np.zeros((1, 39), np.float32),
        "tail_value": np.zeros(1, np.float32),
    }
    plain = make_rollout(np.random.default_rng(0), 500, 1, end_share=0)
    rollout = Rollout(
        **{
            **vars(plain),
            **rows,
            "obs": np.zeros((500, 1, 39), np.float32),
            "action": np.zeros((500, 1, 4), np.uint8),
            "log_prob": np.zeros((500, 1, 4), np.float32),
        }
    )
    for _ in range(2000):
        buffer.add(rollout, STORED)
    assert len(buffer) == 1_000_000
    assert buffer.nbytes < 400e6


@pytest.mark.parametrize(("bootstrap", "expected"), [(True, [1.5625, 3.75]), (False, [1.0625, 1.75])])
def test_a_time_limit_bootstraps_or_counts_as_terminal(bootstrap, expected):
    # gamma = lambda = 1/2. Last step: 2 + 4/2 - 1/4 = 3.75, or 2 - 1/4 = 1.75 without what follows it;
    # the first: 1 + 1/8 - 1/2 = 0.625, and a quarter of the last.
    rollout = Rollout(
        obs=np.zeros((2, 1, 2), np.float32),
        action=np.zeros((2, 1, 3), np.float32),
        reward=np.array([[1.0], [2.0]], np.float32),
        terminated=np.array([[False], [False]]),
        truncated=np.array([[False], [True]]),
        log_prob=np.zeros((2, 1, 3), np.float32),
        value=np.array([[0.5], [0.25]], np.float32),
        tail_row=np.array([1], np.int64),
        tail_obs=np.zeros((1, 2), np.float32),
        tail_value=np.array([4.0], np.float32),
        policy_version=0,
        distribution=None,
    )
    buffer = ReplayBuffer(2, (2,), 3)
    settings = AdvantageConfig(kind="stored", gamma=0.5, gae_lambda=0.5, bootstrap_truncated=bootstrap)
    buffer.add(rollout, settings)
    np.testing.assert_allclose(buffer.advantage, expected)
    np.testing.assert_allclose(buffer.value_target, np.add(expected, [0.5, 0.25]))
