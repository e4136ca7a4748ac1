"""The update against Stable-Baselines3's arithmetic lives in test_agent; here: guards and schedules."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv
from stepping import collect, update

from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.envs.make import make_vec_env
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.learning.schedules import lr_factor
from gipo_cli.learning.tally import Tally
from gipo_cli.learning.updater import NonFinite
from gipo_cli.settings.compose import compose
from gipo_cli.settings.schema import AdvantageConfig, AgentConfig, UpdateConfig


def agent(objective="gipo", kind="mlp", **settings):
    env = make_vec_env(compose(["env=gymnasium", "env.id=Pendulum-v1"]).config.env, 1)
    config = AgentConfig(rollout_steps=64, **{"update": UpdateConfig(rounds=2, batch_size=32), **settings})
    model = GIPO(kind, env, objective=objective, agent=config, buffer_size=256, seed=0, device="cpu")
    collect(model)
    return model


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("ratio", ["joint", "per_dimension"])
@pytest.mark.parametrize("advantage", ["stored", "recompute", "vtrace"])
def test_every_objective_updates(objective, ratio, advantage):
    model = agent(objective, ratio=ratio, advantage=AdvantageConfig(kind=advantage))
    before = [p.clone() for p in model.policy.actor_parameters()]
    update(model)
    collect(model)
    numbers = update(model).numbers
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.actor_parameters(), strict=True))
    assert np.isfinite([numbers["loss/actor"], numbers["loss/critic"], numbers["health/kl"]]).all()


@pytest.mark.parametrize("array", ["advantage", "value_target"])
def test_a_non_finite_update_is_named_and_never_applied(array):
    model = agent(advantage=AdvantageConfig(kind="stored"))
    getattr(model.buffer, array)[:] = np.nan
    before = [p.clone() for p in model.policy.parameters()]
    with pytest.raises(NonFinite, match="the loss is nan"):
        update(model)
    assert all(torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))


def test_an_infinite_gradient_with_a_finite_loss_is_named():
    model = agent("no_clip", advantage=AdvantageConfig(kind="stored", normalize="none"))
    # r = e^80 overflows only once squared: in the gradient norm.
    model.buffer.log_prob[:] -= 80.0
    before = [p.clone() for p in model.policy.parameters()]
    with pytest.raises(NonFinite, match="the gradient norm is inf"):
        update(model)
    assert all(torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))


def test_gipo_survives_what_no_clip_does_not():
    model = agent("gipo", advantage=AdvantageConfig(kind="stored", normalize="none"))
    model.buffer.log_prob[:] -= 80.0
    numbers = update(model).numbers
    assert numbers["health/utilisation"] == 0.0


@pytest.mark.parametrize("normalize", ["none", "batch", "buffer"])
def test_advantage_normalisation_is_over_what_it_says(normalize):
    model = agent(advantage=AdvantageConfig(kind="stored", normalize=normalize))
    model.buffer.advantage[:] = np.random.default_rng(0).normal(3.0, 2.0, len(model.buffer.advantage))
    seen = []
    updater = model.learner.updater
    learn = updater._learn
    updater._learn = lambda batch, tally: (seen.append(batch.advantage.clone()), learn(batch, tally))
    update(model)
    means = np.array([float(a.mean()) for a in seen])
    if normalize == "none":
        assert (means > 1).all()
    elif normalize == "batch":
        np.testing.assert_allclose(means, 0, atol=1e-5)
        np.testing.assert_allclose([float(a.std()) for a in seen], 1, atol=1e-4)
    else:
        assert ((np.abs(means) < 1) & (np.abs(means) > 1e-5)).all()


def factors(**update):
    settings = UpdateConfig(**update)
    return [lr_factor(settings, i, 12) for i in range(13)]


def test_learning_rate_schedules():
    assert factors() == [1.0] * 13
    assert factors(lr_schedule="linear") == pytest.approx([1 - i / 12 for i in range(13)])
    cosine = factors(lr_schedule="cosine", lr_warmup=2)
    assert cosine[:3] == [0.0, 0.5, 1.0]
    assert cosine[7] == pytest.approx(0.5)
    assert cosine[12] == pytest.approx(0.0)


def test_actor_and_critic_have_their_own_rates():
    model = agent(update=UpdateConfig(rounds=1, batch_size=32, actor_lr=1e-5, critic_lr=1e-2))
    groups = model.policy.actor_parameters(), model.policy.critic_parameters()
    before = [[p.detach().clone() for p in group] for group in groups]
    numbers = update(model).numbers
    assert (numbers["lr/actor"], numbers["lr/critic"]) == (1e-5, 1e-2)
    actor, critic = (
        max(float((p.detach() - old).abs().max()) for p, old in zip(group, olds, strict=True))
        for group, olds in zip(groups, before, strict=True)
    )
    # Adam's first step is one learning rate long wherever there is a gradient.
    assert actor == pytest.approx(1e-5, rel=0.05)
    assert critic == pytest.approx(1e-2, rel=0.05)


@pytest.mark.parametrize("kind", ["mlp", "layernorm"])
def test_bfloat16_updates_close_to_float32(kind):
    def numbers(precision):
        model = agent(kind=kind, precision=precision)
        return update(model).numbers, model

    exact, _ = numbers("float32")
    rounded, model = numbers("bfloat16")
    assert model.learner.updater.config.precision == "bfloat16"
    assert rounded["loss/critic"] == pytest.approx(exact["loss/critic"], rel=0.02)
    assert rounded["loss/critic"] != exact["loss/critic"]
    # bfloat16 keeps 8 bits: the first batch's ratios are 1 to about that, not to float32's last bit.
    assert rounded["health/log_ratio_abs_p50"] < 0.02
    assert all(p.dtype == torch.float32 for p in model.policy.parameters())


def test_auto_precision_is_decided_once_and_recorded():
    model = agent(precision="auto")
    assert model.agent.precision in ("float32", "bfloat16")
    assert model.learner.updater.config.precision == model.agent.precision


QUIET = AdvantageConfig(kind="stored", normalize="none")


def without_advantages(**update):
    """An agent with nothing to gain from the ratios, so that only the other terms move its actor."""
    settings = {"rounds": 8, "batch_size": 64, "actor_lr": 0.01, **update}
    model = agent(advantage=QUIET, update=UpdateConfig(**settings))
    model.buffer.advantage[:] = 0.0
    return model


def test_the_kl_penalty_draws_the_policy_back_to_the_behaviour_policy():
    model = without_advantages(kl_coef=1.0)
    with torch.no_grad():
        model.policy.action_net.bias += 1.0
    far, near = (update(model).numbers["health/kl"] for _ in range(2))
    assert 0 < near < 0.9 * far
    model = without_advantages()
    with torch.no_grad():
        model.policy.action_net.bias += 1.0
    far, near = (update(model).numbers["health/kl"] for _ in range(2))
    assert near == pytest.approx(far, rel=0.1), "nothing draws it without a penalty"


@pytest.mark.parametrize(("coefficient", "sign"), [(0.0, 0), (1.0, 1)])
def test_the_entropy_bonus_raises_the_entropy(coefficient, sign):
    model = without_advantages(entropy_coef=coefficient)
    before = float(model.policy.log_std.detach().sum())
    update(model)
    assert np.sign(float(model.policy.log_std.detach().sum()) - before) == sign


def test_reuses_scale_the_actors_loss_alone():
    """At reuse k the actor's loss counts 1 / sqrt(k + 1), the critic's always the same."""
    seen = []
    for scale in (1.0, 0.5):
        model = agent(advantage=QUIET, update=UpdateConfig(rounds=1, batch_size=64, max_grad_norm=None))
        batch = model.learner.updater.sampler.load(model.buffer, np.arange(64), 1)
        model.learner.updater._step_both(batch, scale, Tally())
        seen.append([[p.grad.clone() for p in group] for group in groups(model)])
    (actor, critic), (halved, same) = seen
    assert all(torch.allclose(2 * b, a, rtol=1e-4, atol=1e-9) for a, b in zip(actor, halved, strict=True))
    assert all(map(torch.equal, critic, same))
    assert max(float(grad.abs().max()) for grad in actor) > 0


@pytest.mark.parametrize(("scaled", "expected"), [(True, [1, 2**-0.5, 3**-0.5, 0.5]), (False, [1, 1, 1, 1])])
def test_scales_of_the_reuses(scaled, expected):
    settings = UpdateConfig(rounds=1, batch_size=64, reuse=4, actor_every=1, actor_reuse_scaling=scaled)
    model = agent(update=settings)
    seen, step = [], model.learner.updater._step_both
    model.learner.updater._step_both = lambda batch, scale, tally: (
        seen.append(scale),
        step(batch, scale, tally),
    )
    update(model)
    assert seen == pytest.approx(expected)


def groups(model):
    return model.policy.actor_parameters(), model.policy.critic_parameters()


def test_kl_stop_goes_by_the_exact_kl_where_it_is_known():
    """A ratio of e^20 makes the estimate huge; the distributions are as they were."""
    model = without_advantages(kl_coef=1e-9, kl_stop=0.1)
    model.buffer.log_prob[0] -= 20.0
    assert update(model).numbers["update/kl_stopped"] == 0
    model = without_advantages(kl_stop=0.1)
    model.buffer.log_prob[0] -= 20.0
    assert update(model).numbers["update/kl_stopped"] == 1


def test_vtrace_sees_the_ratio_of_todays_policy_to_the_behaviour_policy():
    model = agent(advantage=AdvantageConfig(kind="vtrace"))
    buffer = model.learner.buffer
    # The behaviour policy was e^-.25 times as likely to do the same.
    log_ratio = model.learner.updater._log_ratio(
        buffer.obs[:9], buffer.action[:9], buffer.log_prob[:9] - 0.25
    )
    np.testing.assert_allclose(log_ratio, 0.25, atol=1e-5)


class ThreeDimensions(gymnasium.Env):
    """Nothing happens, in three dimensions of action."""

    observation_space, action_space = spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (3,))

    def reset(self, **kwargs):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {}


@pytest.mark.parametrize(("ratio", "times"), [("joint", 3), ("per_dimension", 1)])
def test_entropy_and_kl_of_a_joint_ratio_are_sums_over_dimensions(ratio, times):
    settings = UpdateConfig(rounds=1, batch_size=32, kl_coef=0.1)
    config = AgentConfig(rollout_steps=32, ratio=ratio, update=settings)
    env = DummyVecEnv([ThreeDimensions])
    model = GIPO("mlp", env, agent=config, buffer_size=32, seed=0, device="cpu")
    collect(model)
    with torch.no_grad():
        model.policy.log_std.fill_(0.1)
    numbers = update(model).numbers
    # Of two Gaussians of equal mean, the second e^.1 times as wide; and the entropy of the second.
    assert numbers["health/kl"] == pytest.approx(times * (0.1 + 0.5 * math.exp(-0.2) - 0.5), rel=1e-4)
    entropy = 0.5 * math.log(2 * math.pi * math.e) + 0.1
    assert numbers["loss/entropy"] == pytest.approx(times * entropy, rel=1e-5)


def test_value_coef_weighs_the_critic_in_every_step():
    norms = []
    for weight in (0.5, 2.0):
        settings = UpdateConfig(
            rounds=1, batch_size=32, reuse=2, actor_every=2, value_coef=weight, max_grad_norm=None
        )
        model = agent(advantage=AdvantageConfig(kind="stored", normalize="none"), update=settings)
        model.learner.buffer.advantage[:] = 0
        tally = Tally()
        updater = model.learner.updater
        (batch,) = updater.sampler.batches(model.learner.buffer, 0)
        updater._learn(batch, tally)
        norms.append(tally.grad_norm)
    # Without advantages the critic's is the whole gradient, of the step of both and of the critic's own.
    np.testing.assert_allclose(np.divide(norms[1], norms[0]), [4.0, 4.0], rtol=1e-3)


def test_iterations_count_from_zero_for_the_learning_rate():
    settings = UpdateConfig(rounds=1, batch_size=32, lr_schedule="linear", actor_lr=1e-3)
    model = agent(update=settings)
    rates = []
    for _ in range(3):
        rates.append(update(model).numbers["lr/actor"])
        collect(model)
    # 4096 steps in rollouts of 64.
    assert rates == pytest.approx([1e-3 * (1 - i / 64) for i in range(3)])


def test_the_gradient_norm_is_clipped_over_all_that_a_step_moves():
    model = agent(update=UpdateConfig(rounds=1, batch_size=32, max_grad_norm=0.01))
    numbers = update(model).numbers
    groups = model.learner.updater.actor, model.learner.updater.critic
    norm = torch.cat([group.flat.grad for group in groups]).norm()
    assert numbers["loss/grad_norm"] > 0.1  # as it was before clipping
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_nothing_moves_while_the_learning_rate_is_zero():
    """Adam's moments least of all: a batch seen at rate 0 would steer the first real steps."""
    model = agent(update=UpdateConfig(rounds=2, batch_size=32, lr_warmup=2))
    before = [p.clone() for p in model.policy.parameters()]
    numbers = update(model).numbers
    assert (numbers["lr/actor"], numbers["update/actor_steps"], numbers["update/critic_steps"]) == (0, 0, 0)
    assert all(map(torch.equal, before, model.policy.parameters()))
    assert not model.learner.updater.optimizer.state
    collect(model)
    numbers = update(model).numbers
    assert (numbers["update/actor_steps"], model.learner.version) == (2, 2)
    assert not all(map(torch.equal, before, model.policy.parameters()))


def test_the_first_rollout_feeds_the_statistics_of_observations_and_moves_nothing():
    env = make_vec_env(compose(["env=gymnasium", "env.id=Pendulum-v1"]).config.env, 1)
    config = AgentConfig(rollout_steps=64, update=UpdateConfig(rounds=1, batch_size=32))
    model = GIPO("mlp", env, agent=config, buffer_size=64, normalize_obs=True, seed=0, device="cpu")
    before = [p.clone() for p in model.policy.parameters()]
    log_prob = collect(model).log_prob
    assert update(model).numbers["update/critic_steps"] == 0
    assert all(map(torch.equal, before, model.policy.parameters()))
    assert model.policy.features_extractor.count == 64
    assert np.array_equal(model.buffer.log_prob, log_prob.reshape(64, -1))
    collect(model)
    stats = update(model)
    assert stats.log_ratio.abs().max() < 1e-5
    assert stats.numbers["update/critic_steps"] == 1
