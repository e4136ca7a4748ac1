"""Run folders to frozen tables. A damaged run is named and left out; the others go on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from gipo_cli.compare.files import DamagedFile, parse_yaml, read_bytes, read_json
from gipo_cli.compare.parallel import shown, spread
from gipo_cli.compare.tables import FloatArray, Table, read_csv
from gipo_cli.core.lags import LAG_BUCKETS
from gipo_cli.runs.durable import unseal_text
from gipo_cli.text import flatten

UTILISATION_BY_LAG = tuple(f"health/utilisation_lag_{bucket}" for bucket in LAG_BUCKETS)
HEALTH = ("health/utilisation", "health/ess", "health/kl", "health/lag_mean")
DIAGNOSTIC_TEXTS = ("reference", "family", "knob")
DIAGNOSTIC_NUMBERS = ("step", "value", "bias2", "variance", "mse", "batch_size")

Value = str | float | int | bool | None | tuple[Any, ...]
LARGEST_COUNT = 2**64
SEED = re.compile(rb"^seed: (0|[1-9][0-9]{0,14})$", re.MULTILINE)
SEAL = b"# sha256 of the lines above"


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
        return size if type(size) is int else None

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
    except Exception as error:  # no folder, however odd, stops the others
        return LeftOut(folder, f"damaged: it cannot be read ({type(error).__name__}: {error})")


def read_run(folder: Path, *, extra_column: str = "") -> RunTable:
    """Read one run folder.

    Raises:
        DamagedFile: a file is missing, half-written or not what it should be.
    """
    status = _status(folder / "status.json")
    meta = _meta(folder / "meta.json")
    # Every run that was trained here has a list of its files; an imported one has none, and no digest.
    config = _config(folder / "config.yaml", sealed="files" in meta)
    alive = status["state"] == "running"
    columns = ("step", *HEALTH, *UTILISATION_BY_LAG, "time/wall", extra_column)
    eval_path, metrics_path = folder / "eval.csv", folder / "metrics.csv"
    evaluated = read_csv(eval_path, still_written=alive) if eval_path.exists() else None
    metrics = read_csv(metrics_path, columns, still_written=alive) if metrics_path.exists() else None
    if evaluated is None and metrics is None:
        raise DamagedFile("there is neither eval.csv nor metrics.csv")
    _check_marks(folder)
    diagnostics = _diagnostics(folder / "diagnostics.csv", alive)
    return RunTable(folder, config, status, meta, evaluated, metrics, diagnostics)


def _status(path: Path) -> dict[str, Any]:
    status = read_json(path)
    for key in ("state", "total_steps"):
        if key not in status:
            raise DamagedFile(f"status.json does not say {key}")
    if type(status["total_steps"]) is not int:
        raise DamagedFile(f"status.json has total_steps {status['total_steps']!r}, which is no whole number")
    _check_size("status.json", status)
    return status


def _meta(path: Path) -> dict[str, Any]:
    meta = read_json(path) if path.exists() else {}
    updates = meta.get("updates", [])
    if not isinstance(updates, list) or not all(isinstance(own, dict) for own in (meta, *updates)):
        raise DamagedFile("meta.json has updates that are none")
    for facts in (meta, *updates):
        if not isinstance(facts.get("versions", {}), dict) or not isinstance(facts.get("changes", []), list):
            raise DamagedFile("meta.json has versions or changes that are none")
    return meta


def _check_marks(folder: Path) -> None:
    """Refuse evaluations that are not those which the newest checkpoint saw.

    Metrics are left to ``--resume``: to read a digest of all of them would take longer than the comparison.
    """
    steps = [path for path in folder.glob("checkpoints/*/state.json") if path.parent.name.isdecimal()]
    if not steps:
        return
    try:
        mark = read_json(max(steps, key=lambda path: int(path.parent.name)))["recorder"]["evaluations"]
        size, digest = int(mark["bytes"]), str(mark["sha256"])
    except (DamagedFile, LookupError, TypeError, ValueError):
        return  # whether a checkpoint can be used is not asked here
    if hashlib.sha256(read_bytes(folder / "eval.csv")[:size]).hexdigest() != digest:
        raise DamagedFile("eval.csv was changed since the newest checkpoint was saved")


def _config(path: Path, *, sealed: bool) -> dict[str, Value]:
    content = read_bytes(path)
    if sealed and unseal_text(content) is None:
        raise DamagedFile("config.yaml was changed since it was written")
    # Runs of a study differ in little else, and to read YAML is most of the work.
    seeds = SEED.findall(content)
    rest = SEED.sub(b"", content) if len(seeds) == 1 else content
    config = dict(_parsed_config(rest.partition(SEAL)[0]))
    if len(seeds) == 1:
        config["seed"] = int(seeds[0])
    for key in ("seed", "env.name", "objective.name"):
        if config.get(key) is None:
            raise DamagedFile(f"config.yaml does not say {key}")
    if type(config["seed"]) is not int:
        raise DamagedFile(f"config.yaml has the seed {config['seed']!r}, which is no whole number")
    _check_size("config.yaml", config)
    return config


def _check_size(name: str, values: Mapping[str, Any]) -> None:
    """Refuse whole numbers that no axis has room for."""
    for key, value in values.items():
        if isinstance(value, int) and abs(value) > LARGEST_COUNT:
            raise DamagedFile(f"{name} has a number of more than 19 digits as {key}")


@lru_cache(maxsize=1024)
def _parsed_config(content: bytes) -> dict[str, Value]:
    return flat_settings(parse_yaml("config.yaml", content))


def flat_settings(tree: Mapping[str, Any]) -> dict[str, Value]:
    """A resolved configuration as in `RunTable`: dotted keys, and the size of the buffer if it is null."""
    config: dict[str, Value] = {key: _frozen(value) for key, value in flatten(tree).items()}
    rollout, copies = config.get("agent.rollout_steps"), config.get("env.n_envs")
    if config.get("buffer.size") is None and isinstance(rollout, int) and isinstance(copies, int):
        config["buffer.size"] = rollout * copies
    return config


def _frozen(value: Any) -> Value:
    """A list becomes a tuple, so that values can be compared and hashed."""
    if isinstance(value, set):
        return tuple(sorted(map(str, value)))
    if isinstance(value, Mapping | list | tuple):
        return tuple(_frozen(item) for item in (value.items() if isinstance(value, Mapping) else value))
    # Not equal to itself, so that every run would be a group of its own.
    return "nan" if value != value else value


def _diagnostics(path: Path, alive: bool) -> Table:
    if not path.exists():
        return Table()
    table = read_csv(path, DIAGNOSTIC_NUMBERS, DIAGNOSTIC_TEXTS, still_written=alive)
    if missing := [name for name in (*DIAGNOSTIC_TEXTS, *DIAGNOSTIC_NUMBERS) if name not in table.names]:
        raise DamagedFile(f"diagnostics.csv lacks the columns {', '.join(missing)}")
    return table
