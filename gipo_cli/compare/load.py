"""Run folders to frozen tables. A damaged run is named and left out; the others go on."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from gipo_cli.compare.csv_text import CsvText, DamagedFile, FloatArray, read_csv
from gipo_cli.compare.parallel import spread
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import unseal_text

MARKS = ("config.yaml", "status.json", "metrics.csv", "eval.csv")
PLAN = "study.json"
LAG_BUCKETS = ("0", "1_3", "4_15", "16_63", "64_up")
UTILISATION_BY_LAG = tuple(f"health/utilisation_lag_{bucket}" for bucket in LAG_BUCKETS)
HEALTH = ("health/utilisation", "health/ess", "health/kl", "health/lag_mean")
METRICS_COLUMNS = ("step", *HEALTH, *UTILISATION_BY_LAG, "time/wall")
DIAGNOSTIC_TEXTS = ("reference", "family", "knob")
DIAGNOSTIC_NUMBERS = ("step", "value", "bias2", "variance", "mse", "batch_size")

Value = str | float | int | bool | None | tuple[Any, ...]
Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class LeftOut:
    """A run that is not in the numbers, and why.

    Attributes:
        path: its folder, or the plan of a study.
        reason: why.
        kind: ``planned`` is a run that has not begun, ``plan`` one that cannot be read.
    """

    path: Path
    reason: str
    kind: Literal["run", "planned", "plan"] = "run"


@dataclass(frozen=True)
class RunTable:
    """What one run folder says.

    Attributes:
        path: the folder.
        config: the resolved configuration with dotted keys, such as ``objective.sigma``; ``buffer.size``
            is the number of transitions held even where the file says null.
        status: ``status.json``.
        meta: ``meta.json``; empty where the run has none.
        eval: columns of ``eval.csv``, each ``[evaluations]``.
        metrics: the columns of ``metrics.csv`` that a comparison needs, each ``[iterations]``.
        diagnostics: columns of ``diagnostics.csv``, each ``[rows]``.
        names: recorded column names by table; one of ``eval.csv`` that is empty throughout is not recorded.
        not_finite: number of recorded NaN and infinite cells, by column of ``eval.csv`` or of the extra
            column asked for from ``metrics.csv``.
    """

    path: Path
    config: Mapping[str, Value]
    status: Mapping[str, Any]
    meta: Mapping[str, Any]
    eval: Mapping[str, FloatArray] = field(repr=False)
    metrics: Mapping[str, FloatArray] = field(repr=False)
    diagnostics: Mapping[str, NDArray[Any]] = field(repr=False)
    names: Mapping[str, frozenset[str]] = field(repr=False)
    not_finite: Mapping[str, int] = field(repr=False)

    def recorded(self, table: str) -> frozenset[str]:
        """Names of the columns that ``eval`` or ``metrics`` has in this run."""
        return self.names[table]

    def column(self, table: str, name: str) -> tuple[FloatArray, FloatArray]:
        """Steps and values of one column, without the rows in which it is absent.

        Shapes:
            both ``[rows]``; empty where the run does not have the column.
        """
        columns = self._columns(table)
        if name not in columns:
            return np.empty(0), np.empty(0)
        there = np.isfinite(columns[name])
        return columns["step"][there], columns[name][there]

    def has(self, table: str) -> bool:
        """Whether there is an ``eval.csv`` or a ``metrics.csv``."""
        return bool(self._columns(table))

    def _columns(self, table: str) -> Mapping[str, FloatArray]:
        return self.eval if table == "eval" else self.metrics

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(str(self.config["seed"]))

    @property
    def objective(self) -> str:
        """Name of the objective trained."""
        return str(self.config["objective.name"])

    @property
    def buffer(self) -> int | None:
        """Transitions the replay buffer holds; None where an imported run does not say."""
        size = self.config.get("buffer.size")
        return size if isinstance(size, int) else None

    @property
    def state(self) -> str:
        """``done``, ``running``, ``failed`` or ``interrupted``."""
        return str(self.status["state"])

    @property
    def budget(self) -> int:
        """Environment steps that the run was given."""
        return int(self.status["total_steps"])

    def wall(self, horizon: float) -> float:
        """Seconds of training by the last row up to that step that says so; NaN where none does."""
        for table in ("metrics", "eval"):
            steps, seconds = self.column(table, "time/wall")
            if (inside := steps <= horizon).any():
                return float(seconds[inside][-1])
        return float("nan")


def find_runs(paths: Sequence[str], root: Path = Path("runs")) -> list[Path]:
    """Run folders named by, or found below, the given folders and globs; each once, sorted by path.

    What is not there from the current directory is looked for below ``root``, where runs are.

    Raises:
        UserError: a path does not exist, or nothing was found; the message says what was searched.
    """
    if not paths:
        raise UserError("No path was given; name run folders, a folder that holds runs, or a glob.")
    tops = _tops(paths, root)
    found = {folder.resolve() for top in tops for folder, files in _searched(top) if _is_run(files)}
    if not found:
        searched = ", ".join(repr(text) for text in paths)
        hint = " A study's runs on a cluster appear once they are finished: see gipo sweep --status STUDY."
        raise UserError(
            f"No runs found in {searched}: no folder there or below holds a config.yaml with a status.json "
            f"or CSV files.{hint if find_studies(paths, root) else ''}"
        )
    return sorted(found)


def find_studies(paths: Sequence[str], root: Path = Path("runs")) -> list[Path]:
    """Folders of studies among those that `find_runs` searches, or whose plan a glob meets, sorted by path.

    Raises:
        UserError: a path does not exist.
    """
    tops = [top.parent if top.name == PLAN else top for top in _tops(paths, root)]
    return sorted({folder.resolve() for top in tops for folder, files in _searched(top) if PLAN in files})


def _tops(paths: Sequence[str], root: Path) -> list[Path]:
    """What is at the given paths and globs."""
    tops: list[Path] = []
    for text in paths:
        found = _existing(text) or _existing(str(root / text))
        if not found:
            raise UserError(
                f"Nothing is at {text!r} (searched from {Path.cwd()} and {root}); name run folders or "
                "folders of runs."
            )
        tops += map(Path, found)
    return tops


def _existing(text: str) -> list[str]:
    return [text] if Path(text).exists() else sorted(glob.glob(text, recursive=True))


def _searched(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder from there down with the names of its files; none that is hidden or inside a run."""
    for folder, below, files in os.walk(top):
        below[:] = [] if _is_run(files) else [name for name in below if not name.startswith(".")]
        yield Path(folder), files


def _is_run(files: Iterable[str]) -> bool:
    return len(set(MARKS) & set(files)) >= 2


def load_runs(
    folders: Sequence[Path], *, extra_column: str, workers: int = 1, tick: Callable[[], object] = lambda: None
) -> tuple[list[RunTable], list[LeftOut]]:
    """Read run folders.

    Args:
        folders: as `find_runs` returns them.
        extra_column: a column of ``metrics.csv`` to read besides the usual ones; ignored where absent.
        workers: processes to read with.
        tick: called after every folder, for a progress display.

    Returns:
        The readable runs, and those left out because a file of theirs is damaged.
    """
    runs: list[RunTable] = []
    left_out: list[LeftOut] = []
    for found in spread(_load_or_leave, extra_column, folders, workers=workers):
        if isinstance(found, RunTable):
            runs.append(found)
        else:
            left_out.append(found)
        tick()
    return runs, left_out


def _load_or_leave(extra_column: str, folder: Path) -> RunTable | LeftOut:
    try:
        return load_run(folder, extra_column=extra_column)
    except DamagedFile as error:
        return LeftOut(folder, f"damaged: {error}")


def load_run(folder: Path, *, extra_column: str = "") -> RunTable:
    """Read one run folder.

    Raises:
        DamagedFile: a file is missing, half-written or not what it should be.
    """
    status = _status(folder / "status.json")
    meta = _mapping(folder / "meta.json", json.loads) if (folder / "meta.json").exists() else {}
    # Every run that was trained here has a list of its files; an imported one has none, and no digest.
    config = _config(folder / "config.yaml", sealed="files" in meta)
    alive = status["state"] == "running"
    tables = {
        name: read_csv(folder / f"{name}.csv", still_written=alive)
        for name in ("eval", "metrics", "diagnostics")
        if (folder / f"{name}.csv").exists()
    }
    if "eval" not in tables and "metrics" not in tables:
        raise DamagedFile("there is neither eval.csv nor metrics.csv")
    evaluated = _numbers(tables.get("eval"), None)
    metrics = _numbers(tables.get("metrics"), (*METRICS_COLUMNS, extra_column))
    not_finite = {
        name: tables[table].recorded_not_finite(name)
        for table, names in (("metrics", {extra_column} & set(metrics)), ("eval", set(evaluated)))
        for name in names
    }
    return RunTable(
        path=folder,
        config=config,
        status=status,
        meta=meta,
        eval=evaluated,
        metrics=metrics,
        diagnostics=_diagnostics(tables.get("diagnostics")),
        names={
            "eval": frozenset(
                name for name in evaluated if np.isfinite(evaluated[name]).any() or not_finite[name]
            ),
            "metrics": frozenset(tables["metrics"].names if "metrics" in tables else ()),
        },
        not_finite=not_finite,
    )


def _status(path: Path) -> dict[str, Any]:
    status = _mapping(path, json.loads)
    for key in ("state", "total_steps"):
        if key not in status:
            raise DamagedFile(f"status.json does not say {key}")
    if type(status["total_steps"]) is not int:
        raise DamagedFile(f"status.json has total_steps {status['total_steps']!r}, which is no whole number")
    return status


def _mapping(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DamagedFile(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise DamagedFile(f"{path.name} holds no mapping")
    return content


def _config(path: Path, *, sealed: bool) -> dict[str, Value]:
    config = settings(_mapping(path, lambda text: yaml.load(text, Loader=Loader)))
    if sealed and unseal_text(path.read_bytes()) is None:
        raise DamagedFile("config.yaml was changed since it was written")
    for key in ("seed", "env.name", "objective.name"):
        if config.get(key) is None:
            raise DamagedFile(f"config.yaml does not say {key}")
    if type(config["seed"]) is not int:
        raise DamagedFile(f"config.yaml has the seed {config['seed']!r}, which is no whole number")
    return config


def settings(tree: Mapping[str, Any]) -> dict[str, Value]:
    """A resolved configuration as in `RunTable`: dotted keys, and the size of the buffer where it is null."""
    config = flatten(tree)
    rollout, copies = config.get("agent.rollout_steps"), config.get("env.n_envs")
    if config.get("buffer.size") is None and isinstance(rollout, int) and isinstance(copies, int):
        config["buffer.size"] = rollout * copies
    return config


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Nested mapping to dotted keys; a list becomes a tuple, so that values can be compared and hashed."""
    flat: dict[str, Value] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = _frozen(value)
    return flat


def _frozen(value: Any) -> Value:
    if isinstance(value, Mapping | list | tuple):
        return tuple(_frozen(item) for item in (value.items() if isinstance(value, Mapping) else value))
    return value  # type: ignore[no-any-return]


def _numbers(table: CsvText | None, wanted: Iterable[str] | None) -> dict[str, FloatArray]:
    if table is None:
        return {}
    names = table.names if wanted is None else set(wanted) & set(table.names)
    return {name: table.numbers(name) for name in names}


def _diagnostics(table: CsvText | None) -> dict[str, NDArray[Any]]:
    if table is None:
        return {}
    missing = [name for name in (*DIAGNOSTIC_TEXTS, *DIAGNOSTIC_NUMBERS) if name not in table.names]
    if missing:
        raise DamagedFile(f"diagnostics.csv lacks the columns {', '.join(missing)}")
    return {name: table.texts(name) for name in DIAGNOSTIC_TEXTS} | {
        name: table.numbers(name) for name in DIAGNOSTIC_NUMBERS
    }
