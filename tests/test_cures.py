"""Every command, option and setting that a message of the package names can be typed."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import typer

from gipo_cli.commands.app import app
from gipo_cli.settings.compose import compose
from gipo_cli.settings.explain import described

ROOT = Path(__file__).parents[1]
FOREIGN = {"--logdir", "--head", "--port"}
"""Options of TensorBoard and Ray in commands that messages give."""
KEYS = {row["key"] for row in described()}
GROUPS = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()} - {"study"}
BESIDE = {
    "env.task": ["env=metaworld"],
    "env.reward": ["env=fetch_push"],
    "env.id": ["env=gymnasium"],
    "actors.max_lag": ["actors=processes"],
    "actors.overflow": ["actors=processes"],
}
"""What a setting needs beside it."""


def texts(path: Path) -> Iterator[str]:
    """The literals of a module that may be messages; ``{}`` stands for what is filled in."""
    tree = ast.parse(path.read_text())
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    inner |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


MESSAGES = sorted(
    {text for path in (ROOT / "gipo_cli").rglob("*.py") for text in texts(path) if " " in text.strip()}
)


def found(pattern: str) -> list[str]:
    return sorted({match for text in MESSAGES for match in re.findall(pattern, text)})


def command_tree(
    command: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    yield (
        words,
        {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)},
    )
    for name, inner in getattr(command, "commands", {}).items():
        yield from command_tree(inner, (*words, name))


COMMANDS = dict(command_tree(typer.main.get_command(app)))


def test_every_command_in_a_message_is_there():
    named = found(r"(?:`|: |type |use |^|\n *|see |with )gipo ([a-z]+(?:-[a-z]+)*(?: [a-z]+)?)")
    assert len(named) > 12
    for words in map(str.split, named):
        assert (words[0],) in COMMANDS, words
        if any(known[:1] == (words[0],) and len(known) > 1 for known in COMMANDS) and len(words) > 1:
            assert tuple(words) in COMMANDS, words


def test_every_option_in_a_message_is_there():
    named = set(found(r"(?<![\w-])(--[a-z][a-z-]*)"))
    assert len(named) > 30
    assert named - FOREIGN <= set().union(*COMMANDS.values()) | {"--help"}


def test_options_are_those_of_the_command_beside_them():
    for line in found(r"gipo ([a-z][^`;,:)\n]*)"):
        words = line.split()
        best = max((known for known in COMMANDS if known == tuple(words[: len(known)])), key=len)
        assert {word for word in words if word.startswith("--")} - FOREIGN <= COMMANDS[best], line


SETTINGS = found(r"(?<![\w./-])([a-z_]+(?:\.[a-z_]+)*=(?>[\w.+-]*\w)?)(?![,(\w])")


def test_every_setting_in_a_message_is_known():
    for setting in SETTINGS:
        key = setting.partition("=")[0]
        assert "." not in key or key in KEYS or key.startswith(("env.kwargs", "objective.")), setting


def test_every_value_in_a_message_is_taken():
    typed = [
        s for s in SETTINGS if re.fullmatch(r"(.*)=(?![A-Z]+$).+", s) and s.partition("=")[0] in KEYS | GROUPS
    ]
    assert len(typed) > 20
    for setting in typed:
        assert compose([*BESIDE.get(setting.partition("=")[0], ()), setting]), setting


def test_every_package_in_a_message_is_one_of_ours():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    known = {re.split(r"[\[<>=!~ ;]", name)[0].lower() for name in wanted}
    for line in found(r"pip install ([a-z][a-z0-9 -]*)"):
        assert set(line.split()) <= known, line
