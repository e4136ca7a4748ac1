"""The rules of docs/architecture.md that can be read off the source."""

import ast

from benchmarks.house import MODULES, PACKAGE, TREES, cycles, hidden, imports, room, upward

LAYERS = [
    {"errors", "children", "streams", "text", ""},
    {"core"},
    {"settings"},
    {"data", "envs", "runs"},
    {"learning", "loggers", "compare", "sweep"},
    {"analysis", "actors", "tune"},
    {"training"},
    {"commands"},
    {"__main__"},
]
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


TREE = {module: TREES[path] for module, path in MODULES.items()}


def test_every_room_has_a_layer():
    assert set(map(room, MODULES)) <= set().union(*LAYERS)


def test_imports_point_down_and_show_themselves():
    assert upward() == []
    assert cycles() == []
    assert hidden() == []
    for module in MODULES:
        for name, _ in imports(module):
            assert not name.startswith("."), f"{module}: relative imports hide what is imported"


def test_compare_needs_neither_torch_nor_stable_baselines3_nor_rooms_beside_it_but_sweep():
    beside = next(layer for layer in LAYERS if "compare" in layer) - {"compare", "sweep"}
    for module in MODULES:
        if room(module) == "compare":
            for name, _ in imports(module):
                assert name.partition(".")[0] not in ("torch", "stable_baselines3"), module
                assert name not in MODULES or room(name) not in beside, f"{module} imports {name}"


def light() -> list[str]:
    places = {module: path.relative_to(PACKAGE).as_posix() for module, path in MODULES.items()}
    return [
        module for module, place in places.items() if any(f"{place}/".startswith(f"{one}/") for one in LIGHT)
    ]


def test_light_modules_import_nothing_heavy():
    """Followed through everything they import from this package."""
    todo, seen = light(), set()
    assert len(todo) >= 8
    while todo:
        seen.add(module := todo.pop())
        for name, at_once in imports(module):
            if at_once:
                assert name.partition(".")[0] not in HEAVY, f"{module} imports {name}"
                todo += {name} & MODULES.keys() - seen
    assert "torch" in {name for name, _ in imports("gipo_cli.core.objectives.base")}


def test_no_global_randomness():
    """Generators are passed down; a checkpoint may hold the global state, but nobody draws from it.

    One module sets it, for simulators, whose own global state it keeps apart; it draws nothing either.
    """
    for module, tree in TREE.items():
        numpy, python = NUMPY_ALLOWED, {"getstate", "setstate"}
        if module == "gipo_cli.envs.isolation":
            numpy = {"MT19937", "get_bit_generator", "set_bit_generator", "seed"}
            python = {*python, "Random", "seed"}
        modules = {"np.random": numpy, "numpy.random": numpy, "random": python}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                allowed = modules.get(ast.unparse(node.value), {node.attr})
                assert node.attr in allowed, f"{module}:{node.lineno} uses {ast.unparse(node)}"
            if isinstance(node, ast.ImportFrom) and node.module in modules:
                taken = {alias.name for alias in node.names}
                assert taken <= modules[node.module], f"{module}:{node.lineno} imports {taken}"


def test_no_input_checks_by_assert():
    found = [(module, node.lineno) for module, tree in TREE.items() for node in ast.walk(tree)
             if isinstance(node, ast.Assert)]  # fmt: skip
    assert found == []


def test_functions_of_tensors_state_shapes_and_source():
    seen = 0
    for module, tree in TREE.items():
        for node in tree.body if room(module) == "core" else ():
            public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            if public and "Tensor" in ast.unparse(node.args):
                seen += 1
                text = ast.get_docstring(node) or ""
                assert "Shape" in text or "``[" in text, f"{module}.{node.name} does not state its shapes"
                assert "Source:" in text, f"{module}.{node.name} does not name its source"
    assert seen >= 5
