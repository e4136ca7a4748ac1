"""Measure the size and the shape of the code and of the documentation; fail where a limit is broken.

python -m benchmarks.house [--gate]    (--gate also runs the tests and measures their wall time: minutes)
"""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gipo_cli"
LIMITS = {
    "lines of gipo_cli": 22_000,
    "words of documentation": 25_000,
    "kilobytes of docs/": 8_000,
    "lines of the largest file": 300,
    "lines of the largest function": 50,
    "imports that point up": 0,
    "modules in import cycles": 0,
    "module names hidden in strings": 0,
    "seconds of make tests": 900,
}
GENERATED = ("configuration.md", "metrics.md")
SOURCES = {
    path: path.read_text(encoding="utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_conf" not in path.parts
}
TREES = {path: ast.parse(text) for path, text in SOURCES.items()}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES
}


def lines(path: Path) -> int:
    return SOURCES[path].count("\n")


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def words() -> int:
    """Words (with a letter or digit) of the pages that people write, without results."""
    pages = [path for path in (ROOT / "docs").glob("*.md") if path.name not in GENERATED]
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*pages, ROOT / "README.md"])
    return sum(any(map(str.isalnum, word)) for word in text.split())


def functions() -> Iterator[tuple[int, str]]:
    """Length and name of every function."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                yield length, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def imports(module: str) -> list[tuple[str, bool]]:
    """Modules that a module imports, and whether that happens while it is itself imported."""
    return _imports(TREES[MODULES[module]])


@cache
def _imports(tree: ast.Module) -> list[tuple[str, bool]]:
    return list(_found(tree, True))


def _found(node: ast.AST, at_once: bool) -> Iterator[tuple[str, bool]]:
    for below in ast.iter_child_nodes(node):
        if isinstance(below, ast.Import):
            yield from ((alias.name, at_once) for alias in below.names)
        elif isinstance(below, ast.ImportFrom):
            origin = f"{'.' * below.level}{below.module}"
            names = (f"{origin}.{alias.name}" for alias in below.names)
            yield from ((name if name in MODULES else origin, at_once) for name in names)
        else:
            later = isinstance(below, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = isinstance(below, ast.If) and "TYPE_CHECKING" in ast.unparse(below.test)
            yield from _found(below, at_once and not later and not typing)


def upward() -> list[str]:
    """Imports of a higher layer; the package's own lazy names apart."""
    layers = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))["LAYERS"]
    rank = {name: number for number, layer in enumerate(layers) for name in layer}
    return [
        f"{module} -> {name}"
        for module in MODULES
        for name, at_once in imports(module)
        if name in MODULES and rank[room(name)] > rank[room(module)] and (at_once or module != "gipo_cli")
    ]


def cycles() -> list[str]:
    """Modules that cannot be put in an order in which each comes after those it imports."""
    left = {
        module: {name for name, at_once in imports(module) if at_once and name != module}
        for module in MODULES
    }
    while free := [module for module, needs in left.items() if not needs & set(left)]:
        for module in free:
            del left[module]
    return sorted(left)


def hidden() -> list[str]:
    """Strings that name a module or hold an import: dependencies that no import shows."""
    pattern = re.compile(r"(?:from|import) gipo_cli\b|^gipo_cli\.[\w.]+$")
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and pattern.search(node.value)
    ]


def gate() -> int:
    started = time.monotonic()
    subprocess.run(["make", "tests"], cwd=ROOT, check=True)
    return round(time.monotonic() - started)


def measure(with_gate: bool) -> Iterator[tuple[str, int, str]]:
    """Every limited number with what it is about."""
    rooms: dict[str, int] = {}
    for module, path in MODULES.items():
        rooms[room(module) or "top"] = rooms.get(room(module) or "top", 0) + lines(path)
    largest = max(SOURCES, key=lines)
    longest, where = max(functions())
    size = sum(path.stat().st_size for path in (ROOT / "docs").rglob("*") if path.is_file())
    up, circular, strings = upward(), cycles(), hidden()
    about = ", ".join(f"{name} {count:,}" for name, count in sorted(rooms.items(), key=lambda one: -one[1]))
    yield "lines of gipo_cli", sum(rooms.values()), about
    yield "words of documentation", words(), "docs/ and README.md, without results and generated pages"
    yield "kilobytes of docs/", size // 1000, ""
    yield "lines of the largest file", lines(largest), str(largest.relative_to(ROOT))
    yield "lines of the largest function", longest, where
    yield "imports that point up", len(up), ", ".join(up)
    yield "modules in import cycles", len(circular), ", ".join(circular)
    yield "module names hidden in strings", len(strings), ", ".join(strings)
    if with_gate:
        yield "seconds of make tests", gate(), ""


def main() -> int:
    broken = False
    for name, number, about in measure("--gate" in sys.argv[1:]):
        over = number > LIMITS[name]
        broken |= over
        print(f"{name:31} {number:7,} of {LIMITS[name]:6,} {'OVER' if over else 'ok  '}  {about}".rstrip())
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
