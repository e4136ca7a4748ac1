"""The rules of docs/architecture.md that can be read off the source."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import gipo_cli

ROOT = Path(gipo_cli.__file__).parent
LAYERS = [
    {"errors", "children", "text", ""},
    {"core"},
    {"settings"},
    {"data", "envs", "runs"},
    {"learning", "loggers", "compare", "sweep"},
    {"analysis", "actors"},
    {"training"},
    {"commands"},
    {"__main__"},
]
RANK = {package: rank for rank, packages in enumerate(LAYERS) for package in packages}
HEAVY = {
    "torch",
    "gymnasium",
    "gymnasium_robotics",
    "metaworld",
    "mujoco",
    "matplotlib",
    "scipy",
    "stable_baselines3",
}
NUMPY_ALLOWED = {"Generator", "RandomState", "SeedSequence", "default_rng", "get_state", "set_state"}
LIGHT = [
    "commands/app.py",
    "children.py",
    "text.py",
    "settings",
    "core/objectives",
    "envs/registry.py",
    "envs/resolve.py",
    "runs/layout.py",
    "errors.py",
]


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    at_import_time: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py")) if "_conf" not in path.parts}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def imports(tree: ast.AST, at_import_time: bool = True) -> Iterator[Import]:
    """All imports; those in functions and under TYPE_CHECKING do not run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_import_time)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield Import(full if full in SOURCES else str(node.module), node.lineno, at_import_time)
        else:
            later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            yield from imports(node, at_import_time and not later and not typing)


def package(module: str) -> str:
    return [*module.split("."), ""][1]


def test_every_package_has_a_layer():
    assert {package(name) for name in SOURCES} <= set(RANK)


@pytest.mark.parametrize("name", SOURCES)
def test_imports_point_down(name: str):
    own = package(name)
    for found in imports(TREES[name]):
        if not found.module.startswith("gipo_cli"):
            continue
        if own == "" and not found.at_import_time:
            continue  # the public names, imported when they are first used
        other = package(found.module)
        assert RANK[other] <= RANK[own], f"{SOURCES[name]}:{found.line} imports {found.module}"
        if own == "compare" and RANK[other] == RANK[own] and other != own:
            assert other in ("runs", "sweep"), f"{SOURCES[name]}:{found.line} imports {found.module}"


def test_no_cycles_when_importing():
    graph = {
        name: {
            found.module
            for found in imports(TREES[name])
            if found.at_import_time and found.module in SOURCES and found.module != name
        }
        for name in SOURCES
    }
    done: set[str] = set()
    while free := {name for name in graph if name not in done and graph[name] <= done}:
        done |= free
    assert set(graph) == done, f"cycle among {sorted(set(graph) - done)}"


@pytest.mark.parametrize("name", [name for name in SOURCES if package(name) == "compare"])
def test_compare_needs_neither_torch_nor_stable_baselines3(name: str):
    used = {found.module.split(".")[0] for found in imports(TREES[name])}
    assert not used & {"torch", "stable_baselines3"}


def is_light(path: Path) -> bool:
    relative = path.relative_to(ROOT).as_posix()
    return any(relative == light or relative.startswith(f"{light}/") for light in LIGHT)


@pytest.mark.parametrize("name", [name for name, path in SOURCES.items() if is_light(path)])
def test_light_modules_import_nothing_heavy(name: str):
    """Followed through everything they import from this package."""
    seen, todo = set(), [name]
    while todo:
        current = todo.pop()
        seen.add(current)
        for found in imports(TREES[current]):
            if found.at_import_time:
                heavy = found.module.split(".")[0]
                assert heavy not in HEAVY, f"{name} imports {heavy} through {current}"
                if found.module in SOURCES and found.module not in seen:
                    todo.append(found.module)


@pytest.mark.parametrize("name", SOURCES)
def test_no_global_randomness(name: str):
    """Generators are passed down; a checkpoint may hold the global state, but nobody draws from it.

    One module sets it, for simulators, whose own global state it keeps apart; it draws nothing either.
    """
    numpy, python = NUMPY_ALLOWED, {"getstate", "setstate"}
    if name == "gipo_cli.envs.isolation":
        numpy = {"MT19937", "get_bit_generator", "set_bit_generator", "seed"}
        python = {*python, "Random", "seed"}
    modules = {"np.random": numpy, "numpy.random": numpy, "random": python}
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Attribute):
            allowed = modules.get(ast.unparse(node.value), {node.attr})
            assert node.attr in allowed, f"{SOURCES[name]}:{node.lineno} uses {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            taken = {alias.name for alias in node.names}
            assert taken <= modules[node.module], f"{SOURCES[name]}:{node.lineno} imports {taken}"


@pytest.mark.parametrize("name", SOURCES)
def test_no_input_checks_by_assert(name: str):
    for node in ast.walk(TREES[name]):
        assert not isinstance(node, ast.Assert), f"{SOURCES[name]}:{node.lineno} asserts"


def tensor_functions() -> list[tuple[str, ast.FunctionDef]]:
    found = []
    for name, tree in TREES.items():
        if package(name) == "core":
            for node in tree.body:
                public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
                if public and "Tensor" in ast.unparse(node.args):
                    found.append((f"{name}.{node.name}", node))
    return found


@pytest.mark.parametrize(
    ("name", "node"), tensor_functions(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_functions_of_tensors_state_shapes_and_source(name: str, node: ast.FunctionDef):
    text = ast.get_docstring(node) or ""
    assert "Shape" in text or "``[" in text, f"{name} does not state its shapes"
    assert "Source:" in text, f"{name} does not name its source"


def test_the_rules_see_something():
    """Guards against a refactoring that leaves the checks above with nothing to check."""
    assert len(tensor_functions()) >= 5
    assert sum(is_light(path) for path in SOURCES.values()) >= 8
    assert any(found.module == "torch" for found in imports(TREES["gipo_cli.core.objectives.base"]))
