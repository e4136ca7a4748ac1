"""A YAML file among a command's words."""

from pathlib import Path

import pytest

from gipo_cli.errors import UserError
from gipo_cli.settings.compose import compose, to_yaml
from gipo_cli.settings.files import with_files

SMALL = ["env=gymnasium", "env.id=Pendulum-v1", "objective=sapo", "seed=7", "total_steps=4096"]


def written(folder: Path, text: str) -> str:
    file = folder / "best.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(
    "text",
    [
        "env: gymnasium\nenv.id: Pendulum-v1\nobjective: sapo\nseed: 7\ntotal_steps: 4096",
        "env: {name: gymnasium, id: Pendulum-v1}\nobjective:\n  name: sapo\nseed: 7\ntotal_steps: 4_096\n",
    ],
)
def test_a_file_is_what_its_lines_are(tmp_path: Path, text: str):
    assert compose(with_files([written(tmp_path, text)])).config == compose(SMALL).config


def test_a_whole_configuration_reads_back(tmp_path: Path):
    odd = r"""env.kwargs={mark:"a 'b' \"c\" d\\",limit:inf,like:"1e5",yes:"true",list:[1,"x,y"]}"""
    config = compose([*SMALL, odd, "agent.update.actor_lr=1e-5"]).config
    assert compose(with_files([written(tmp_path, to_yaml(config))])).config == config


def test_later_words_outweigh_earlier_ones(tmp_path: Path):
    file = written(tmp_path, "seed: 3\nagent.update.actor_lr: 1e-4\n")
    assert with_files([file, "seed=4"]) == ["agent.update.actor_lr=0.0001", "seed=4"]
    assert with_files(["seed=4", file]) == ["seed=3", "agent.update.actor_lr=0.0001"]
    assert with_files(["seed=4", "seed=5"]) == ["seed=4", "seed=5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no settings; write one setting a line"),
        ("- seed=3", "holds no settings"),
        ("seed", "holds no settings"),
        ("3: 4", "3 is no setting's name"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=message):
        with_files([written(tmp_path, text)])


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"best\.yaml cannot be read: No such file"):
        with_files([str(tmp_path / "best.yaml")])
