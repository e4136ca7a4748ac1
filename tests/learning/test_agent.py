"""The agent as a Stable-Baselines3 algorithm, and equal to its PPO where it must be."""

import inspect

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stepping import collect, update

from gipo_cli.core.objectives import OBJECTIVES, PpoClip
from gipo_cli.envs.make import make_vec_env
from gipo_cli.learning.normalizer import ObsNormalizer
from gipo_cli.learning.policies import MlpPolicy
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.learning.tally import Tally
from gipo_cli.settings.compose import compose
from gipo_cli.settings.schema import ActorsConfig, AgentConfig, PolicyConfig, UpdateConfig

TASKS = {
    "fetch": ["env=fetch_reach"],
    "metaworld": ["env=metaworld", "env.task=reach-v3"],
    "pendulum": ["env=gymnasium", "env.id=Pendulum-v1"],
}


@pytest.mark.parametrize(
    ("task", "envs", "steps"),
    # 300 rows end with a minibatch of 44, which is no power of two; Pendulum has one action dimension.
    [("fetch", 1, 300), ("metaworld", 4, 64), ("pendulum", 1, 300), ("pendulum", 3, 100)],
)
def test_sb3_ppo_preset_equals_stable_baselines3_ppo(task, envs, steps):
    config = compose(
        ["preset=sb3_ppo", *TASKS[task], f"env.n_envs={envs}", f"agent.rollout_steps={steps}"]
    ).config
    total = 5 * steps * envs
    theirs = PPO("MlpPolicy", make_vec_env(config.env, 7), n_steps=steps, seed=7, device="cpu").learn(total)
    config = config.model_copy(update={"seed": 7})
    ours = GIPO.from_config(config, make_vec_env(config.env, 7), "cpu").learn(total)
    assert_same_parameters(theirs, ours)


@pytest.mark.learning
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("envs", [1, 4])
def test_sb3_ppo_preset_equals_stable_baselines3_ppo_at_its_own_rollout_length(task, envs):
    config = compose(["preset=sb3_ppo", *TASKS[task], f"env.n_envs={envs}", "seed=3"]).config
    total = 5 * 2048 * envs
    theirs = PPO("MlpPolicy", make_vec_env(config.env, 3), seed=3, device="cpu").learn(total)
    ours = GIPO.from_config(config, make_vec_env(config.env, 3), "cpu").learn(total)
    assert_same_parameters(theirs, ours)


def assert_same_parameters(theirs, ours):
    expected = theirs.policy.state_dict()
    got = ours.policy.state_dict()
    assert list(expected) == list(got)
    for name, value in expected.items():
        assert torch.equal(value, got[name]), name
    start = PPO("MlpPolicy", ours.env, seed=ours.seed, device="cpu").policy.state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in expected.items())


def pendulum(**kwargs) -> VecEnv:
    overrides = [
        "env=gymnasium",
        "env.id=Pendulum-v1",
        *(f"env.{key}={value}" for key, value in kwargs.items()),
    ]
    return make_vec_env(compose(overrides).config.env, 1)


def small(**update) -> AgentConfig:
    return AgentConfig(rollout_steps=64, update=UpdateConfig(rounds=3, batch_size=32, **update))


@pytest.mark.parametrize("kind", ["mlp", "layernorm"])
@pytest.mark.parametrize("action", ["continuous", "binned"])
def test_learn_predict_save_load_evaluate(tmp_path, kind, action):
    env = pendulum(n_envs=2, action=f"{{kind:{action},bins:5}}")
    model = GIPO(kind, env, agent=small(), buffer_size=300, seed=0, device="cpu", normalize_obs=True)
    assert model.learn(400) is model
    obs = env.reset()
    expected, _ = model.predict(obs, deterministic=True)
    assert np.array_equal(
        expected,
        np.clip(model.act(obs), env.action_space.low, env.action_space.high)
        if action == "continuous"
        else model.act(obs),
    )
    model.save(tmp_path / "model.zip")
    with pytest.warns(UserWarning, match="can run code"):
        loaded = GIPO.load(tmp_path / "model.zip", device="cpu")
    assert np.array_equal(loaded.predict(obs, deterministic=True)[0], expected)
    mean, std = evaluate_policy(loaded, env, n_eval_episodes=2)
    assert np.isfinite([mean, std]).all()
    loaded.set_env(env)
    loaded.learn(128)
    assert len(loaded.buffer) == 128


def test_the_facade_and_the_command_have_the_same_defaults(monkeypatch):
    defaults = {
        name: parameter.default for name, parameter in inspect.signature(GIPO.__init__).parameters.items()
    }
    asked = {}
    monkeypatch.setattr(GIPO, "__init__", lambda self, **arguments: asked.update(arguments))
    config = compose(["env=gymnasium", "env.id=Pendulum-v1"]).config
    GIPO.from_config(config, None, "cpu")
    # What None stands for, and what the façade leaves to the run: its seed, and Stable-Baselines3's window.
    stands_for = {"policy": PolicyConfig(), "agent": AgentConfig(), "actors": ActorsConfig()}
    stands_for["objective"] = OBJECTIVES["gipo"]()
    for name in asked.keys() - {"env", "device", "seed", "window"}:
        assert asked[name] == stands_for.get(name, defaults[name]), name


def test_an_unknown_objective_is_named():
    with pytest.raises(ValueError, match="there is no objective 'gippo'; choose from gipo, "):
        GIPO("mlp", pendulum(), objective="gippo", device="cpu")


def test_policies_by_name_by_configuration_and_by_class():
    wide = AgentConfig(policy=PolicyConfig(hidden=[96, 32]))
    model = GIPO(env=pendulum(), agent=wide, device="cpu")
    assert [p.shape[0] for p in model.policy.actor_parameters() if p.ndim == 2] == [96, 32, 1]
    for name in ("mlp", "MlpPolicy"):
        model = GIPO(name, pendulum(), agent=wide, normalize_obs=True, device="cpu")
        assert model.agent.policy == PolicyConfig()
        assert isinstance(model.policy.features_extractor, ObsNormalizer)
    with pytest.raises(ValueError, match="normalize_obs goes with a named policy"):
        GIPO(MlpPolicy, pendulum(), normalize_obs=True, device="cpu")


def test_callbacks_see_every_step_and_can_stop():
    class Counter(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 100

    counter = Counter()
    model = GIPO("mlp", pendulum(), agent=small(), seed=0, device="cpu").learn(640, callback=counter)
    assert counter.n_calls == 100
    assert model.num_timesteps == 100
    assert model.learner.version == 1


def test_a_callback_can_train_something_and_a_stopped_rollout_goes_on_where_it_stopped():
    class Trainer(BaseCallback):
        def _on_step(self) -> bool:
            weight = torch.ones(1, requires_grad=True)
            (3 * weight).sum().backward()
            assert weight.grad.item() == 3
            return self.n_calls < 5

    env = pendulum()
    model = GIPO("mlp", env, agent=small(), seed=0, device="cpu").learn(640, callback=Trainer())
    assert np.array_equal(model._last_obs, env.envs[0].unwrapped._get_obs()[None])
    position = model.actor.position()
    (number,), (actions,) = position.episodes, position.actions
    assert (number, len(actions)) == (0, 5)
    assert np.array_equal(env.env_method("replay", number, list(actions))[0][0], position.last_obs[0])
    resumed = GIPO("mlp", pendulum(), agent=small(), seed=0, device="cpu")
    assert resumed.actor.go_on(position)
    # Another limit, as --allow-changes permits: an episode that is over by it cannot go on.
    resumed.get_env().envs[0].get_wrapper_attr("set_wrapper_attr")("time_limit", 5)
    assert not resumed.actor.go_on(position)


def test_a_callback_finds_each_step_by_stable_baselines3s_names():
    def with_callback(algorithm, **kwargs):
        class Recorder(BaseCallback):
            def _on_step(self) -> bool:
                names = ("new_obs", "actions", "clipped_actions", "rewards", "dones")
                steps.append([np.array(self.locals[name]) for name in names])
                return len(self.locals["infos"]) == 2

        steps = []
        algorithm("MlpPolicy", pendulum(n_envs=2), seed=5, device="cpu", **kwargs).learn(64, Recorder())
        return steps

    ours = with_callback(GIPO, agent=AgentConfig(rollout_steps=32))
    theirs = with_callback(PPO, n_steps=32)
    assert len(ours) == len(theirs) == 32
    for one, other in zip(ours, theirs, strict=True):
        for mine, expected in zip(one, other, strict=True):
            assert mine.dtype == expected.dtype
            np.testing.assert_array_equal(mine, expected)
    stopping = StopTrainingOnMaxEpisodes(1)
    model = GIPO("mlp", gym.make("Pendulum-v1"), agent=small(), seed=0, device="cpu").learn(640, stopping)
    assert model.num_timesteps == 200


@pytest.mark.parametrize("normalize", [False, True])
def test_observations_of_double_precision_are_taken_as_stable_baselines3_takes_them(normalize):
    def env():
        return DummyVecEnv([lambda: gym.make("InvertedPendulum-v5")])

    assert env().observation_space.dtype == np.float64
    config = compose(["preset=sb3_ppo", *TASKS["fetch"], "agent.rollout_steps=64", "seed=7"]).config
    config = config.model_copy(update={"env": config.env.model_copy(update={"normalize_obs": normalize})})
    ours = GIPO.from_config(config, env(), "cpu").learn(192)
    assert np.isfinite(evaluate_policy(ours, ours.env, n_eval_episodes=1, warn=False)[0])
    if not normalize:
        theirs = PPO("MlpPolicy", env(), n_steps=64, seed=7, device="cpu").learn(192)
        assert_same_parameters(theirs, ours)


def test_a_gym_env_without_our_wrapper_works():
    model = GIPO("mlp", gym.make("Pendulum-v1"), agent=small(), seed=0, device="cpu").learn(256)
    assert model.learner.episodes.count == 1
    assert set(model.learner.episodes.means()) >= {"return", "length"}


def test_dictionary_observations_are_refused_with_the_cure():
    import gymnasium_robotics

    gym.register_envs(gymnasium_robotics)
    with pytest.raises(ValueError, match="flatten it first"):
        GIPO("mlp", gym.make("FetchReachDense-v4"), agent=small(), device="cpu")


def test_same_seed_is_bit_identical_and_another_differs():
    def parameters(seed):
        model = GIPO(
            "mlp", pendulum(n_envs=2), agent=small(), buffer_size=500, seed=seed, device="cpu"
        ).learn(600)
        return torch.cat([p.detach().flatten() for p in model.policy.parameters()])

    first, again, other = parameters(1), parameters(1), parameters(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_actions_are_stored_unclipped_and_sent_clipped():
    env = pendulum()
    model = GIPO(PolicyConfig(log_std_init=2.0), env, agent=small(), seed=0, device="cpu")
    rollout = collect(model)
    assert np.abs(rollout.action).max() > env.action_space.high.max()
    position = model.actor.position()
    assert position.episodes == [0]
    assert np.array_equal(
        position.actions[0], np.clip(rollout.action[:, 0], env.action_space.low, env.action_space.high)
    )


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("ratio", ["joint", "per_dimension"])
def test_at_lag_zero_every_ratio_is_one(ratio, normalize):
    agent = AgentConfig(rollout_steps=64, ratio=ratio, update=UpdateConfig(rounds=1, batch_size=64))
    env = pendulum(action="{kind:binned,bins:5}")
    model = GIPO(
        "layernorm", env, agent=agent, buffer_size=None, normalize_obs=normalize, seed=0, device="cpu"
    )
    for _ in range(2):
        collect(model)
        result = update(model)
    assert result.log_ratio.abs().max() < 1e-5
    torch.testing.assert_close(result.coefficient, torch.ones_like(result.coefficient), atol=1e-5, rtol=0)
    assert result.numbers["health/ess"] == pytest.approx(1)
    assert result.numbers["health/lag_max"] == 0


def test_lag_counts_iterations_and_old_rows_stay():
    model = GIPO("mlp", pendulum(), agent=small(), buffer_size=192, seed=0, device="cpu")
    for _ in range(5):
        collect(model)
        stats = update(model)
    assert sorted(set(model.buffer.version.tolist())) == [2, 3, 4]
    assert stats.numbers["health/lag_max"] == 2


def test_critic_steps_leave_the_actor_alone():
    agent = small(reuse=4, actor_every=4)
    model = GIPO("layernorm", pendulum(), agent=agent, seed=0, device="cpu")
    collect(model)
    stats = update(model)
    assert stats.numbers["update/actor_steps"] == 3
    assert stats.numbers["update/critic_steps"] == 12


def test_a_critic_step_moves_the_critic_alone():
    model = GIPO("layernorm", pendulum(), agent=small(), seed=0, device="cpu")
    collect(model)
    policy = model.policy
    actor, critic = (
        [p.clone() for p in group] for group in (policy.actor_parameters(), policy.critic_parameters())
    )
    obs = torch.from_numpy(model.buffer.obs[:32])
    model.learner.updater._step_critic(policy.shared(obs).detach(), torch.ones(32), Tally())
    assert all(map(torch.equal, actor, policy.actor_parameters()))
    assert not any(map(torch.equal, critic, policy.critic_parameters()))


def test_kl_stop_ends_the_iteration():
    agent = AgentConfig(
        rollout_steps=64, update=UpdateConfig(rounds=50, batch_size=64, actor_lr=0.05, kl_stop=0.01)
    )
    model = GIPO("mlp", pendulum(), objective="no_clip", agent=agent, seed=0, device="cpu")
    collect(model)
    numbers = update(model).numbers
    assert numbers["update/kl_stopped"] == 1
    assert 1 <= numbers["update/actor_steps"] < 50


def test_ppo_kl_stores_the_distribution_and_penalises():
    model = GIPO("mlp", pendulum(), objective="ppo_kl", agent=small(), seed=0, device="cpu")
    assert model.buffer.distribution.shape[1] == 2
    collect(model)
    update(model)
    assert update(model).numbers["loss/kl_penalty"] > 0
    assert (
        GIPO("mlp", pendulum(), objective=PpoClip(), agent=small(), device="cpu").buffer.distribution.shape[1]
        == 0
    )


def test_running_statistics_are_those_of_all_observations():
    model = GIPO("mlp", pendulum(), agent=small(), buffer_size=200, normalize_obs=True, seed=0, device="cpu")
    seen = []
    for _ in range(3):
        seen.append(collect(model).obs.reshape(-1, 3))
        update(model)
    every = np.concatenate(seen).astype(np.float64)
    normalizer = model.policy.features_extractor
    assert isinstance(normalizer, ObsNormalizer)
    np.testing.assert_allclose(normalizer.mean, every.mean(0))
    np.testing.assert_allclose(normalizer.var, every.var(0))
    out = normalizer(torch.from_numpy(every).float())
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)


def test_layernorm_critic_does_not_move_the_encoder():
    model = GIPO("layernorm", pendulum(), agent=small(), seed=0, device="cpu")
    obs = torch.randn(4, 3)
    model.policy.critic(model.policy.shared(obs)).sum().backward()
    moved = {name for name, p in model.policy.named_parameters() if p.grad is not None}
    assert moved == {name for name, _ in model.policy.named_parameters() if "value_net" in name}
    owned = {id(p) for p in model.policy.critic_parameters()}
    assert moved == {name for name, p in model.policy.named_parameters() if id(p) in owned}


@pytest.mark.parametrize(
    ("argument", "cure"),
    [
        ("learning_rate", "agent=AgentConfig.model_validate({'update': {'actor_lr': ...}})"),
        ("n_steps", "agent=AgentConfig.model_validate({'rollout_steps': ...})"),
        ("clip_range", "write the objective with it, such as objective=PpoClip(eps=...)"),
        ("total_timesteps", "it is total_steps on the command line"),
        ("zzz", "see the parameters of AgentConfig in gipo_cli.settings.schema"),
    ],
)
def test_arguments_of_ppo_are_told_where_they_are(argument, cure):
    with pytest.raises(TypeError, match=f"^GIPO takes no argument '{argument}'; ") as error:
        GIPO("mlp", "Pendulum-v1", **{argument: 1})
    assert str(error.value).endswith(cure)


def test_progress_bar_of_stable_baselines3(capfd):
    model = GIPO("mlp", "Pendulum-v1", agent=AgentConfig(rollout_steps=32), buffer_size=32, device="cpu")
    model.learn(64, progress_bar=True)
    assert "64/64" in "".join(capfd.readouterr())


class Matrix(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Box(-1, 1, (2, 3))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action.astype(np.float32))
        return np.zeros(1, np.float32), float(action.sum()), False, False, {}


def test_an_action_that_is_a_matrix():
    agent = GIPO(
        env=DummyVecEnv([Matrix, Matrix]),
        agent=AgentConfig(
            rollout_steps=8,
            update=UpdateConfig(rounds=1, batch_size=8),
            policy=PolicyConfig(hidden=[4]),
        ),
        buffer_size=32,
        device="cpu",
    )
    agent.learn(32)
    assert agent.predict(np.zeros((2, 1), np.float32))[0].shape == (2, 2, 3)
