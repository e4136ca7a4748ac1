"""Probes drawn from a replay buffer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from buffers import filled

from gipo_cli.analysis.live import measure_buffer, newest_rows, split_rows


def test_a_buffer_is_measured_by_seed_and_step_alone() -> None:
    policy, buffer, config = filled(400, 50, 11)  # wrapped around
    cpu = torch.device("cpu")
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = measure_buffer(policy, buffer, config, 1000, cpu)
    torch.rand(3)
    assert str(measure_buffer(policy, buffer, config, 1000, cpu)) == str(first)  # NaN equals NaN
    assert str(measure_buffer(policy, buffer, config, 1050, cpu)) != str(first)
    torch.set_rng_state(state)
    assert np.array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    assert {r.n for r in first} == {128}
    assert {r.batch_size for r in first} == {64}
    assert sum(r.trained for r in first) == 2


def test_advantages_are_normalised_like_the_update_does() -> None:
    policy, buffer, config = filled(400, 50, 8)
    cpu = torch.device("cpu")
    rows = measure_buffer(policy, buffer, config, 1, cpu)
    buffer.advantage = 7.0 * buffer.advantage + 2.0
    same = measure_buffer(policy, buffer, config, 1, cpu)
    assert [r.variance for r in same] == pytest.approx([r.variance for r in rows], rel=1e-4)
    raw = config.model_copy(
        update={"agent": config.agent.model_copy(
            update={"advantage": config.agent.advantage.model_copy(update={"normalize": "none"})}
        )}
    )  # fmt: skip
    assert measure_buffer(policy, buffer, raw, 1, cpu)[0].variance > 100 * rows[0].variance


def test_a_buffer_of_one_rollout_is_halved() -> None:
    policy, buffer, config = filled(100, 100, 1)
    rows = measure_buffer(policy, buffer, config, 1, torch.device("cpu"))
    assert {r.n for r in rows} == {48}  # 50 rows in 8 chunks of 6


@pytest.mark.parametrize(("size", "newest", "probe_size"), [(2000, 50, 256), (50, 50, 256), (80, 50, 40)])
def test_probe_and_fresh_rows_are_disjoint(size: int, newest: int, probe_size: int) -> None:
    # The newest data need not be the last rows: several actors may share a buffer.
    rng = np.random.default_rng(0)
    own = np.zeros(size, bool)
    own[rng.permutation(size)[:newest]] = True
    probe, fresh = split_rows(own, probe_size, rng)
    assert not set(probe) & set(fresh)
    assert len(set(probe)) == len(probe) <= probe_size
    assert own[fresh].all()
    assert len(fresh) >= newest // 2
    assert len(probe) >= min(probe_size, newest // 2)
    if size - newest >= newest:
        assert len(fresh) == newest
        assert not own[probe].any()


def test_fresh_rows_are_those_of_the_newest_policy_version() -> None:
    _, buffer, _ = filled(400, 50, 11)
    assert newest_rows(buffer).tolist() == [False] * 350 + [True] * 50
    buffer.version[(buffer.oldest + 3) % 400] = 10
    assert np.flatnonzero(newest_rows(buffer)).tolist() == [3, *range(350, 400)]
