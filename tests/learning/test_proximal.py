"""The proximal policy in an update: whose it is, when it is asked, and what it leaves alone."""

import copy

import pytest
import torch
from stepping import collect, update

from gipo_cli.core.objectives import GipoDecoupled, PpoClip
from gipo_cli.envs.make import make_vec_env
from gipo_cli.learning.proximal import ProximalPolicy
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.settings.compose import compose
from gipo_cli.settings.schema import AgentConfig, UpdateConfig


def agent(objective, *, kind="mlp", action="{kind:continuous}", buffer_size=256, ratio="joint", **schedule):
    config = compose(["env=gymnasium", "env.id=Pendulum-v1", f"env.action={action}"]).config
    settings = UpdateConfig(**{"rounds": 3, "batch_size": 32, "actor_lr": 3e-3, **schedule})
    return GIPO(
        kind,
        make_vec_env(config.env, 1),
        objective=objective,
        agent=AgentConfig(rollout_steps=64, ratio=ratio, update=settings),
        buffer_size=buffer_size,
        seed=0,
        device="cpu",
    )


@pytest.fixture
def passes(monkeypatch):
    """What the proximal policy was asked: log-probabilities of each pass."""
    asked = []
    honest = ProximalPolicy.at_start

    def counting(self, obs, action):
        asked.append(honest(self, obs, action))
        return asked[-1]

    monkeypatch.setattr(ProximalPolicy, "at_start", counting)
    return asked


def test_one_pass_a_batch_but_none_for_the_first_and_none_on_one_rollout(passes):
    model = agent("gipo_decoupled", reuse=4, actor_every=2)
    collect(model)
    update(model)
    assert not passes  # a buffer that holds one rollout, by the policy that learns
    collect(model)
    update(model)
    assert len(passes) == 2
    fresh = agent("gipo_decoupled", buffer_size=None)
    for _ in range(2):
        collect(fresh)
        update(fresh)
    assert len(passes) == 2


def test_other_objectives_have_no_proximal_policy():
    assert agent("gipo").learner.updater.proximal is None


@pytest.mark.parametrize(
    ("kind", "action"), [("mlp", "{kind:continuous}"), ("layernorm", "{kind:binned,bins:5}")]
)
def test_it_is_the_learner_of_the_iterations_start_and_leaves_the_learner_alone(kind, action):
    model = agent("gipo_decoupled", kind=kind, action=action)
    for _ in range(2):
        collect(model)
        before = copy.deepcopy(model.policy.state_dict())
        numbers = update(model).numbers
    after = copy.deepcopy(model.policy.state_dict())
    held = model.buffer
    obs, taken = torch.from_numpy(held.obs[:16]), torch.from_numpy(held.action[:16])
    proximal = model.learner.updater.proximal
    got = proximal.at_start(obs, taken)
    assert all(torch.equal(after[name], value) for name, value in model.policy.state_dict().items())
    assert proximal.moved
    model.policy.load_state_dict(before)
    with torch.no_grad():
        assert torch.equal(got, model.policy.log_prob(obs, taken))
    assert not proximal.moved
    assert numbers["health/kl_prox"] > 0
    assert numbers["health/log_ratio_data_rms"] > 0


@pytest.mark.parametrize(
    ("kind", "action", "ratio"),
    [("mlp", "{kind:continuous}", "joint"), ("layernorm", "{kind:binned,bins:5}", "per_dimension")],
)
def test_clipped_and_on_policy_it_trains_as_ppo_clip_to_the_bit(kind, action, ratio):
    trained = []
    for objective in (GipoDecoupled(shape="clip", sigma_prox=0.2), PpoClip(eps=0.2)):
        model = agent(objective, kind=kind, action=action, ratio=ratio, buffer_size=None, actor_lr=3e-2)
        for _ in range(2):
            collect(model)
            numbers = update(model).numbers
        trained.append((model, numbers))
    (ours, numbers), (theirs, _) = trained
    for one, other in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        assert torch.equal(one, other)
    assert numbers["health/damped_prox_pos"] > 0
    assert numbers["health/damped_data_pos"] == numbers["health/damped_data_neg"] == 0


def test_it_draws_nothing():
    states = []
    for objective in ("gipo_decoupled", "gipo"):
        model = agent(objective)
        for _ in range(2):
            collect(model)
            update(model)
        state, tensors, _ = model.learner.state()
        states.append((state["draw"], state["shuffle"], tensors["torch_global"].tolist()))
    assert states[0] == states[1]
    assert set(tensors) == {"policy", "optimizer", "torch_global"}
