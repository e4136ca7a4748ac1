"""Demonstrations from other tools' files: Minari's local datasets and robomimic's HDF5.

HDF5 can point at other files; nothing but the named file is read, and what points elsewhere is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.data import demos
from gipo_cli.data.checks import LARGEST
from gipo_cli.data.demo_files import SUFFIX
from gipo_cli.data.demos import Demonstrations, from_arrays
from gipo_cli.errors import UserError

MINARI_FILE = "main_data.hdf5"
HDF5 = (".hdf5", ".h5")
_SUCCESS = ("success", "is_success")


def read(path: Path | str) -> Demonstrations:
    """Read demonstrations: our NPZ, Minari's folder or its HDF5 file, or robomimic's HDF5 file.

    Raises: UserError if the file is none of these, points at other files, or holds no demonstrations.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        found = [file for file in (path / MINARI_FILE, path / "data" / MINARI_FILE) if file.is_file()]
        if not found:
            raise UserError(f"{path} is no dataset of Minari: it holds no data/{MINARI_FILE}")
        return _read_hdf5(found[0])
    if path.suffix == SUFFIX:
        return demos.load(path)
    if path.suffix in HDF5 and path.is_file():
        return _read_hdf5(path)
    raise UserError(
        f"{path} is no file of demonstrations; give an {SUFFIX} file, a dataset of Minari or an .hdf5 file "
        "of robomimic"
    )


def _read_hdf5(path: Path) -> Demonstrations:
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path} is HDF5, which needs one more package; type: pip install h5py") from None
    try:
        with h5py.File(path, "r") as file:
            if "data" in file:
                return from_arrays(_robomimic(_inside(file, "data", path), path), str(path))
            return from_arrays(_minari(file, path), str(path))
    except OSError as error:
        raise UserError(f"{path} is no HDF5 file, or is cut off: {error}") from error


def _inside(group: Any, name: str, path: Path) -> Any:
    """A member of a group, unless it leads out of the file."""
    import h5py

    link = group.get(name, getlink=True)
    where = f"{path}: {group.name.rstrip('/')}/{name}"
    if link is None:
        raise UserError(f"{where} is missing; it holds: {', '.join(group) or 'nothing'}")
    if not isinstance(link, h5py.HardLink):
        kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
        raise UserError(f"{where} is {kind}, which is not followed; store the data itself there")
    member = group[name]
    if isinstance(member, h5py.Dataset):
        if member.is_virtual:
            raise UserError(f"{where} is a virtual dataset, which other files fill; store the data itself")
        if member.external:
            raise UserError(f"{where} lies in another file ({member.external[0][0]}); store the data itself")
        if member.nbytes > LARGEST:
            raise UserError(f"{where} claims {member.nbytes:,} bytes, too many for demonstrations")
    return member


def _array(group: Any, name: str, path: Path) -> NDArray[Any]:
    member = _inside(group, name, path)
    if not hasattr(member, "shape"):
        raise UserError(f"{path}: {member.name} is a group where an array is needed")
    if member.dtype.kind not in "biuf":
        raise UserError(f"{path}: {member.name} holds {member.dtype} and not numbers")
    return np.asarray(member[()])


def _leaves(group: Any, path: Path, prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """All arrays below a group, by their dotted names."""
    for name in group:
        member = _inside(group, name, path)
        if hasattr(member, "shape"):
            yield f"{prefix}{name}", _array(group, name, path)
        else:
            yield from _leaves(member, path, f"{prefix}{name}.")


def _numbered(group: Any, prefix: str, path: Path) -> list[Any]:
    """Groups ``prefix0``, ``prefix1``, ... in the order of their numbers."""
    numbers = sorted(
        int(name.removeprefix(prefix))
        for name in group
        if name.startswith(prefix) and name[len(prefix) :].isdecimal()
    )
    if not numbers:
        raise UserError(
            f"{path} holds no group {prefix}0 and is no file of Minari or robomimic with demonstrations"
        )
    return [_inside(group, f"{prefix}{number}", path) for number in numbers]


def _minari(file: Any, path: Path) -> dict[str, NDArray[Any]]:
    episodes = _numbered(file, "episode_", path)
    parts: dict[str, list[NDArray[Any]]] = {}
    for episode in episodes:
        member = _inside(episode, "observations", path)
        named = {"": _array(episode, "observations", path)} if hasattr(member, "shape") else None
        for name, array in (named or dict(_leaves(member, path))).items():
            suffix = f".{name}" if name else ""
            parts.setdefault(f"obs{suffix}", []).append(array[:-1])
            parts.setdefault(f"final_obs{suffix}", []).append(array[-1:])
        action = _array(episode, "actions", path)
        parts.setdefault("action", []).append(action)
        parts.setdefault("length", []).append(np.array([len(action)]))
        parts.setdefault("reward", []).append(_array(episode, "rewards", path))
        parts.setdefault("terminated", []).append(_array(episode, "terminations", path)[-1:])
        if (success := _minari_success(episode, len(action), path)) is not None:
            parts.setdefault("success", []).append(success)
    joined = _joined(parts, len(episodes), path)
    return {**joined, "about": np.array(json.dumps({"source": f"Minari: {path.parent.parent.name}"}))}


def _minari_success(episode: Any, steps: int, path: Path) -> NDArray[Any] | None:
    if "infos" not in episode:
        return None
    infos = _inside(episode, "infos", path)
    for name in _SUCCESS:
        if name in infos:
            # The info of the reset may come first.
            return _array(infos, name, path)[-steps:]
    return None


def _robomimic(data: Any, path: Path) -> dict[str, NDArray[Any]]:
    episodes = _numbered(data, "demo_", path)
    parts: dict[str, list[NDArray[Any]]] = {}
    for episode in episodes:
        for name, array in _leaves(_inside(episode, "obs", path), path):
            if array.ndim > 2:
                raise UserError(
                    f"{path}: {episode.name}/obs/{name} holds pictures {list(array.shape[1:])}, and only "
                    "vectors are read; write a file without them"
                )
            parts.setdefault(f"obs.{name}", []).append(array)
            following = _inside(episode, "next_obs", path) if "next_obs" in episode else None
            last = array if following is None else _array(following, name, path)
            parts.setdefault(f"final_obs.{name}", []).append(last[-1:])
        action = _array(episode, "actions", path)
        parts.setdefault("action", []).append(action)
        parts.setdefault("length", []).append(np.array([len(action)]))
        for name, key in (("reward", "rewards"), ("terminated", "dones")):
            if key in episode:
                array = _array(episode, key, path)
                parts.setdefault(name, []).append(array if name == "reward" else array[-1:])
    joined = _joined(parts, len(episodes), path)
    if "reward" in joined and np.isin(joined["reward"], (0, 1)).all():
        # robomimic's sparse reward: 1 in a step of success. A dense one says nothing of it.
        joined["success"] = joined["reward"]
    return {**joined, "about": np.array(json.dumps({"source": f"robomimic: {path.name}"}))}


def _joined(parts: dict[str, list[NDArray[Any]]], episodes: int, path: Path) -> dict[str, NDArray[Any]]:
    """Episodes end to end; an array that only some of them have is an error."""
    for name, arrays in parts.items():
        if len(arrays) != episodes:
            raise UserError(f"{path}: {len(arrays)} of {episodes} episodes have {name}; all need it")
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
