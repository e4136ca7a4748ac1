import json
import os

import pytest
import yaml

from gipo_cli import __version__
from gipo_cli.core.objectives import OBJECTIVES
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import read_sealed
from gipo_cli.runs.layout import create
from gipo_cli.runs.machine import hardware, versions
from gipo_cli.runs.manifest import Manifest, read_config, write_config, write_inputs
from gipo_cli.settings.schema import RunConfig


def config(**more):
    values = {
        "seed": 3,
        "total_steps": 1000,
        "env": {
            "name": "gymnasium",
            "id": "Pendulum-v1",
            "kwargs": {"g": 9.81, "text": "ü: #", "list": [1, None]},
        },
        "objective": {"name": "gipo", "sigma": 1e-5},
    }
    return RunConfig.model_validate(values | more)


def start(tmp_path):
    run = create(tmp_path / "runs", "a")
    words = ["gipo", "train", "a b", "seed=3"]
    write_inputs(run, config(), overrides=["env=gymnasium", "seed=3"], command=words, device="cpu")
    return run


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_objective_and_float_survives_the_yaml(tmp_path, name):
    run = create(tmp_path, "a")
    written = config(objective={"name": name}, buffer={"size": 123_456})
    write_config(run, written)
    assert read_config(run) == written
    assert yaml.safe_load(run.config.read_text())["buffer"]["size"] == 123_456


def test_the_inputs_are_as_typed(tmp_path):
    run = start(tmp_path)
    assert run.command.read_text() == "gipo train 'a b' seed=3\n"
    assert run.overrides.read_text() == "env=gymnasium\nseed=3\n"
    assert read_config(run) == config()


def test_meta_says_what_it_ran_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = read_sealed(start(tmp_path).meta)
    assert facts["run"] == "a"
    assert facts["seeds"] == {"run": 3, "evaluation": 10_000}
    assert "at any step" in facts["success"]
    assert facts["evaluation"]["episodes"] == 20
    assert facts["versions"]["gipo"] == __version__
    assert facts["versions"]["mujoco"] == "3.3.0"
    assert facts["hardware"] == hardware()
    assert facts["updates"] == []
    assert facts["directory"] == str(tmp_path)


def test_a_resumed_run_adds_what_it_resumed_on(tmp_path):
    run = start(tmp_path)
    changes = ["total_steps: 1000 -> 2000"]
    assert Manifest(run).device == "cpu"
    for attempt in (2, 3):
        Manifest(run).add_update(
            attempt=attempt, step=500, command=["gipo", "x"], changes=changes, device="cuda"
        )
    assert Manifest(run).device == "cuda"
    updates = read_sealed(run.meta)["updates"]
    assert [update["attempt"] for update in updates] == [2, 3]
    assert updates[0]["changes"] == ["total_steps: 1000 -> 2000"]
    assert updates[0]["versions"] == versions()
    assert updates[0]["hardware"] == hardware()


def test_every_change_to_the_configuration_is_noticed(tmp_path):
    run = start(tmp_path)
    whole = run.config.read_bytes()
    for place in range(0, len(whole), 29):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            run.config.write_bytes(damaged)
            with pytest.raises(UserError, match="was changed since it was written"):
                read_config(run)


def reseal(run, text):
    import hashlib

    digest = hashlib.sha256(text).hexdigest()
    run.config.write_bytes(text + f"# sha256 of the lines above: {digest}\n".encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"seed: [1", "not YAML"),
        (b"!!python/object/apply:os.mkdir [ran]", "not YAML"),
        (b"5\n", "not a configuration of this gipo"),
        (b"seed: one\n", "not a configuration of this gipo: seed"),
        (b"\xff\n", "not YAML"),
    ],
)
def test_a_foreign_configuration_is_one_sentence(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    run = start(tmp_path)
    reseal(run, text)
    with pytest.raises(UserError, match=message):
        read_config(run)
    assert not os.path.exists("ran")


def test_a_missing_configuration_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"config\.yaml cannot be read"):
        read_config(create(tmp_path, "a"))


def test_meta_is_readable_json(tmp_path):
    assert json.loads(start(tmp_path).meta.read_text())["format"] == 1
