"""Run folders to records. A damaged run is named and left out; the others go on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic_core import from_json

from gipo_cli.compare.files import DamagedFile, parse_yaml, read_bytes, read_json
from gipo_cli.compare.parallel import spread
from gipo_cli.compare.tables import FloatArray, Mark, Table, read_csv
from gipo_cli.core.lags import LAG_BUCKETS
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.durable import unseal_text
from gipo_cli.runs.layout import RunDir, is_starting
from gipo_cli.text import flatten

UTILISATION_BY_LAG = tuple(f"health/utilisation_lag_{bucket}" for bucket in LAG_BUCKETS)
HEALTH = ("health/utilisation", "health/ess", "health/kl", "health/lag_mean")
TRAINING = ("train/return", "train/success")
METRICS = ("step", *TRAINING, *HEALTH, *UTILISATION_BY_LAG, "time/wall")
DIAGNOSTIC_TEXTS = ("reference", "family", "knob")
DIAGNOSTIC_NUMBERS = ("step", "value", "bias2", "variance", "mse", "batch_size")

Value = str | float | int | bool | None | tuple[Any, ...]
LARGEST_COUNT = 2**64
SEED = re.compile(rb"^seed: (0|[1-9][0-9]{0,14})$", re.MULTILINE)
SEAL = b"# sha256 of the lines above"


@dataclass(frozen=True)
class LeftOut:
    """A run that is not in the numbers, and why.

    A planned one has not begun, a plan cannot be read, a clone is no run.
    """

    path: Path  # its folder, or the plan of a study
    reason: str
    kind: Literal["run", "planned", "plan", "clone"] = "run"


@dataclass(frozen=True)
class Run:
    """What one run folder says."""

    path: Path
    seed: int
    objective: str
    buffer: int | None  # transitions held; None if an imported run does not say
    config: Mapping[str, Value]  # resolved, by dotted key; buffer.size is never null
    state: str  # done, running, failed or interrupted
    budget: int  # environment steps that the run was given
    step: object  # of these, how many it did
    reason: object  # why it ended
    versions: frozenset[tuple[str, str]]  # packages and their versions, over all attempts
    changes: tuple[str, ...]  # settings that were changed on the way, in words
    imported: bool  # whether another program trained it
    eval: Table | None = field(repr=False)
    metrics: Table | None = field(repr=False)  # the columns that a comparison needs
    diagnostics: Table = field(repr=False)  # empty if there is no file
    success: Mapping[str, Value] = field(default_factory=dict)  # rates of success.json, by dotted key

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
        if there.all():
            return columns["step"], columns[name]
        return columns["step"][there], columns[name][there]

    def wall(self, horizon: float) -> float:
        """Seconds of training by the last row up to that step that says so; NaN if none does."""
        for table in ("metrics", "eval"):
            steps, seconds = self.column(table, "time/wall")
            if (inside := steps <= horizon).any():
                return float(seconds[inside][-1])
        return float("nan")


def read_runs(
    folders: Sequence[Path], *, extra_column: str = "", workers: int = 1
) -> tuple[list[Run], list[LeftOut]]:
    """Read run folders with so many processes, and name those that are damaged.

    ``extra_column`` of ``metrics.csv`` is read besides the usual ones, if it is there.
    """
    found = spread(_read_or_leave, extra_column, folders, workers=workers, text="reading runs")
    return [run for run in found if isinstance(run, Run)], [out for out in found if isinstance(out, LeftOut)]


def _read_or_leave(extra_column: str, folder: Path) -> Run | LeftOut:
    try:
        if (folder / "clone.json").exists():
            return LeftOut(folder, "a clone, which begins other runs", kind="clone")
        if is_starting(RunDir(folder)):
            return LeftOut(folder, "just being started")
        return read_run(folder, extra_column=extra_column)
    except DamagedFile as error:
        return LeftOut(folder, f"damaged: {error}")
    except Exception as error:  # no folder, however odd, stops the others
        return LeftOut(folder, f"damaged: it cannot be read ({type(error).__name__}: {error})")


def read_run(folder: Path, *, extra_column: str = "") -> Run:
    """Read one run folder.

    Raises:
        DamagedFile: a file is missing, half-written or not what it should be.
    """
    status, meta = _status(folder / "status.json"), _meta(folder / "meta.json")
    # Every run that was trained here has a list of its files; an imported one has none, and no digest.
    config = _config(folder / "config.yaml", sealed="files" in meta)
    marks, success = _marks(folder), _success(folder / "success.json")
    _regroup(config, success.get("demonstrations"))

    def table(name: str, mark: str, *columns: Sequence[str]) -> Table | None:
        path, alive = folder / name, status["state"] == "running"
        if not path.exists() and mark not in marks:
            return None
        return read_csv(path, *columns, still_written=alive, mark=marks.get(mark))

    evaluated = table("eval.csv", "evaluations")
    metrics = table("metrics.csv", "metrics", (*METRICS, extra_column))
    if evaluated is None and metrics is None:
        raise DamagedFile("there is neither eval.csv nor metrics.csv")
    diagnostics = table("diagnostics.csv", "diagnostics", DIAGNOSTIC_NUMBERS, DIAGNOSTIC_TEXTS) or Table()
    needed = (*DIAGNOSTIC_TEXTS, *DIAGNOSTIC_NUMBERS) if diagnostics.names else ()
    if missing := [name for name in needed if name not in diagnostics.names]:
        raise DamagedFile(f"diagnostics.csv lacks the columns {', '.join(missing)}")
    attempts = (meta, *meta.get("updates", ()))
    return Run(
        path=folder,
        seed=int(str(config["seed"])),
        objective=str(config["objective.name"]),
        buffer=size if type(size := config.get("buffer.size")) is int else None,
        config=config,
        state=str(status["state"]),
        budget=status["total_steps"],
        step=status.get("step", "unknown"),
        reason=status.get("reason"),
        versions=frozenset(
            (name, str(own)) for one in attempts for name, own in one.get("versions", {}).items()
        ),
        changes=tuple(str(change) for one in attempts[1:] for change in one.get("changes", ())),
        imported="imported_from" in meta,
        eval=evaluated,
        metrics=metrics,
        diagnostics=diagnostics,
        success=success,
    )


def _regroup(config: dict[str, Value], demonstrations: object) -> None:
    """Give runs that began alike the same settings."""
    if type(demonstrations) is int:
        # As many as were cloned, also where the setting says all of a file.
        config["demos.episodes"] = demonstrations
    for key in ("demos.path", "init"):
        if isinstance(path := config.get(key), str):
            # Files and clones that are alike but for the seed make no groups.
            config[key] = re.sub(rf"(-s{config['seed']})+$", "", Path(path).stem)


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
    if not isinstance(updates, list) or not all(isinstance(own, dict) for own in updates):
        raise DamagedFile("meta.json has updates that are none")
    for facts in (meta, *updates):
        if not isinstance(facts.get("versions", {}), dict) or not isinstance(facts.get("changes", []), list):
            raise DamagedFile("meta.json has versions or changes that are none")
    return meta


def _success(path: Path) -> dict[str, Value]:
    """What a run that began as another policy says of success before and after; empty for others."""
    found = flatten(read_json(path)) if path.exists() else {}
    rates = {key: rate for key, rate in found.items() if key.startswith(("before.", "after."))}
    for key, rate in rates.items():
        if rate is not None and not (type(rate) in (int, float) and 0 <= rate <= 1):
            raise DamagedFile(f"success.json has {rate!r} as {key}, which is no rate")
    return found


def _marks(folder: Path) -> dict[str, Mark]:
    """What the newest checkpoint saw of each table; none if it cannot be read, which is not asked here."""
    store = CheckpointStore(folder / "checkpoints")
    try:
        newest = store.path(max(store.steps()))
        marks = from_json(read_bytes(newest / "state.json"))["recorder"].items()
        return {name: Mark(int(own["bytes"]), str(own["sha256"])) for name, own in marks if "sha256" in own}
    except (DamagedFile, AttributeError, LookupError, TypeError, ValueError):
        return {}


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
    """A resolved configuration as in `Run`: dotted keys, and the size of the buffer if it is null."""
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
