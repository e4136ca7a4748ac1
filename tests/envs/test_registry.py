import itertools
import re
import subprocess
import sys

import pytest
import yaml
from env_tools import CONF

from gipo_cli.envs.registry import ENVIRONMENTS, typed
from gipo_cli.envs.resolve import resolve
from gipo_cli.settings.schema import EnvConfig

ROBOTICS = [entry for entry in ENVIRONMENTS.values() if entry.package == "gymnasium_robotics"]


def config(**values):
    return EnvConfig.model_validate(values)


def all_ids(entry):
    return {
        resolve(config(name=entry.name, task=task, reward=reward)).id
        for task in (entry.tasks or [None])
        for reward in entry.rewards
    }


def test_registry_lists_every_promised_name():
    assert set(ENVIRONMENTS) == {
        *("fetch_reach", "fetch_push", "fetch_slide", "fetch_pick_and_place", "hand_reach"),
        *("hand_manipulate_block", "hand_manipulate_egg", "hand_manipulate_pen"),
        *("adroit_door", "adroit_hammer", "adroit_pen", "adroit_relocate"),
        *("franka_kitchen", "metaworld", "gymnasium"),
    }


def test_ids_are_exactly_the_newest_manipulation_ids_of_gymnasium_robotics():
    import gymnasium as gym
    import gymnasium_robotics

    gym.register_envs(gymnasium_robotics)
    newest: dict[str, int] = {}
    for env_id in gym.registry:
        if match := re.fullmatch(r"((?:Fetch|Hand|Adroit|FrankaKitchen).*)-v(\d+)", env_id):
            newest[match[1]] = max(int(match[2]), newest.get(match[1], 0))
    # ...Full is upstream's second name for the same thing.
    expected = {
        f"{name}-v{version}" for name, version in newest.items() if not re.search(r"Full(Dense)?$", name)
    }
    assert set.union(*map(all_ids, ROBOTICS)) == expected


def test_importing_the_registry_imports_nothing_heavy():
    code = (
        "import sys, gipo_cli.envs.resolve, gipo_cli.settings.imports;"
        "heavy = {'torch', 'gymnasium', 'mujoco', 'metaworld', 'gymnasium_robotics', 'scipy'};"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_to_type_for_an_id_is_that_id_as_released():
    for entry in ROBOTICS:
        for reward, task in itertools.product(entry.rewards, entry.tasks or [None]):
            env_id = resolve(config(name=entry.name, reward=reward, task=task)).id
            settings = dict(word.removeprefix("env.").split("=") for word in typed(env_id).split())
            assert resolve(config(name=settings.pop("env"), **settings)).id == env_id
            released = "released" in entry.rewards and reward == "dense"
            assert settings["reward"] == ("released" if released else reward)


def test_an_id_without_a_name_here_has_nothing_else_to_type():
    assert [typed(name) for name in ("Pendulum-v1", "Nothing", "-v1", "")] == [None] * 4
    assert typed("FetchReachDense-v1") == "env=fetch_reach env.reward=dense"
    assert typed("Reach-v2") == "env=metaworld env.task=reach-v3"


def test_every_environment_has_one_config_file():
    assert {path.stem for path in CONF.glob("*.yaml")} == set(ENVIRONMENTS)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_config_file_names_a_valid_choice(name):
    cfg = EnvConfig.model_validate(yaml.safe_load((CONF / f"{name}.yaml").read_text()))
    assert cfg.name == name
    resolve(cfg.model_copy(update={"id": "Reacher-v5"}) if name == "gymnasium" else cfg)
    if "dense" in ENVIRONMENTS[name].rewards:
        assert cfg.reward == "dense"
