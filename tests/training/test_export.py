import json

import gymnasium as gym
import numpy as np
import pytest
import torch

from gipo_cli.envs.make import make_env, make_vec_env
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.settings.schema import ActionConfig, AgentConfig, EnvConfig, PolicyConfig
from gipo_cli.training.export import PROGRAM, Deployed, _check, act_on, export_run

PENDULUM = EnvConfig(name="gymnasium", id="Pendulum-v1")  # torques within +-2
KINDS = {
    "gaussian": ({}, {}),
    "scaled": ({"scale": True}, {}),
    "binned": ({"kind": "binned", "bins": 5}, {}),
    "layernorm": ({}, {"kind": "layernorm", "hidden": [16, 16, 8]}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_deployed_policy_does_what_the_simulator_gets(kind):
    action, policy = KINDS[kind]
    cfg = PENDULUM.model_copy(update={"action": ActionConfig(**action)})
    agent = GIPO(
        PolicyConfig(**policy),
        make_vec_env(cfg, 0),
        agent=AgentConfig(rollout_steps=64),
        buffer_size=64,
        normalize_obs=True,
        seed=3,
        device="cpu",
    )
    agent.policy.features_extractor.update(torch.randn(100, 3) * 4 + 2)
    with torch.no_grad():  # so that actions reach their bounds
        agent.policy.action_net.weight.normal_(0, 20, generator=torch.Generator().manual_seed(0))
        agent.policy.action_net.bias.zero_()
    act = make_env(cfg, 0).actions
    observations = np.random.default_rng(1).normal(2, 4, (50, 3)).astype(np.float32)
    expected = act_on(agent, act, observations)
    assert expected.min() == -2
    assert expected.max() == 2
    given = Deployed(agent.policy, act)(torch.from_numpy(observations)).numpy()
    np.testing.assert_allclose(given, expected, rtol=0, atol=2e-5)
    # As it was: what is deployed is a copy.
    assert all(parameter.requires_grad for parameter in agent.policy.actor_parameters())


def test_a_run_is_exported_with_its_card(trained_run, tmp_path):
    folder = export_run(trained_run, tmp_path / "a" / "policy", "best")
    assert sorted(entry.name for entry in folder.iterdir()) == ["README.md", "config.yaml", PROGRAM]
    extra = {"gipo.json": ""}
    program = torch.export.load(folder / PROGRAM, extra_files=extra).module()
    assert json.loads(extra["gipo.json"])["observation"] == 13
    env = make_env(EnvConfig(name="fetch_reach"), 0)
    observation, _ = env.reset()
    action = program(torch.from_numpy(observation[None]))[0].numpy()
    assert env.action_space.contains(action)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: gipo-cli\n")
    assert "# GIPO on fetch_reach" in card
    assert "| episodes | 6 |" in card
    assert "| `agent.rollout_steps` | 128 |" in card
    with pytest.raises(UserError, match="exists already; remove it, or name another folder with --out"):
        export_run(trained_run, folder)


def test_a_program_that_differs_is_not_written():
    examples = np.zeros((4, 2), np.float32)
    expected = np.ones((4, 1), np.float32)
    _check("policy", lambda obs: np.ones((len(obs), 1)), examples, expected)
    with pytest.raises(RunFailed, match=r"policy is not written: its actions are up to 0.5 off"):
        _check("policy", lambda obs: np.full((len(obs), 1), 0.5), examples, expected)
    with pytest.raises(RunFailed, match="nan off"):
        _check("policy", lambda obs: np.full((len(obs), 1), np.nan), examples, expected)


def test_onnx_needs_its_extra(trained_run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install onnx onnxscript onnxruntime"):
        export_run(trained_run, tmp_path / "x", onnx=True)
    assert not (tmp_path / "x").exists()


@pytest.mark.extras
def test_onnx_does_the_same(trained_run, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = export_run(trained_run, tmp_path / "x", onnx=True)
    session = runtime.InferenceSession(folder / "policy.onnx", providers=["CPUExecutionProvider"])
    observation = gym.spaces.Box(-1, 1, (7, 13), np.float32, seed=1).sample()
    (action,) = session.run(None, {"observation": observation})
    program = torch.export.load(folder / PROGRAM).module()
    np.testing.assert_allclose(action, program(torch.from_numpy(observation)).numpy(), atol=1e-5)
