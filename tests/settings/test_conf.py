"""Every shipped configuration file composes, is complete and explains itself."""

import itertools
import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.settings.compose import compose
from gipo_cli.settings.explain import known_keys
from gipo_cli.settings.groups import group_choices, shipped_dir
from gipo_cli.settings.schema import RunConfig

GROUPS = group_choices()
FILES = [(group, name) for group, names in GROUPS.items() for name in names]
NEEDED = {"gymnasium": ["env.id=Pendulum-v1"], "sb3_ppo": ["buffer=fresh"]}
SPECIAL = ("preset_objective", "tuned")


def test_groups_are_the_documented_ones():
    assert set(GROUPS) - {"tuned"} == {
        "agent",
        "buffer",
        "checkpoint",
        "diagnostics",
        "env",
        "eval",
        "logging",
        "objective",
        "preset",
        "preset_objective",
        "runtime",
    }
    assert set(GROUPS["objective"]) == set(OBJECTIVES) - {name for name in OBJECTIVES if "test" in name}
    assert set(GROUPS["preset"]) == {"authors", "default", "sb3_ppo"}


@pytest.mark.parametrize(("group", "name"), FILES)
def test_file_composes(group: str, name: str):
    if group in SPECIAL:
        preset = next(preset for preset in GROUPS["preset"] if name.startswith(f"{preset}_"))
        other = "objective" if group == "preset_objective" else "env"
        choice = name.removeprefix(f"{preset}_")
        composed = compose([f"preset={preset}", f"{other}={choice}"])
        assert composed.choices[group] == name
    else:
        composed = compose([f"{group}={name}", *NEEDED.get(name, [])])
        assert composed.choices[group] == name


@pytest.mark.parametrize(("group", "name"), [pair for pair in FILES if pair[0] not in ("preset", *SPECIAL)])
def test_file_states_every_value_of_its_section(group: str, name: str):
    data = yaml.safe_load((shipped_dir() / group / f"{name}.yaml").read_text())
    model = OBJECTIVES[data["name"]] if group == "objective" else RunConfig.model_fields[group].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    expected = set(known_keys(model)) | ({"name"} if group == "objective" else set())
    assert leaves(data) == expected


def leaves(data: dict, prefix: str = "") -> set[str]:
    found = set()
    for key, value in data.items():
        dotted = f"{prefix}{key}"
        inner = isinstance(value, dict) and key != "kwargs"
        found |= leaves(value, f"{dotted}.") if inner else {dotted}
    return found


@pytest.mark.parametrize("path", sorted(shipped_dir().rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_value_has_a_comment(path: Path):
    """A value's comment stands on its own line or on the line above; ``name`` and defaults need none."""
    assert "${hydra:" not in path.read_text()
    lines = path.read_text().splitlines()
    assert lines[0].startswith("#")
    for before, line in itertools.pairwise(lines):
        if re.match(r"\s*[a-z_]+: \S", line) and not line.startswith("name:"):
            assert " # " in line or before.strip().startswith("#"), f"{path.name}: {line}"


def test_sb3_preset_is_stable_baselines3_ppo():
    """Read from the library itself, so that a changed default there is noticed here."""
    import inspect

    from stable_baselines3 import PPO
    from stable_baselines3.common.policies import ActorCriticPolicy

    ppo = {name: p.default for name, p in inspect.signature(PPO.__init__).parameters.items()}
    policy = inspect.signature(ActorCriticPolicy.__init__).parameters
    config = compose(["preset=sb3_ppo"]).config
    agent, update = config.agent, config.agent.update
    assert (agent.rollout_steps, update.batch_size, update.epochs) == (
        ppo["n_steps"],
        ppo["batch_size"],
        ppo["n_epochs"],
    )
    assert update.actor_lr == update.critic_lr == ppo["learning_rate"]
    assert (agent.advantage.gamma, agent.advantage.gae_lambda) == (ppo["gamma"], ppo["gae_lambda"])
    assert (update.entropy_coef, update.value_coef) == (ppo["ent_coef"], ppo["vf_coef"])
    assert (update.max_grad_norm, update.kl_stop) == (ppo["max_grad_norm"], ppo["target_kl"])
    assert config.objective.model_dump()["eps"] == ppo["clip_range"]
    assert (agent.advantage.normalize == "batch") is ppo["normalize_advantage"]
    assert agent.policy.ortho_init is policy["ortho_init"].default
    assert agent.policy.log_std_init == policy["log_std_init"].default
    assert policy["activation_fn"].default.__name__.lower() == agent.policy.activation
    assert (update.optimizer, update.adam_eps, update.sampling, update.lr_schedule) == (
        "adam",
        1e-5,
        "epochs",
        "constant",
    )
    assert (config.buffer.size, agent.ratio, agent.advantage.kind) == (None, "joint", "stored")
    assert (config.env.reward_scale, config.env.normalize_obs) == (1.0, False)
    assert agent.advantage.bootstrap_truncated


def test_authors_preset_is_the_published_script():
    config = compose(["preset=authors"]).config
    agent, update = config.agent, config.agent.update
    assert (config.env.task, config.env.reward_scale) == ("reach-v3", 0.001)
    assert (config.env.action.kind, config.env.action.bins) == ("binned", 256)
    assert (config.total_steps // agent.rollout_steps, config.buffer.size) == (1000, 20_000)
    assert (update.batch_size, update.rounds, update.reuse, update.actor_every) == (512, 10, 10, 10)
    assert (update.actor_lr, update.critic_lr, update.lr_schedule, update.lr_warmup) == (
        3e-4,
        3e-3,
        "cosine",
        10,
    )
    assert (update.optimizer, update.adam_eps, update.weight_decay) == ("adamw", 1e-8, 0.0)
    assert (update.kl_coef, update.value_coef, update.entropy_coef, update.max_grad_norm) == (0.1, 0.5, 0, 1)
    assert (agent.policy.kind, agent.policy.hidden, agent.ratio) == (
        "layernorm",
        [512, 512, 256],
        "per_dimension",
    )
    assert (agent.advantage.kind, agent.advantage.bootstrap_truncated) == ("stored", False)
    assert config.objective.model_dump() | {"sigma": 0.5, "neg_ratio": 0.5} == config.objective.model_dump()


def test_default_does_not_treat_time_limits_as_terminal():
    assert compose([]).config.agent.advantage.bootstrap_truncated
