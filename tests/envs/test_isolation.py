import random

import numpy as np
import pytest
import torch
from env_tools import ACTION, Script, rollout, wrap
from odd_envs import Base, DefaultDouble, SeedsGlobals


def draws():
    """The next number of every global generator."""
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002


def seeded_draws(count):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    return [draws() for _ in range(count)]


class Draws(Base):
    """Takes its noise from the global generators, at the start or at every step."""

    def __init__(self, at_reset=True):
        super().__init__()
        self.at_reset = at_reset

    def reset(self, **kwargs):
        result = super().reset(**kwargs)
        if self.at_reset:
            self.x = sum(draws())
        return self.obs(), result[1]

    def step(self, action):
        self.x += sum(draws())
        return super().step(action)


@pytest.mark.parametrize("kind", [SeedsGlobals, Draws, lambda: Draws(at_reset=False)])
def test_a_simulator_that_uses_the_global_generators_disturbs_nobody(kind):
    expected = seeded_draws(6)
    env = wrap(kind(), limit=3)
    assert env.notes == []
    seeded_draws(0)
    seen = [draws()]
    for _ in range(5):
        env.reset()
        for _ in range(3):
            env.step(ACTION)
        seen.append(draws())
    assert seen == expected
    assert ["global random generators" in note for note in env.notes] == [True]


@pytest.mark.parametrize("at_reset", [True, False])
def test_its_episodes_depend_on_seed_and_number_alone(at_reset):
    used, fresh = (wrap(Draws(at_reset), limit=9) for _ in range(2))
    for _ in range(5):
        rollout(used, [ACTION] * 4)
        draws()
    for env in (used, fresh):
        env.set_episode_index(2)
    for one, two in zip(rollout(used, [ACTION] * 5), rollout(fresh, [ACTION] * 5), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(rollout(used, [ACTION] * 5)[0], rollout(used, [ACTION] * 5)[0])


def test_a_simulator_that_uses_none_is_left_alone_after_its_first_episodes(monkeypatch):
    env = wrap(Script(), limit=3)
    for _ in range(5):
        rollout(env, [ACTION] * 3)
    assert env.notes == []
    monkeypatch.setattr("gipo_cli.envs.isolation.Isolation.around", None)
    rollout(env, [ACTION] * 3)


def test_the_default_type_of_torch_is_the_simulators_in_its_calls_and_nobody_elses():
    seen = []

    class Double(DefaultDouble):
        def step(self, action):
            seen.append(torch.get_default_dtype())
            return super().step(action)

    from gipo_cli.envs.isolation import Isolation
    from gipo_cli.envs.simulators import Simulator
    from gipo_cli.envs.task_env import TaskEnv
    from gipo_cli.settings.schema import EnvConfig

    isolation = Isolation(1)
    with isolation.around(1):
        made = Double()
    assert torch.get_default_dtype() is torch.float32
    cfg = EnvConfig(name="gymnasium", id="Double-v0")
    env = TaskEnv(Simulator(made), cfg, label="double", seed=1, index=0, isolation=isolation)
    for _ in range(5):
        rollout(env, [ACTION] * 3)
    assert set(seen) == {torch.float64}
    assert torch.get_default_dtype() is torch.float32


def test_a_failing_simulator_leaves_the_generators_as_they_were():
    class Fails(SeedsGlobals):
        def step(self, action):
            random.seed(0)
            torch.set_default_dtype(torch.float64)
            raise ValueError("gone")

    env = wrap(Fails())
    expected = seeded_draws(2)
    assert seeded_draws(1) == expected[:1]
    env.reset()
    with pytest.raises(Exception, match="gone"):
        env.step(ACTION)
    assert draws() == expected[1]
    assert torch.get_default_dtype() is torch.float32
