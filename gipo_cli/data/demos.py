"""Demonstrations: whole episodes that somebody else played, as one record and one NPZ file."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gipo_cli.data.checks import LARGEST, flags, floats, origin, whole
from gipo_cli.data.rollout import Observation, each
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import write_bytes

_NEEDED = ("obs", "action", "length")


@dataclass(frozen=True)
class Demonstrations:
    """K episodes of N steps in all, one after another.

    Shapes: ``obs [N, ...]`` before each step (one array, or a dictionary of them), ``action [N, D]`` in the
    task's own units, ``reward [N]`` raw or None, ``success [N]`` (whether the step is one of success) or
    None, ``final_obs [K, ...]`` after each episode's last step, ``length``, ``number`` (the episode's, which
    decides how it starts), ``goal`` (its index; -1 where there is none) and ``terminated`` ``[K]``. ``about``
    says where they come from: environment, seeds, source, versions; it may be empty.
    """

    obs: Observation
    action: NDArray[np.float32]
    length: NDArray[np.int64]
    final_obs: Observation
    terminated: NDArray[np.bool_]
    number: NDArray[np.int64]
    goal: NDArray[np.int64]
    reward: NDArray[np.float32] | None = None
    success: NDArray[np.bool_] | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.length)

    @property
    def steps(self) -> int:
        """Steps of all episodes together."""
        return len(self.action)

    @property
    def starts(self) -> NDArray[np.int64]:
        """Row of each episode's first step, ``[K]``."""
        return np.cumsum(self.length) - self.length

    @property
    def successful(self) -> NDArray[np.bool_]:
        """Whether each episode succeeded at any step, ``[K]``; all of them where nothing was recorded."""
        if self.success is None:
            return np.ones(len(self), np.bool_)
        return np.logical_or.reduceat(self.success, self.starts)

    @property
    def returns(self) -> NDArray[np.float64] | None:
        """Sum of each episode's rewards, ``[K]``; None where none were recorded."""
        return None if self.reward is None else np.add.reduceat(self.reward.astype(np.float64), self.starts)

    def rows(self, episode: int) -> slice:
        """Where the steps of an episode are."""
        first = int(self.starts[episode])
        return slice(first, first + int(self.length[episode]))

    def until_success(self) -> Demonstrations:
        """Each episode up to its first successful step, where it has one."""
        if self.success is None:
            return self
        ends = self.length.copy()
        for episode in range(len(self)):
            hits = np.flatnonzero(self.success[self.rows(episode)])
            ends[episode] = hits[0] + 1 if len(hits) else ends[episode]
        cut = ends < self.length
        after = np.minimum(self.starts + ends, self.steps - 1)
        rows = np.concatenate([s + np.arange(n) for s, n in zip(self.starts, ends, strict=True)])

        def final(own: NDArray[Any], obs: NDArray[Any]) -> NDArray[Any]:
            wide = cut.reshape(-1, *[1] * (own.ndim - 1))
            return np.where(wide, obs[after], own)

        return replace(
            self,
            obs=each(lambda part: part[rows], self.obs),
            action=self.action[rows],
            length=ends,
            final_obs=each(final, self.final_obs, self.obs),
            terminated=self.terminated & ~cut,
            reward=None if self.reward is None else self.reward[rows],
            success=self.success[rows],
        )

    def chosen(self, episodes: NDArray[np.int64]) -> Demonstrations:
        """Only these episodes, in this order.

        Raises: ValueError for none.
        """
        if not len(episodes):
            raise ValueError("choose at least one episode")
        rows = np.concatenate([np.arange(s.start, s.stop) for s in map(self.rows, episodes.tolist())])
        return Demonstrations(
            each(lambda part: part[rows], self.obs),
            self.action[rows],
            self.length[episodes],
            each(lambda part: part[episodes], self.final_obs),
            self.terminated[episodes],
            self.number[episodes],
            self.goal[episodes],
            None if self.reward is None else self.reward[rows],
            None if self.success is None else self.success[rows],
            self.about,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as named arrays, in the layout of the file."""
        named = dict(_named("obs", self.obs)) | dict(_named("final_obs", self.final_obs))
        for name in ("action", "reward", "success", "length", "terminated", "number", "goal"):
            value = getattr(self, name)
            if value is not None:
                named[name] = value
        return {**named, "about": np.array(json.dumps(self.about, sort_keys=True))}

    def to_bytes(self) -> bytes:
        """The NPZ file: the same bytes for the same demonstrations."""
        stream = io.BytesIO()
        np.savez_compressed(stream, allow_pickle=False, **self.arrays())
        return stream.getvalue()


def _named(name: str, tree: Observation) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(tree, dict):
        for key, part in tree.items():
            yield from _named(f"{name}.{key}", part)
    else:
        yield name, tree


def _tree(name: str, arrays: dict[str, NDArray[Any]]) -> Observation:
    """The array of that name, or a dictionary of those whose names begin with it."""
    if name in arrays:
        return arrays[name]
    tree: dict[str, Any] = {}
    for key, array in arrays.items():
        if key.startswith(f"{name}."):
            inner = tree
            *parents, leaf = key.split(".")[1:]
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[leaf] = array
    return tree


def sha256(data: bytes) -> str:
    """Digest in hex."""
    return hashlib.sha256(data).hexdigest()


def save(demos: Demonstrations, path: Path) -> None:
    """Write a new NPZ file durably; no object in it is pickled.

    Raises:
        UserError: The file exists.
        RunFailed: The disk refused.
    """
    if path.exists():
        raise UserError(f"{path} already exists and is not overwritten; give another name with --name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {path.parent}: {error.strerror or error}") from error
    write_bytes(path, demos.to_bytes())


def load(path: Path) -> Demonstrations:
    """Read an NPZ file: ours, or one of your own with at least ``obs``, ``action`` and ``length``.

    Nothing in it is executed.

    Raises: UserError if it is missing, cut off, empty, holds NaN, or its parts do not agree.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; `gipo list demos` prints those that there are")
    try:
        return from_bytes(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def from_bytes(data: bytes, where: str) -> Demonstrations:
    """The demonstrations in an NPZ file's bytes; ``where`` names it in messages.

    Raises: UserError as :func:`load`.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if (size := sum(part.file_size for part in file.zip.infolist())) > LARGEST:
                raise ValueError(f"it claims {size:,} bytes, too many for demonstrations")
            arrays = {name: file[name] for name in file.files}
    # A hostile or damaged file can make the decoders fail in any way.
    except Exception as error:
        if "Object arrays" in str(error):
            raise UserError(
                f"{where} is no NPZ file of plain arrays: it holds Python objects; record a dictionary of "
                "observations as the one vector that gipo_cli.envs.make.make_env gives"
            ) from error
        raise UserError(
            f"{where} is no NPZ file of plain arrays, or is cut off ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'damaged'})"
        ) from error
    return from_arrays(arrays, where)


def from_arrays(arrays: dict[str, NDArray[Any]], where: str) -> Demonstrations:
    """Demonstrations of named arrays in the layout of the file, checked.

    Raises: UserError naming the array at fault.
    """
    try:
        return _from_arrays(arrays, where)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise UserError(f"{where} holds arrays that are no demonstrations: {error}") from error


def _from_arrays(arrays: dict[str, NDArray[Any]], where: str) -> Demonstrations:
    for name in _NEEDED:
        if not any(key == name or key.startswith(f"{name}.") for key in arrays):
            raise UserError(
                f"{where} has no array {name!r}; needed are obs [N, ...], action [N, D] and length [K] (the "
                f"steps of each episode); it has: {', '.join(arrays) or 'nothing'}"
            )
    action, length = floats("action", arrays["action"], where), whole("length", arrays["length"], where)
    count, episodes = len(action), len(length)
    if not episodes or not count:
        raise UserError(f"{where} is empty: it holds no step; record at least one episode")
    if action.ndim == 1:
        action = action[:, None]
    if (length < 1).any() or (length > count).any() or length.sum() != count:
        raise UserError(
            f"{where}: length adds up to {length.sum()} steps and there are {count} actions; give the number "
            "of steps of each episode, 1 or more"
        )
    obs = each(lambda part: floats("obs", part, where), _tree("obs", arrays))
    ends = np.cumsum(length) - 1
    # Only the value after a time limit looks at it: the last observation stands in where it is missing.
    given = any(key.partition(".")[0] == "final_obs" for key in arrays)
    final = _tree("final_obs", arrays) if given else each(lambda part: part[ends], obs)
    demos = Demonstrations(
        obs,
        np.ascontiguousarray(action),
        length,
        each(lambda part: floats("final_obs", part, where), final),
        flags("terminated", arrays.get("terminated", np.zeros(episodes)), where),
        whole("number", arrays.get("number", np.full(episodes, -1)), where),
        whole("goal", arrays.get("goal", np.full(episodes, -1)), where),
        floats("reward", arrays["reward"], where).ravel() if "reward" in arrays else None,
        flags("success", arrays["success"], where) if "success" in arrays else None,
        origin(arrays.get("about")),
    )
    _check_lengths(demos, where)
    return demos


def _check_lengths(demos: Demonstrations, where: str) -> None:
    steps: dict[str, Any] = {"reward": demos.reward, "success": demos.success}
    steps |= dict(_named("obs", demos.obs))
    for name, array in steps.items():
        if array is not None and len(array) != demos.steps:
            raise UserError(f"{where}: {name} has {len(array)} rows and there are {demos.steps} actions")
    episodes: dict[str, Any] = {name: getattr(demos, name) for name in ("terminated", "number", "goal")}
    episodes |= dict(_named("final_obs", demos.final_obs))
    for name, array in episodes.items():
        if len(array) != len(demos):
            raise UserError(f"{where}: {name} has {len(array)} rows and there are {len(demos)} episodes")
