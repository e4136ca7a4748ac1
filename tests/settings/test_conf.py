"""Every shipped configuration file composes, holds only differences and explains itself."""

import itertools
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.settings.compose import Composed, compose
from gipo_cli.settings.groups import group_choices, shipped_dir
from gipo_cli.settings.schema import RunConfig
from gipo_cli.text import flatten

GROUPS = group_choices()
FILES = [(group, name) for group, names in GROUPS.items() for name in names]
NEEDED = {"sb3_ppo": ["buffer=fresh"]}
SPECIAL = ("preset_objective", "tuned", "tuned_objective")


def test_groups_are_the_documented_ones():
    assert set(GROUPS) - set(SPECIAL) == {
        "actors",
        "agent",
        "buffer",
        "checkpoint",
        "diagnostics",
        "env",
        "eval",
        "logging",
        "objective",
        "preset",
        "runtime",
    }
    assert set(GROUPS["objective"]) == set(OBJECTIVES) - {name for name in OBJECTIVES if "test" in name}
    assert set(GROUPS["preset"]) == {"authors", "default", "default_0_1", "posttrain", "sb3_ppo"}


@pytest.mark.parametrize(("group", "name"), [pair for pair in FILES if pair[0] not in ("preset", *SPECIAL)])
def test_file_holds_only_what_differs_from_the_schema(group: str, name: str):
    data = yaml.safe_load((shipped_dir() / group / f"{name}.yaml").read_text()) or {}
    section = RunConfig.model_fields[group].annotation
    model: Any = OBJECTIVES[data["name"]] if group == "objective" else section
    required = {key: data[key] for key, field in model.model_fields.items() if field.is_required()}
    given = model.model_validate(data).model_dump()
    default = model.model_validate(required).model_dump()
    assert [key for key in leaves(data) if key != "name" and at(given, key) == at(default, key)] == []


def leaves(data: dict, prefix: str = "") -> list[str]:
    inner = {key: value for key, value in data.items() if isinstance(value, dict)}
    here = [f"{prefix}{key}" for key in data if key not in inner]
    return here + [leaf for key, value in inner.items() for leaf in leaves(value, f"{prefix}{key}.")]


def at(data: dict, key: str) -> Any:
    for part in key.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def cases() -> list[list[str]]:
    """Every file of every group, every preset, and what presets specialise or a typed choice outweighs."""
    plain = [[f"{group}={name}", *NEEDED.get(name, [])] for group, name in FILES if group not in SPECIAL]
    pairs = [["preset=authors", f"objective={name}"] for name in ("gipo", "ppo_clip", "sapo")]
    pairs += [["preset=posttrain", "env=metaworld"], ["preset=default_0_1", "env=fetch_reach"]]
    typed = ["env=metaworld", "agent=default", "buffer=default", "eval=final"]
    return [[], *plain, *pairs, *([f"preset={name}", *typed] for name in GROUPS["preset"])]


@cache
def composed_once(*overrides: str) -> Composed:
    return compose(overrides)


COMPOSED = Path(__file__).with_name("composed.json")


@pytest.mark.parametrize("overrides", cases(), ids=" ".join)
def test_composed_values_are_those_that_results_were_made_with(overrides: list[str]):
    """If a change is meant, write the table again: python tests/settings/test_conf.py."""
    composed = composed_once(*overrides)
    assert kept(composed.config, overrides) == json.loads(COMPOSED.read_text())[" ".join(overrides)]
    assert dict(line.split("=") for line in overrides).items() <= composed.choices.items()


def test_every_file_of_a_preset_for_an_objective_or_environment_is_found():
    choices = [composed_once(*overrides).choices for overrides in cases() if len(overrides) < 3]
    for group in SPECIAL:
        assert set(GROUPS[group]) <= {choice.get(group) for choice in choices}


def kept(config: RunConfig, overrides: list[str]) -> dict[str, Any]:
    """All values of a plain run; of any other what differs from that, so that a new setting is one line."""
    values = flatten(config.model_dump(mode="json"))
    if not overrides:
        return values
    plain = flatten(composed_once().config.model_dump(mode="json"))
    absent = dict.fromkeys(plain.keys() - values.keys(), "absent")
    return {**{key: value for key, value in values.items() if plain.get(key, "absent") != value}, **absent}


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


if __name__ == "__main__":
    table = {" ".join(overrides): kept(compose(overrides).config, overrides) for overrides in cases()}
    COMPOSED.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n")
