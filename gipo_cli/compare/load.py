"""Run folders to frozen tables. A damaged run is named and left out; the others go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from rich.console import Console

from gipo_cli.compare.parallel import shown, spread
from gipo_cli.compare.tables import DamagedFile, FloatArray, Table, read_csv
from gipo_cli.core.lags import LAG_BUCKETS
from gipo_cli.runs.durable import unseal_text
from gipo_cli.text import flatten

UTILISATION_BY_LAG = tuple(f"health/utilisation_lag_{bucket}" for bucket in LAG_BUCKETS)
HEALTH = ("health/utilisation", "health/ess", "health/kl", "health/lag_mean")
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
            is the number of transitions held even if the file says null.
        status: ``status.json``.
        meta: ``meta.json``; empty if the run has none.
        eval: ``eval.csv``, None if there is none.
        metrics: ``metrics.csv`` with the columns that a comparison needs, None if there is none.
        diagnostics: ``diagnostics.csv``, empty if there is none.
    """

    path: Path
    config: Mapping[str, Value]
    status: Mapping[str, Any]
    meta: Mapping[str, Any]
    eval: Table | None = field(repr=False)
    metrics: Table | None = field(repr=False)
    diagnostics: Table = field(repr=False)

    def table(self, name: str) -> Table | None:
        """Table ``eval`` or ``metrics``."""
        return self.eval if name == "eval" else self.metrics

    def recorded(self, name: str) -> set[str]:
        """Columns that ``eval`` or ``metrics`` has; one of ``eval`` that is empty throughout is not there."""
        table = self.table(name) or Table()
        if name == "metrics":
            return set(table.names)
        return {
            column
            for column, values in table.numbers.items()
            if table.not_finite[column] or np.isfinite(values).any()
        }

    def column(self, table: str, name: str) -> tuple[FloatArray, FloatArray]:
        """Steps and values ``[rows]`` of one column, without the rows in which it is absent."""
        columns = (self.table(table) or Table()).numbers
        if name not in columns:
            return np.empty(0), np.empty(0)
        there = np.isfinite(columns[name])
        return columns["step"][there], columns[name][there]

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
        """Transitions the replay buffer holds; None if an imported run does not say."""
        size = self.config.get("buffer.size")
        return size if isinstance(size, int) else None

    @property
    def state(self) -> str:
        """``done``, ``running``, ``failed`` or ``interrupted``."""
        return str(self.status["state"])

    @property
    def imported(self) -> bool:
        """Whether the run was imported from another program's records."""
        return "imported_from" in self.meta

    @property
    def budget(self) -> int:
        """Environment steps that the run was given."""
        return int(self.status["total_steps"])

    def wall(self, horizon: float) -> float:
        """Seconds of training by the last row up to that step that says so; NaN if none does."""
        for table in ("metrics", "eval"):
            steps, seconds = self.column(table, "time/wall")
            if (inside := steps <= horizon).any():
                return float(seconds[inside][-1])
        return float("nan")


def read_runs(
    folders: Sequence[Path], *, extra_column: str = "", workers: int = 1, console: Console | None = None
) -> tuple[list[RunTable], list[LeftOut]]:
    """Read run folders, and name those that are damaged.

    Args:
        folders: as `search` finds them.
        extra_column: a column of ``metrics.csv`` to read besides the usual ones; ignored if absent.
        workers: processes to read with.
        console: where to show progress.
    """
    results = spread(_read_or_leave, extra_column, folders, workers=workers)
    found = list(shown(results, "reading runs", len(folders), console))
    return [run for run in found if isinstance(run, RunTable)], [
        out for out in found if isinstance(out, LeftOut)
    ]


def _read_or_leave(extra_column: str, folder: Path) -> RunTable | LeftOut:
    try:
        return read_run(folder, extra_column=extra_column)
    except DamagedFile as error:
        return LeftOut(folder, f"damaged: {error}")


def read_run(folder: Path, *, extra_column: str = "") -> RunTable:
    """Read one run folder.

    Raises:
        DamagedFile: a file is missing, half-written or not what it should be.
    """
    status = _status(folder / "status.json")
    meta = _mapping(folder / "meta.json", json.loads) if (folder / "meta.json").exists() else {}
    # Every run that was trained here has a list of its files; an imported one has none, and no digest.
    config = _config(folder / "config.yaml", sealed="files" in meta)
    alive = status["state"] == "running"
    columns = ("step", *HEALTH, *UTILISATION_BY_LAG, "time/wall", extra_column)
    eval_path, metrics_path = folder / "eval.csv", folder / "metrics.csv"
    evaluated = read_csv(eval_path, still_written=alive) if eval_path.exists() else None
    metrics = read_csv(metrics_path, columns, still_written=alive) if metrics_path.exists() else None
    if evaluated is None and metrics is None:
        raise DamagedFile("there is neither eval.csv nor metrics.csv")
    diagnostics = _diagnostics(folder / "diagnostics.csv", alive)
    return RunTable(folder, config, status, meta, evaluated, metrics, diagnostics)


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
    config = flat_settings(_mapping(path, lambda text: yaml.load(text, Loader=Loader)))
    if sealed and unseal_text(path.read_bytes()) is None:
        raise DamagedFile("config.yaml was changed since it was written")
    for key in ("seed", "env.name", "objective.name"):
        if config.get(key) is None:
            raise DamagedFile(f"config.yaml does not say {key}")
    if type(config["seed"]) is not int:
        raise DamagedFile(f"config.yaml has the seed {config['seed']!r}, which is no whole number")
    return config


def flat_settings(tree: Mapping[str, Any]) -> dict[str, Value]:
    """A resolved configuration as in `RunTable`: dotted keys, and the size of the buffer if it is null."""
    config: dict[str, Value] = {key: _frozen(value) for key, value in flatten(tree).items()}
    rollout, copies = config.get("agent.rollout_steps"), config.get("env.n_envs")
    if config.get("buffer.size") is None and isinstance(rollout, int) and isinstance(copies, int):
        config["buffer.size"] = rollout * copies
    return config


def _frozen(value: Any) -> Value:
    """A list becomes a tuple, so that values can be compared and hashed."""
    if isinstance(value, Mapping | list | tuple):
        return tuple(_frozen(item) for item in (value.items() if isinstance(value, Mapping) else value))
    return value  # type: ignore[no-any-return]


def _diagnostics(path: Path, alive: bool) -> Table:
    if not path.exists():
        return Table()
    table = read_csv(path, DIAGNOSTIC_NUMBERS, DIAGNOSTIC_TEXTS, still_written=alive)
    if missing := [name for name in (*DIAGNOSTIC_TEXTS, *DIAGNOSTIC_NUMBERS) if name not in table.names]:
        raise DamagedFile(f"diagnostics.csv lacks the columns {', '.join(missing)}")
    return table
