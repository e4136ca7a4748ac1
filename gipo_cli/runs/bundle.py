"""One folder of state, tensors and arrays, with a sealed list of the digests of its files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gipo_cli import __version__
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import fsync_dir, read_sealed, write_sealed

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
CONTENTS = "manifest.json"
STATE = "state.json"
_NAME = re.compile(r"[a-z0-9_]+")
_WRITERS = 4

Buffers = list[bytes | memoryview]


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


class Damaged(Exception):  # noqa: N818 - a finding, turned into a UserError by the caller
    """A file is not what was written."""


def write_bundle(
    folder: Path,
    step: int,
    score: list[float],
    state: Mapping[str, Any],
    tensors: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write a new folder durably.

    Args:
        folder: Must not exist.
        step: Environment step it belongs to.
        score: Evaluation result, empty if there was none.
        state: A JSON object.
        tensors: Nested plain containers of tensors, by name.
        arrays: Arrays of numbers, by name.

    Raises:
        OSError: The disk refused.
        TypeError: Something in it could not be read back.
        ValueError: A name is odd, or the state is not JSON.
    """
    files: dict[str, Buffers] = {STATE: [json.dumps(state).encode()]}
    for name, value in tensors.items():
        files[f"{_checked(name)}.pt"] = _tensor_bytes(value, name)
    for name, array in arrays.items():
        files[f"{_checked(name)}.npy"] = _array_bytes(array, name)
    folder.mkdir()
    # Hashing and writing both release the interpreter lock, and the disk syncs several files at once.
    with ThreadPoolExecutor(_WRITERS) as pool:
        listed = dict(
            zip(files, pool.map(lambda item: _write(folder / item[0], item[1]), files.items()), strict=True)
        )
    contents = Contents(format=FORMAT, gipo=__version__, step=step, score=score, files=listed)
    write_sealed(folder / CONTENTS, contents.model_dump(mode="json"))
    fsync_dir(folder)


def read_contents(folder: Path) -> Contents:
    """Read the list of files.

    Args:
        folder: Written by ``write_bundle``.

    Returns:
        Step, score, and size and digest of every file.

    Raises:
        Damaged: The list is missing or was changed.
        UserError: It is of another format.
    """
    try:
        contents = read_sealed(folder / CONTENTS)
    except UserError as error:
        raise Damaged(f"{CONTENTS} is missing or was changed") from error
    if contents.get("format") != FORMAT:
        raise UserError(
            f"checkpoint {folder} has format {contents.get('format')} of gipo {contents.get('gipo')}; this "
            f"gipo {__version__} reads format {FORMAT}"
        )
    try:
        return Contents.model_validate(contents)
    except ValidationError as error:
        raise Damaged(f"{CONTENTS} is not one that gipo writes") from error


def read_bundle(
    folder: Path, contents: Contents, only: Collection[str] | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, np.ndarray]]:
    """Read the state and the named tensors and arrays, each verified first.

    Args:
        folder: Written by ``write_bundle``.
        contents: From ``read_contents``.
        only: Names to read; None: all.

    Returns:
        State, tensors by name, arrays by name.

    Raises:
        Damaged: A file is missing or was changed, or is of a kind that could run code.
    """
    files = contents.files
    wanted = [name for name in files if name == STATE or only is None or name.partition(".")[0] in only]
    state: dict[str, Any] = {}
    tensors: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name in wanted:
        stem, _, kind = name.partition(".")
        # The list itself may be hostile: no name may lead out of the folder.
        if _NAME.fullmatch(stem) is None or kind not in ("json", "pt", "npy"):
            raise Damaged(f"{name!r} is not a file of a checkpoint")
        value = _read(folder / name, kind, files[name])
        if kind == "json":
            state = value
        else:
            (tensors if kind == "pt" else arrays)[stem] = value
    if STATE not in wanted:
        raise Damaged(f"{STATE} is missing")
    return state, tensors, arrays


def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None or name in ("state", "manifest"):
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
    digest = hashlib.sha256()
    with path.open("wb", buffering=0) as handle:
        for buffer in buffers:
            digest.update(buffer)
            rest = memoryview(buffer)
            while rest.nbytes:
                rest = rest[handle.write(rest) :]
        os.fsync(handle.fileno())
    size = sum(memoryview(buffer).nbytes for buffer in buffers)
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
