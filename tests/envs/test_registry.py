import itertools
import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
import yaml

from gipo_cli.envs.make import make_env
from gipo_cli.envs.metaworld_tasks import METAWORLD_TASKS
from gipo_cli.envs.registry import ENVIRONMENTS, resolve, typed
from gipo_cli.errors import UserError
from gipo_cli.settings.schema import EnvConfig

CONF = Path(__file__).parents[2] / "conf" / "env"
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


def test_metaworld_tasks_are_those_of_the_package():
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    assert len(METAWORLD_TASKS) == 50
    assert set(METAWORLD_TASKS) == set(ALL_V3_ENVIRONMENTS)


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
        "import sys, gipo_cli.envs.registry, gipo_cli.settings.imports;"
        "heavy = {'torch', 'gymnasium', 'mujoco', 'metaworld', 'gymnasium_robotics', 'scipy'};"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_null_reward_is_the_first_listed():
    assert resolve(config(name="fetch_push")).id == "FetchPushDense-v4"
    assert resolve(config(name="fetch_push")).reward == "dense"
    assert resolve(config(name="fetch_push", reward="sparse")).id == "FetchPush-v4"
    assert resolve(config(name="franka_kitchen")).reward == "sparse"
    assert resolve(config(name="metaworld", task="sweep-v3")).id is None


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"name": "fetch_reech"}, ["'fetch_reech'", "did you mean 'fetch_reach'?"]),
        ({"name": "qqq"}, ["'qqq'", "fetch_reach, fetch_push"]),
        ({"name": "metaworld"}, ["needs env.task", "reach-v3"]),
        ({"name": "metaworld", "task": "reach"}, ["'reach'", "did you mean 'reach-v3'?"]),
        ({"name": "hand_manipulate_egg", "task": "rotat"}, ["did you mean 'rotate'?"]),
        ({"name": "fetch_reach", "task": "reach-v3"}, ["single task", "left out"]),
        ({"name": "fetch_reach", "reward": "released"}, ["dense or sparse"]),
        ({"name": "metaworld", "task": "reach-v3", "reward": "sparse"}, ["env.reward may be dense"]),
        ({"name": "gymnasium", "id": "Reacher-v5", "reward": "dense"}, ["null"]),
        ({"name": "gymnasium"}, ["env.id=Reacher-v5"]),
        ({"name": "fetch_reach", "id": "Reacher-v5"}, ["env=gymnasium only"]),
        ({"name": "metaworld", "task": "reach-v3", "max_episode_steps": 501}, ["501", "500 steps"]),
        ({"name": "fetch_reach", "kwargs": {"render_mode": "human"}}, ["env.kwargs.render_mode"]),
        ({"name": "adroit_door", "kwargs": {"reward_type": "sparse"}}, ["governed by env.reward"]),
    ],
)
def test_mistakes_are_one_sentence(values, parts):
    with pytest.raises(UserError) as caught:
        resolve(config(**values))
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


CHOICES = [
    {"name": name, "reward": reward, **({"task": task} if task else {})}
    for name, entry in ENVIRONMENTS.items()
    if entry.template
    for reward in entry.rewards
    for task in entry.tasks or [None]
]


@pytest.mark.parametrize("values", CHOICES, ids=lambda values: "-".join(values.values()))
def test_what_to_type_for_an_id_is_that_id_as_released(values):
    env_id = resolve(config(**values)).id
    settings = dict(word.removeprefix("env.").split("=") for word in typed(env_id).split())
    assert resolve(config(name=settings.pop("env"), **settings)).id == env_id
    released = ENVIRONMENTS[values["name"]].corrected and values["reward"] == "dense"
    assert settings["reward"] == ("released" if released else values["reward"])


def test_an_id_without_a_name_here_has_nothing_else_to_type(monkeypatch):
    assert [typed(name) for name in ("Pendulum-v1", "Nothing", "-v1", "")] == [None] * 4
    assert typed("FetchReachDense-v1") == "env=fetch_reach env.reward=dense"
    monkeypatch.delitem(gym.registry, "AdroitHandDoor-v1", raising=False)
    with pytest.raises(UserError, match=r"type env=adroit_door env\.reward=released"):
        make_env(config(name="gymnasium", id="AdroitHandDoor-v1"), 1)


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not ENVIRONMENTS["fetch_reach"].installed
    with pytest.raises(UserError, match="pip install gymnasium-robotics"):
        resolve(config(name="fetch_reach"))
    assert resolve(config(name="gymnasium", id="Reacher-v5")).id == "Reacher-v5"


def test_every_environment_has_one_config_file():
    assert {path.stem for path in CONF.glob("*.yaml")} == set(ENVIRONMENTS)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_config_file_is_complete_valid_and_commented(name):
    text = (CONF / f"{name}.yaml").read_text()
    values = yaml.safe_load(text)
    assert set(values) == set(EnvConfig.model_fields)
    assert values["name"] == name
    cfg = EnvConfig.model_validate(values)
    resolve(cfg.model_copy(update={"id": "Reacher-v5"}) if name == "gymnasium" else cfg)
    if "dense" in ENVIRONMENTS[name].rewards:
        assert cfg.reward == "dense"
    lines = text.splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r" *\w+:", line) and not line.startswith("action:"):
            assert above.lstrip().startswith("#") or above in (lines[0], "action:"), line
