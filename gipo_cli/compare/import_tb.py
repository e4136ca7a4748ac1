"""A foreign TensorBoard folder to a run folder that `gipo compare` reads."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gipo_cli.compare.events import Series, read_events
from gipo_cli.compare.output import check_output, write_folder
from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir
from gipo_cli.settings.overrides import value_of

TAGS_SHOWN = 10
# Tags of Stable-Baselines3's logger and of the authors' Meta-World script (arXiv 2603.03955).
COLUMNS = {
    "eval/mean_reward": "return_mean",
    "eval/success_rate": "success",
    "eval/mean_ep_length": "length_mean",
    "Eval/return_mean": "return_mean",
    "Eval/success_mean": "success",
    "Eval/length_mean": "length_mean",
    "rollout/ep_rew_mean": "train/return",
    "rollout/success_rate": "train/success",
    "rollout/ep_len_mean": "train/length",
    "Rollout/ReturnMean": "train/return",
    "Rollout/SuccessMean": "train/success",
    "Rollout/LengthMean": "train/length",
    "train/approx_kl": "health/kl",
    "train/explained_variance": "health/explained_variance",
    "train/value_loss": "loss/critic",
    "train/policy_gradient_loss": "loss/actor",
}
FILES = frozenset(("config.yaml", "status.json", "meta.json", "eval.csv", "metrics.csv"))
EVALUATED = ("return_mean", "success", "length_mean")
STEP_TAG = "System/EnvSteps"
NEEDED = ("env.name", "objective.name", "seed")
Rows = dict[float, dict[str, float]]
"""By step, a number for each column."""


def import_tb(
    source: Path,
    *,
    out: Path,
    settings: Sequence[str],
    tags: Sequence[str] = (),
    steps_per_tick: float = 1.0,
    force: bool = False,
) -> list[str]:
    """Write a run folder from TensorBoard scalars; returns what could not be read, a sentence per place.

    ``source`` is a folder with event files of one run, there or below; ``settings`` are ``key=value`` lines
    of configuration, ``tags`` further ``TAG=COLUMN`` pairs, and ``steps_per_tick`` environment steps per unit
    of the events' step. The authors' script counts iterations and logs the environment steps as `STEP_TAG`,
    which is then used instead. With ``force`` an earlier import is replaced.

    Raises:
        UserError: no events, no known tag, a needed setting is missing, or ``out`` is in the way or cannot
            be written.
    """
    config = _config(settings)
    columns = COLUMNS | dict(map(_pair, tags))
    check_output(out, "import", lambda folder: RunDir(folder).is_import(), force=force)
    if not 0 < steps_per_tick < math.inf:
        raise UserError(
            f"--steps-per-tick {steps_per_tick:g} is no finite number above 0; write for example 500."
        )
    events = read_events(source)
    tables = _tables(_in_env_steps(events.series, steps_per_tick), columns)
    if not tables:
        raise UserError(
            f"None of the tags in {source} {_known(sorted(events.series))}; map one with --tag, such as "
            "--tag charts/episodic_return=train/return. (A run of gipo itself is compared as it is.)"
        )
    last = int(max(step for rows in tables.values() for step in rows))
    config = {**config, "total_steps": config.get("total_steps", last)}
    files = {f"{name}.csv": _csv(rows) for name, rows in tables.items()}
    files |= _descriptions(source, config, last, events.losses)
    write_folder(out, {name: text.encode() for name, text in files.items()}, FILES.__contains__)
    return events.losses


def _known(found: Sequence[str]) -> str:
    more = f" and {len(found) - TAGS_SHOWN} more" if len(found) > TAGS_SHOWN else ""
    return f"is known: {', '.join(found[:TAGS_SHOWN])}{more}" if found else "can be read: it holds no scalars"


def _config(settings: Sequence[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for text in settings:
        key, equals, _ = text.partition("=")
        if not equals or not key:
            raise UserError(
                f"The setting {text!r} is no key=value; write for example objective.name=ppo_clip."
            )
        *parents, last = key.split(".")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UserError(
                    f"The setting {text!r} contradicts an earlier one: {parent} already has a value."
                )
        node[last] = value_of(text)[1]
    for key in NEEDED:
        node = config
        for part in key.split("."):
            node = node.get(part, {}) if isinstance(node, dict) else {}
        if node in ({}, None):
            raise UserError(
                f"The setting {key} is needed to compare this run with others; add --set {key}=..."
            )
    for key, example in (("seed", 1), ("total_steps", 1_000_000)):
        if key in config and type(config[key]) is not int:
            raise UserError(
                f"The {key} {config[key]!r} is no whole number; write for example --set {key}={example}."
            )
    return config


def _pair(text: str) -> tuple[str, str]:
    """A tag, which may hold ``=``, and the column that it goes to."""
    tag, _, column = text.rpartition("=")
    if not (tag and column):
        raise UserError(f"{text!r} is no TAG=COLUMN; write for example charts/episodic_return=train/return.")
    return tag, column


def _in_env_steps(series: Mapping[str, Series], steps_per_tick: float) -> dict[str, Series]:
    """Points by environment step; of one step, by time."""
    clock = np.array([point[:2] for point in series.get(STEP_TAG, [])])

    def env_step(tick: float) -> float:
        return float(np.interp(tick, clock[:, 0], clock[:, 1])) if len(clock) else tick * steps_per_tick

    return {
        tag: sorted(
            ((env_step(tick), value, wall) for tick, value, wall in points),
            key=lambda point: (point[0], point[2]),
        )
        for tag, points in series.items()
    }


def _tables(series: Mapping[str, Series], columns: Mapping[str, str]) -> dict[str, Rows]:
    """Rows of ``eval`` and ``metrics``; a later point of the same step wins."""
    tables: dict[str, Rows] = {}
    first = min((wall for points in series.values() for _, _, wall in points), default=0.0)
    for tag in (tag for tag in series if tag in columns):
        rows = tables.setdefault("eval" if columns[tag] in EVALUATED else "metrics", {})
        for step, value, wall in series[tag]:
            rows.setdefault(step, {}).update({columns[tag]: value, "time/wall": wall - first})
    return tables


def _descriptions(source: Path, config: dict[str, Any], last: int, losses: Sequence[str]) -> dict[str, str]:
    """The files of a run besides its tables."""
    state, reason = ("interrupted", "; ".join(losses)) if losses else ("done", "imported")
    status = {"state": state, "reason": reason, "step": last, "total_steps": config["total_steps"]}
    meta = {"format": 1, "imported_from": str(source.resolve()), "versions": {}}
    return {
        "config.yaml": yaml.safe_dump(config, sort_keys=False),
        "status.json": json.dumps({"format": 1, **status}),
        "meta.json": json.dumps(meta),
    }


def _csv(rows: Rows) -> str:
    text = io.StringIO()
    names = ["step", *sorted({column for row in rows.values() for column in row})]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({"step": round(step), **rows[step]} for step in sorted(rows))
    return text.getvalue()
