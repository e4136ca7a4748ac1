import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.buffers import RolloutBuffer

from gipo_cli.core.advantages import Segments, gae, vtrace


def column(*values):
    return np.array(values, np.float32)[:, None]


def flags(*values):
    return np.array(values, bool)[:, None]


def test_three_steps_by_hand():
    # gamma 0.5, lambda 0.5: deltas 1 + .5*2 - 1 = 1, 0 + .5*4 - 2 = 0, 2 + .5*8 - 4 = 2;
    # A2 = 2, A1 = 0 + .25*2 = .5, A0 = 1 + .25*.5 = 1.125.
    segments = Segments(column(1, 0, 2), column(1, 2, 4), column(2, 4, 8), flags(0, 0, 0), flags(0, 0, 0))
    targets = gae(segments, 0.5, 0.5)
    np.testing.assert_allclose(targets.advantage[:, 0], [1.125, 0.5, 2.0])
    np.testing.assert_allclose(targets.value_target[:, 0], [2.125, 2.5, 6.0])


def test_termination_bootstraps_with_zero_and_truncation_with_the_final_value():
    reward, value, following = column(1, 1), column(0, 0), column(10, 10)
    ended = flags(1, 0)
    terminated = gae(Segments(reward, value, following, flags(1, 0), ended), 0.5, 1.0)
    truncated = gae(Segments(reward, value, following, flags(0, 0), ended), 0.5, 1.0)
    np.testing.assert_allclose(terminated.advantage[:, 0], [1.0, 6.0])
    np.testing.assert_allclose(truncated.advantage[:, 0], [6.0, 6.0])


def test_equals_stable_baselines3_with_terminations():
    import torch
    from gymnasium import spaces

    rng = np.random.default_rng(0)
    steps, envs = 40, 3
    buffer = RolloutBuffer(
        steps, spaces.Box(-1, 1, (1,)), spaces.Box(-1, 1, (1,)), gae_lambda=0.9, gamma=0.97, n_envs=envs
    )
    reward, value = rng.normal(size=(2, steps, envs)).astype(np.float32)
    ended = rng.random((steps, envs)) < 0.2
    last_value = rng.normal(size=envs).astype(np.float32)
    start = np.ones(envs, bool)
    for t in range(steps):
        zeros = np.zeros((envs, 1), np.float32)
        buffer.add(zeros, zeros, reward[t], start, torch.from_numpy(value[t]), torch.zeros(envs))
        start = ended[t]
    buffer.compute_returns_and_advantage(torch.from_numpy(last_value), start)
    following = np.concatenate([value[1:], last_value[None]])
    targets = gae(Segments(reward, value, following, ended, ended), 0.97, 0.9)
    np.testing.assert_array_equal(targets.advantage, buffer.advantages)
    np.testing.assert_array_equal(targets.value_target, buffer.returns)


arrays = st.integers(0, 2**31 - 1)


def random_segments(seed, steps=12, envs=2):
    rng = np.random.default_rng(seed)
    reward, value = rng.normal(size=(2, steps, envs)).astype(np.float32)
    terminated = rng.random((steps, envs)) < 0.15
    ended = terminated | (rng.random((steps, envs)) < 0.15)
    following = np.concatenate([value[1:], rng.normal(size=(1, envs)).astype(np.float32)])
    following = np.where(ended, rng.normal(size=(steps, envs)), following).astype(np.float32)
    return Segments(reward, value, following, terminated, ended)


@given(arrays, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_vtrace_on_policy_is_gae(seed, gamma, lam):
    segments = random_segments(seed)
    expected = gae(segments, gamma, lam)
    got = vtrace(segments, np.zeros_like(segments.reward), gamma, lam, 1.0, 1.0)
    np.testing.assert_allclose(got.advantage, expected.advantage, atol=2e-5)
    np.testing.assert_allclose(got.value_target, expected.value_target, atol=2e-5)


def test_vtrace_by_hand_has_no_rho_in_the_advantage():
    # One step, ratio 1/2 (below both bounds), gamma 0.5: delta = 1 + .5*4 - 1 = 2; target v + rho delta = 2;
    # the advantage is r + gamma v' - v = 2, without rho.
    segments = Segments(column(1), column(1), column(4), flags(0), flags(0))
    got = vtrace(segments, np.log(column(0.5)), 0.5, 1.0, 1.0, 1.0)
    np.testing.assert_allclose(got.value_target[0, 0], 2.0)
    np.testing.assert_allclose(got.advantage[0, 0], 2.0)


def test_vtrace_two_steps_by_hand_with_clipped_ratios():
    # gamma 1, lambda 1, ratios 4 and 3 clipped to rho_bar 2, c_bar 1: deltas 1, 1; corrections 2 and
    # 2 + 1*2 = 4; targets v + correction; A0 = r + (v1 + 2) - v0.
    segments = Segments(column(1, 1), column(0, 0), column(0, 0), flags(0, 1), flags(0, 1))
    got = vtrace(segments, np.log(column(4, 3)), 1.0, 1.0, 2.0, 1.0)
    np.testing.assert_allclose(got.value_target[:, 0], [4.0, 2.0])
    np.testing.assert_allclose(got.advantage[:, 0], [3.0, 1.0])


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_lambda_ends(lam):
    segments = random_segments(3)
    advantage = gae(segments, 0.9, lam).advantage
    alive = ~segments.terminated
    one_step = segments.reward + 0.9 * segments.next_value * alive - segments.value
    if lam == 0.0:
        np.testing.assert_allclose(advantage, one_step, atol=1e-6)
    else:
        # Monte-Carlo: rewards to the episode's or segment's end, plus the bootstrapped value there.
        total = np.zeros(2)
        for t in range(len(advantage) - 1, -1, -1):
            tail = np.where(
                segments.ended[t] | (t == len(advantage) - 1), segments.next_value[t] * alive[t], total
            )
            total = segments.reward[t] + 0.9 * tail
            np.testing.assert_allclose(advantage[t], total - segments.value[t], atol=1e-5)
