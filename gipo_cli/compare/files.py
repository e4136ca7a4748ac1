"""Opening the files of a stranger's run folder: plain ones only, of a size and depth that a run's have."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import yaml

LARGEST_FILE = 16 << 20
DEEPEST = 50
MOST_BRACKETS = 1000
SHORT_TEXT = 10_000
"""Letters that cannot nest deeply enough to exhaust the stack of the fast YAML reader, which has no limit."""
FAST: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DamagedFile(Exception):  # noqa: N818 - says what a file is, and never leaves this package
    """A file that cannot be read as what it should be; the message names the file and the fault."""


def open_plain(path: Path) -> BinaryIO:
    """Open a file, but no pipe, at which one would wait for ever, and no device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
    except OSError as error:
        raise DamagedFile(f"{path.name} cannot be read: {error.strerror}") from None
    raise DamagedFile(f"{path.name} is no plain file")


def read_bytes(path: Path) -> bytes:
    """The content of a file that is not too large to be what it should be."""
    with open_plain(path) as file:
        if os.fstat(file.fileno()).st_size > LARGEST_FILE:
            raise DamagedFile(f"{path.name} is larger than a run's")
        return file.read()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object."""
    return _mapping(path.name, read_bytes(path), json.loads)


def parse_yaml(name: str, content: bytes) -> dict[str, Any]:
    """A YAML mapping."""
    if content.count(b"[") + content.count(b"{") > MOST_BRACKETS:
        raise DamagedFile(f"{name} is nested too deeply")
    loader = FAST if len(content) < SHORT_TEXT else yaml.SafeLoader
    return _mapping(name, content, lambda text: yaml.load(text, Loader=loader))


def _mapping(name: str, content: bytes, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        tree = parse(content.decode("utf-8"))
    except RecursionError:
        raise DamagedFile(f"{name} is nested too deeply") from None
    except (ValueError, yaml.YAMLError) as error:
        raise DamagedFile(f"{name} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(tree, dict):
        raise DamagedFile(f"{name} holds no mapping")
    _check(name, tree)
    return tree


def _check(name: str, tree: Any) -> None:
    """Refuse what would take for ever to look at: deep trees, and those that hold themselves."""
    seen: set[int] = set()
    todo = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        if not isinstance(node, Mapping | list | tuple | set):
            continue
        if depth > DEEPEST:
            raise DamagedFile(f"{name} is nested too deeply")
        if id(node) in seen:
            raise DamagedFile(f"{name} repeats parts of itself by YAML aliases")
        seen.add(id(node))
        todo += [(item, depth + 1) for item in (node.values() if isinstance(node, Mapping) else node)]
