"""`make house` sees what it is there to see."""

import ast

import pytest

from benchmarks import house

CODE = {
    "gipo_cli": "def later():\n    from gipo_cli.commands import app\n",
    "gipo_cli.core.a": "from gipo_cli.core.b import x\n",
    "gipo_cli.core.b": "from gipo_cli.core import a\n",
    "gipo_cli.core.c": "def f():\n    import gipo_cli.commands.app\n    return 1\n",
    "gipo_cli.commands.app": "import gipo_cli.core.c\nA = 'gipo_cli.core.a'\nB = 'from gipo_cli import x'\n",
}


@pytest.fixture
def small(monkeypatch):
    paths = {name: house.ROOT / f"{name.replace('.', '/')}.py" for name in CODE}
    monkeypatch.setattr(house, "MODULES", paths)
    monkeypatch.setattr(house, "SOURCES", {path: CODE[name] for name, path in paths.items()})
    monkeypatch.setattr(house, "TREES", {path: ast.parse(CODE[name]) for name, path in paths.items()})


def test_imports_that_point_up_are_found_also_inside_functions(small):
    assert house.upward() == ["gipo_cli.core.c -> gipo_cli.commands.app"]


def test_cycles_are_those_of_imports_at_the_top(small):
    assert house.cycles() == ["gipo_cli.core.a", "gipo_cli.core.b"]


def test_module_names_in_strings_are_found(small):
    assert house.hidden() == ["gipo_cli/commands/app.py:2", "gipo_cli/commands/app.py:3"]


def test_lengths(small):
    assert max(house.functions()) == (3, "gipo_cli/core/c.py:1 f")
    found = {name: number for name, number, _ in house.measure(with_gate=False)}
    assert found["lines of gipo_cli"] == sum(text.count("\n") for text in CODE.values())
    assert set(found) == set(house.LIMITS) - {"seconds of make tests"}


def test_a_broken_limit_is_said_and_fails(monkeypatch, capsys):
    monkeypatch.setattr(house, "measure", lambda with_gate: [("words of documentation", 25_001, "docs/")])
    monkeypatch.setattr("sys.argv", ["house"])
    assert house.main() == 1
    assert "25,001 of 25,000 OVER  docs/" in capsys.readouterr().out
