"""The step-KL rule of the actor's learning rate; the schedule itself is tested with the updater."""

import pytest
from stepping import collect, update

from gipo_cli.envs.make import make_vec_env
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.learning.schedules import adapted
from gipo_cli.settings.compose import compose
from gipo_cli.settings.schema import AgentConfig, UpdateConfig


def test_the_factor_follows_the_kl_by_hand():
    assert adapted(1.0, 0.01, 0.021) == pytest.approx(2 / 3)
    assert adapted(1.0, 0.01, 0.0049) == pytest.approx(1.5)
    assert adapted(0.7, 0.01, 0.02) == adapted(0.7, 0.01, 0.005) == 0.7
    assert adapted(0.7, 0.01, None) == 0.7
    assert adapted(0.012, 0.01, 9.0) == 0.01
    assert adapted(9.0, 0.01, 0.0) == 10.0


def agent(kl_step=1e-4):
    config = compose(["env=gymnasium", "env.id=Pendulum-v1"]).config
    schedule = UpdateConfig(rounds=4, batch_size=64, actor_lr=0.03, kl_step=kl_step)
    env = make_vec_env(config.env, 1)
    settings = AgentConfig(rollout_steps=64, update=schedule)
    return GIPO(env=env, agent=settings, buffer_size=128, seed=0, device="cpu")


def test_a_decay_of_the_learning_rate_decays_the_kl_that_is_wanted():
    def scale(kl_step):
        model = agent(kl_step)
        collect(model)
        updater = model.learner.updater
        updater.set_lr(0.5)
        stats = updater.update(model.learner.buffer, 0)
        return updater.actor_scale, stats.numbers["health/kl_prox"]

    _, moved = scale(1.0)
    # Half the learning rate moves the policy by about a quarter of the KL.
    assert scale(4 * moved)[0] == scale(8 / 1.01 * moved)[0] == scale(2.01 * moved)[0] == 1.0
    assert scale(8.1 * moved)[0] == 1.5
    assert scale(1.99 * moved)[0] == pytest.approx(2 / 3)


def test_the_learning_rate_of_the_actor_alone_follows_and_is_resumed():
    model, seen = agent(), []
    for _ in range(3):
        collect(model)
        seen.append(update(model).numbers)
    assert [row["lr/actor"] for row in seen] == pytest.approx([0.03, 0.02, 0.02 / 1.5])
    assert {row["lr/critic"] for row in seen} == {1e-3}
    assert seen[0]["health/kl_prox"] > 2e-4
    other = agent()
    other.learner.load_state(*model.learner.state())
    assert other.learner.updater.actor_scale == model.learner.updater.actor_scale
