"""One folder of state, tensors and arrays, with a sealed list of the digests of its files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gipo_cli import __version__
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import fsync_dir, open_own, read_sealed, write_sealed

if TYPE_CHECKING:
    import numpy as np

FORMAT = 2
OLDEST = 1
"""Of which the policy can be read and nothing else."""
CONTENTS = "manifest.json"
STATE = "state.json"
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_WRITERS = 4

Buffers = list[bytes | memoryview]


@dataclass
class Tree:
    """Everything a run needs to continue.

    Attributes:
        state: Counters, random states, positions: a JSON object.
        tensors: Per name, nested dicts and lists of tensors, numbers, strings, None.
        arrays: Nested dicts of arrays, each written straight from memory if contiguous.
    """

    state: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)


class File(BaseModel):
    """Size and digest of one file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    size: int
    sha256: str


class Contents(BaseModel):
    """Content of ``manifest.json``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int
    gipo: str
    step: int
    score: list[float]
    files: dict[str, File]

    def names(self) -> set[str]:
        """What there is, by the outermost name."""
        return {name.partition(".")[0] for name in self.files}


class Damaged(Exception):  # noqa: N818 - a finding, turned into a UserError by the caller
    """A file is not what was written."""


def write_bundle(folder: Path, step: int, score: list[float], tree: Tree) -> None:
    """Write a new folder durably.

    Raises:
        OSError: The disk refused.
        TypeError: Something in it could not be read back.
        ValueError: A name is odd, or the state is not JSON.
    """
    files: dict[str, Buffers] = {STATE: [json.dumps(tree.state).encode()]}
    for name, value in tree.tensors.items():
        files[f"{_checked(name)}.pt"] = _tensor_bytes(value, name)
    for name, array in _leaves(tree.arrays):
        files[f"{name}.npy"] = _array_bytes(array, name)
    folder.mkdir()
    # Hashing and writing both release the interpreter lock, and the disk syncs several files at once.
    with ThreadPoolExecutor(_WRITERS) as pool:
        done = pool.map(lambda item: _write(folder / item[0], item[1]), files.items())
        listed = dict(zip(files, done, strict=True))
    contents = Contents(format=FORMAT, gipo=__version__, step=step, score=score, files=listed)
    write_sealed(folder / CONTENTS, contents.model_dump(mode="json"))
    fsync_dir(folder)


def read_contents(folder: Path) -> Contents:
    """Read the list of files.

    Raises:
        Damaged: The list is missing or was changed.
        UserError: It is of another format.
    """
    try:
        contents = read_sealed(folder / CONTENTS)
    except UserError as error:
        raise Damaged(f"{CONTENTS} is missing or was changed") from error
    if contents.get("format") not in range(OLDEST, FORMAT + 1):
        raise UserError(
            f"checkpoint {folder} has format {contents.get('format')} of gipo {contents.get('gipo')}; this "
            f"gipo {__version__} reads format {FORMAT}"
        )
    try:
        return Contents.model_validate(contents)
    except ValidationError as error:
        raise Damaged(f"{CONTENTS} is not one that gipo writes") from error


def read_bundle(folder: Path, contents: Contents, only: Collection[str] | None) -> Tree:
    """Read the state and what is named, by the outermost name (None: all), each file verified first.

    Raises:
        Damaged: A file is missing or was changed, or is of a kind that could run code.
    """
    tree = Tree()
    if STATE not in contents.files:
        raise Damaged(f"{STATE} is missing")
    for name, listed in contents.files.items():
        if name != STATE and only is not None and name.partition(".")[0] not in only:
            continue
        stem, _, kind = name.rpartition(".")
        # The list itself may be hostile: no name may lead out of the folder.
        if _NAME.fullmatch(stem) is None or kind not in ("json", "pt", "npy"):
            raise Damaged(f"{name!r} is not a file of a checkpoint")
        value = _read(folder / name, kind, listed)
        if kind == "json":
            tree.state = value
        elif kind == "pt":
            tree.tensors[stem] = value
        else:
            *parents, leaf = stem.split(".")
            inner = tree.arrays
            for parent in parents:
                inner = inner.setdefault(parent, {})
                if not isinstance(inner, dict):
                    raise Damaged(f"{name!r} is below another file of the checkpoint")
            inner[leaf] = value
    return tree


def _leaves(arrays: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in arrays.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{_checked(name)}.")
        else:
            yield f"{prefix}{_checked(name)}", value


def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None or "." in name or name in ("state", "manifest"):
        raise ValueError(f"{name!r} cannot name a part of a checkpoint: use a-z, 0-9 and _")
    return name


def _tensor_bytes(value: Any, name: str) -> Buffers:
    import torch

    _check_plain(value, name)
    stream = io.BytesIO()
    torch.save(value, stream)
    return [stream.getbuffer()]


def _check_plain(value: Any, where: str) -> None:
    import torch

    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str | int):
                raise TypeError(
                    f"{where} has a key of type {type(key).__name__}, which could not be read back"
                )
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
    elif not (value is None or type(value) in (bool, int, float, str) or isinstance(value, torch.Tensor)):
        raise TypeError(f"{where} is a {type(value).__name__}, which could not be read back")


def _array_bytes(array: np.ndarray, name: str) -> Buffers:
    import numpy as np

    if array.dtype.hasobject:
        raise TypeError(f"{name} is an array of objects, which could not be read back")
    array = np.ascontiguousarray(array).reshape(array.shape)
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
    return [stream.getvalue(), array.reshape(-1).view(np.uint8).data]


def _write(path: Path, buffers: Buffers) -> File:
    digest, size = hashlib.sha256(), 0
    with open(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb", buffering=0) as handle:
        for buffer in buffers:
            digest.update(buffer)
            rest = memoryview(buffer)
            size += rest.nbytes
            while rest.nbytes:
                rest = rest[handle.write(rest) :]
        os.fsync(handle.fileno())
    return File(size=size, sha256=digest.hexdigest())


def _read(path: Path, kind: str, listed: File) -> Any:
    import numpy as np
    import torch

    # Not opened unless it is a plain file: a pipe would wait for ever.
    if not path.is_file():
        raise Damaged(f"{path.name} is missing")
    size = path.stat().st_size
    if size != listed.size:
        raise Damaged(f"{path.name} has {size} bytes instead of {listed.size}")
    try:
        with path.open("rb") as handle:
            if hashlib.file_digest(handle, "sha256").hexdigest() != listed.sha256:
                raise Damaged(f"{path.name} was changed")
            handle.seek(0)
            if kind == "json":
                return json.load(handle)
            if kind == "pt":
                return torch.load(handle, map_location="cpu", weights_only=True)
            return np.load(handle, allow_pickle=False)
    except Damaged:
        raise
    # A hostile file can make the decoders fail in any way; the cause is kept for the log.
    except Exception as error:
        raise Damaged(f"{path.name} cannot be read safely") from error
