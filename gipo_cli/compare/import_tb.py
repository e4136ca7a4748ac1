"""A foreign TensorBoard folder to a run folder that `gipo compare` reads."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gipo_cli.compare.output import check_output, fresh_folder
from gipo_cli.errors import UserError
from gipo_cli.runs.layout import RunDir

TAGS_SHOWN = 10
# Tags of Stable-Baselines3's logger and of the authors' Meta-World script (arXiv 2603.03955).
EVAL_TAGS = {
    "eval/mean_reward": "return_mean",
    "eval/success_rate": "success",
    "eval/mean_ep_length": "length_mean",
    "Eval/return_mean": "return_mean",
    "Eval/success_mean": "success",
    "Eval/length_mean": "length_mean",
}
METRICS_TAGS = {
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
STEP_TAG = "System/EnvSteps"
NEEDED = ("env.name", "objective.name", "seed")
Series = list[tuple[float, float, float]]
"""Environment step, value and wall time of each point."""


def import_tb(
    source: Path,
    *,
    out: Path,
    settings: Sequence[str],
    tags: Sequence[str] = (),
    steps_per_tick: float = 1.0,
    force: bool = False,
) -> None:
    """Write a run folder from TensorBoard scalars.

    Args:
        source: a folder with event files of one run, there or below.
        out: the run folder to write; it appears whole or not at all.
        settings: ``key=value`` lines of configuration; needed are ``env.name``, ``objective.name``, ``seed``.
        tags: further ``TAG=COLUMN`` pairs; a column named like one of ``eval.csv`` goes there.
        steps_per_tick: environment steps per unit of the events' step. The authors' script counts
            iterations and logs the environment steps as `STEP_TAG`, which is then used instead.
        force: replace ``out`` if it is an earlier import.

    Raises:
        UserError: no events, no known tag, a needed setting is missing, or ``out`` is in the way or cannot
            be written.
    """
    config = _config(settings)
    eval_tags, metrics_tags = _tags(tags)
    check_output(out, "import", lambda folder: RunDir(folder).is_import(), force=force)
    if not 0 < steps_per_tick < math.inf:
        raise UserError(
            f"--steps-per-tick {steps_per_tick:g} is no finite number above 0; write for example 500."
        )
    series = _read(source, steps_per_tick)
    tables = {
        name: _table(series, chosen) for name, chosen in (("eval", eval_tags), ("metrics", metrics_tags))
    }
    if not any(tables.values()):
        found = sorted(series)
        more = f" and {len(found) - TAGS_SHOWN} more" if len(found) > TAGS_SHOWN else ""
        raise UserError(
            f"None of the tags in {source} is known: {', '.join(found[:TAGS_SHOWN])}{more}; map one "
            "with --tag, such as --tag charts/episodic_return=train/return. "
            "(A run of gipo itself is compared as it is.)"
        )
    last = int(max(step for table in tables.values() for step in table))
    config = {**config, "total_steps": config.get("total_steps", last)}
    with fresh_folder(out) as folder:
        _write(folder, source, config, tables, last)


def _config(settings: Sequence[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
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
        try:
            node[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(
                f"The value of the setting {text!r} is no YAML; put it in quotes, as in --set "
                f"{key}='\"{value}\"'."
            ) from None
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


def _tags(further: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    eval_tags, metrics_tags = dict(EVAL_TAGS), dict(METRICS_TAGS)
    for text in further:
        tag, equals, column = text.partition("=")
        if not (equals and tag and column):
            raise UserError(
                f"{text!r} is no TAG=COLUMN; write for example charts/episodic_return=train/return."
            )
        (eval_tags if column in EVAL_TAGS.values() else metrics_tags)[tag] = column
    return eval_tags, metrics_tags


def _read(source: Path, steps_per_tick: float) -> dict[str, Series]:
    """All scalars by tag, sorted by step and, of one step, by time."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not source.is_dir():
        raise UserError(f"{source} is no folder; name the folder that holds the TensorBoard event files.")
    folders = sorted({path.parent for path in source.rglob("*tfevents*")})
    if not folders:
        raise UserError(f"No TensorBoard event files in {source} or below (searched for *tfevents*).")
    series: dict[str, Series] = {}
    for folder in folders:
        # The default keeps a random sample of 10,000 points.
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        for tag in events.Tags()["scalars"]:
            points = [(float(event.step), event.value, event.wall_time) for event in events.Scalars(tag)]
            if tag in series:
                raise UserError(
                    f"The tag {tag!r} is in several folders below {source}, which are several runs; import "
                    "each by itself."
                )
            series[tag] = points
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


def _table(series: Mapping[str, Series], tags: Mapping[str, str]) -> dict[float, dict[str, float]]:
    """Rows by step: column and value; a later point of the same step wins."""
    rows: dict[float, dict[str, float]] = {}
    first = min((wall for points in series.values() for _, _, wall in points), default=0.0)
    for tag, points in series.items():
        for step, value, wall in points if tag in tags else ():
            rows.setdefault(step, {}).update({tags[tag]: value, "time/wall": wall - first})
    return rows


def _write(
    folder: Path,
    source: Path,
    config: Mapping[str, Any],
    tables: Mapping[str, dict[float, dict[str, float]]],
    last: int,
) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    state = {"state": "done", "reason": "imported", "step": last, "total_steps": config["total_steps"]}
    (folder / "status.json").write_text(json.dumps({"format": 1, **state}), encoding="utf-8")
    meta = {"format": 1, "imported_from": str(source.resolve()), "versions": {}}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    for name, rows in tables.items():
        if rows:
            _write_csv(folder / f"{name}.csv", rows)


def _write_csv(path: Path, rows: Mapping[float, Mapping[str, float]]) -> None:
    columns = ["step", *sorted({column for row in rows.values() for column in row})]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({"step": round(step), **rows[step]} for step in sorted(rows))
