"""Keep the results of a finished study, unpack them again, and print the tables of its page.

    python docs/results/study.py keep runs/STUDY      # write the settings, curves and evaluations to data/
    python docs/results/study.py unpack STUDY runs    # write run folders that gipo compare can read
    python docs/results/study.py tables STUDY         # print the tables of docs/results/STUDY.md
    python docs/results/study.py archive runs/STUDY   # a study under way: pack its plan and finished runs

Kept are the settings that the runs share, some columns of every iteration to six digits, and the evaluations.
"""

from __future__ import annotations

import argparse
import csv
import json
import lzma
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gipo_cli.compare.aggregate import Interval
from gipo_cli.compare.comparison import Cell, Comparison
from gipo_cli.compare.curves import steps_to_threshold
from gipo_cli.compare.gather import gather, search
from gipo_cli.compare.load import Run
from gipo_cli.compare.summary import Row, summarise
from gipo_cli.runs.durable import read_sealed, write_sealed

DATA = Path(__file__).parent / "data"
TABLES = {
    "metrics": (
        "train/return",
        "train/success_any",
        "health/utilisation",
        "health/ess",
        "health/kl",
        "health/lag_mean",
        "loss/entropy",
        "health/explained_variance",
    ),
    "eval": ("episodes", "return_mean", "success", "success_any", "success_last"),
}
LABEL = ("objective", "buffer", "seed")
ARCHIVED = ("config.yaml", "diagnostics.csv", "eval.csv", "metrics.csv", "overrides.txt", "status.json")
METRIC = "train/return"
NAMES = {"gipo": "GIPO", "ppo_clip": "PPO-clip", "sapo": "SAPO", "tis": "TIS", "no_clip": "no clip"}
"""Objectives in the order of the tables' columns."""
PASSED = {"fetch_reach_buffers": (-4.0, -2.0)}
"""Returns whose first passing is shown, by study; 2000 and 3000 for the others."""
EVALUATED = {"fetch_reach_buffers": (5_000, 10_000, 15_000), "handle_press_buffers": (20_000, 40_000)}
"""Steps whose evaluations are shown: training and evaluation rank objectives differently in these studies."""


def keep(folder: Path) -> int:
    """Write a study's settings, curves and evaluations; return the number of its finished runs."""
    runs = sorted(finished(folder), key=lambda run: label(run[1]))
    for table, columns in TABLES.items():
        with opened(data(folder.name, table), "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*LABEL, "step", *columns])
            for path, config in runs:
                writer.writerows(rows(path / f"{table}.csv", label(config), columns))
    settings = {key: value for key, value in runs[0][1].items() if key not in ("seed", "objective", "buffer")}
    objectives = {config["objective"]["name"]: config["objective"] for _, config in runs}
    content = {**settings, "objectives": objectives}
    data(folder.name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return len(runs)


def finished(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folders and configurations of the runs that are done."""
    for status in sorted(folder.glob("*/status.json")):
        if json.loads(status.read_text())["state"] == "done":
            yield status.parent, yaml.safe_load((status.parent / "config.yaml").read_text())


def label(config: dict[str, Any]) -> tuple[str, int, int]:
    """Objective, buffer size in transitions, seed."""
    size = config["buffer"]["size"] or config["agent"]["rollout_steps"] * config["env"]["n_envs"]
    return config["objective"]["name"], size, config["seed"]


def rows(path: Path, of: Sequence[str | int], columns: Sequence[str]) -> Iterable[list[str | int]]:
    with path.open() as file:
        for row in csv.DictReader(file):
            yield [*of, row["step"], *(row[name] and f"{float(row[name]):.6g}" for name in columns)]


def data(study: str, table: str = "") -> Path:
    """File of ``data/`` with the curves, the evaluations or the settings of a study."""
    return DATA / (study + {"metrics": ".csv.xz", "eval": "_eval.csv", "": ".yaml"}[table])


def opened(path: Path, mode: str) -> Any:
    if path.suffix == ".xz":
        return lzma.open(path, f"{mode}t", **({"preset": 9 | lzma.PRESET_EXTREME} if mode == "w" else {}))
    return path.open(mode, newline="")


def unpack(study: str, into: Path) -> Path:
    """Write the kept runs as folders; return the folder that holds them."""
    settings = yaml.safe_load(data(study).read_text(encoding="utf-8"))
    objectives = settings.pop("objectives")
    kept = {table: by_run(data(study, table)) for table in TABLES}
    for run, records in kept["metrics"].items():
        objective, buffer, seed = run[0], int(run[1]), int(run[2])
        folder = into / study / f"{objective}-n{buffer}-s{seed}"
        folder.mkdir(parents=True)
        config = {"seed": seed, **settings, "objective": objectives[objective], "buffer": {"size": buffer}}
        (folder / "config.yaml").write_text(yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False))
        steps = settings["total_steps"]
        status = {"format": 1, "state": "done", "step": steps, "total_steps": steps}
        (folder / "status.json").write_text(json.dumps(status))
        for table, found in (("metrics", records), ("eval", kept["eval"][run])):
            with (folder / f"{table}.csv").open("w", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([("step", *TABLES[table]), *found])
    return into / study


def by_run(path: Path) -> dict[tuple[str, ...], list[list[str]]]:
    """Rows of a kept table, without the label, by label."""
    found: dict[tuple[str, ...], list[list[str]]] = {}
    with opened(path, "r") as file:
        for row in [*csv.reader(file)][1:]:
            found.setdefault(tuple(row[:3]), []).append(row[3:])
    return found


def archive(folder: Path) -> Path:
    """Pack the plan and the finished runs without checkpoints, logs and the names of machine and user.

    Unpacked in ``runs/``, the study goes on with the others when its command is typed again.
    """
    out = DATA / f"{folder.name}.tar.xz"
    with tarfile.open(out, "w:xz") as packed, tempfile.TemporaryDirectory() as place:
        plan = Path(place) / "study.json"
        command = {"command": f"gipo sweep study={folder.name}", "directory": ""}
        write_sealed(plan, {**read_sealed(folder / plan.name), **command})
        packed.add(plan, f"{folder.name}/{plan.name}", filter=anonymous)
        for path, _ in finished(folder):
            for name in ARCHIVED:
                packed.add(path / name, f"{folder.name}/{path.name}/{name}", filter=anonymous)
    return out


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


Arms = dict[int, dict[str, tuple[Cell, Row]]]
"""Cell and row by buffer size and objective, in the order of the tables."""
Line = tuple[str, Callable[[Cell, Row], str]]


def tables(study: str) -> Iterator[str]:
    """The tables of a results page, in its order."""
    with tempfile.TemporaryDirectory() as scratch:
        kept = search([str(unpack(study, Path(scratch)))])
        comparison = gather(kept, metric=METRIC)
        runs, from_gipo = arms(comparison), arms(gather(kept, metric=METRIC, baseline="gipo"))
    means = {key: replace(cell, finals=cell.areas) for key, cell in comparison.cells.items()}
    form = ".0f" if max(np.abs(cell.finals).max() for cell in comparison.cells.values()) >= 100 else ".2f"
    yield by_buffer("final training return", runs, lambda row: interval(row.iqm, form))
    for title, found, without in (
        ("final return minus PPO-clip's", runs, "ppo_clip"),
        ("final return minus GIPO's", from_gipo, "gipo"),
        ("mean return minus PPO-clip's", arms(replace(comparison, cells=means)), "ppo_clip"),
    ):
        yield by_buffer(title, found, lambda row: interval(row.difference, form), without)
    if study in EVALUATED:
        yield evaluations(runs, EVALUATED[study], form)
    for buffer, found in runs.items():
        yield f"**Buffer of {buffer:,} transitions**\n\n{runs_of(found, study, form)}"


def arms(comparison: Comparison) -> Arms:
    rows = {row.arm: row for row in summarise(comparison)}
    found = {(arm.buffer, arm.objective): (cell, rows[arm]) for (_, arm), cell in comparison.cells.items()}
    buffers = sorted({buffer for buffer, _ in found if buffer is not None})
    return {buffer: {name: found[buffer, name] for name in NAMES} for buffer in buffers}


def by_buffer(title: str, found: Arms, entry: Callable[[Row], str], without: str = "") -> str:
    """One row per buffer size, one column per objective but the baseline."""
    shown = [name for name in NAMES if name != without]
    out = heading(f"{title}, buffer of", shown)
    for buffer, of in found.items():
        out.append(f"| {buffer:,} | {' | '.join(entry(of[name][1]) for name in shown)} |")
    return "\n".join(out)


def evaluations(found: Arms, steps: Sequence[int], form: str) -> str:
    """Mean evaluation return over seeds, by buffer size and step."""
    out = heading("buffer, step", NAMES)
    for buffer, of in found.items():
        for step in steps:
            means = []
            for cell, _ in of.values():
                columns = [run.column("eval", "return_mean") for run in cell.runs]
                means.append(format(np.mean([values[at == step] for at, values in columns]), form))
            out.append(f"| {buffer:,}, {step:,} | {' | '.join(means)} |")
    return "\n".join(out)


def runs_of(found: dict[str, tuple[Cell, Row]], study: str, form: str) -> str:
    """The runs of each objective with one buffer size."""
    lines: list[Line] = [
        ("final training return, by seed", lambda cell, row: shown(cell.finals, form)),
        ("probability of ending above a PPO-clip run", lambda cell, row: interval(row.improvement, ".2g")),
        *(passing(value) for value in PASSED.get(study, (2000.0, 3000.0))),
        ("evaluation success at any step, last, %", lambda cell, row: " · ".join(map(success, cell.runs))),
        ("utilisation", average("health/utilisation", ".0%")),
        ("effective sample size", average("health/ess", ".2g")),
        ("KL(mu \\|\\| pi)", average("health/kl", ".2g")),
        ("policy lag, versions", average("health/lag_mean", ".1f")),
    ]
    out = heading("", NAMES)
    out += [f"| {title} | {' | '.join(of(*one) for one in found.values())} |" for title, of in lines]
    return "\n".join(out)


def heading(first: str, names: Iterable[str]) -> list[str]:
    columns = [first, *(NAMES[name] for name in names)]
    return [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]


def interval(found: Interval | None, form: str) -> str:
    return "" if found is None else f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def shown(values: Iterable[float], form: str) -> str:
    return " · ".join(f"{value:{form}}" for value in values)


def passing(value: float) -> Line:
    """Step at which each run's training return first passes a value."""

    def first(run: Run) -> str:
        step = steps_to_threshold(*run.column("metrics", METRIC), value, run.budget)
        return f"{step:,.0f}" if np.isfinite(step) else "not"

    return f"step that first passes {value:g}", lambda cell, row: " · ".join(map(first, cell.runs))


def success(run: Run) -> str:
    """Percentage of the last evaluation's episodes that succeed at any step."""
    return f"{100 * run.column('eval', 'success_any')[1][-1]:.0f}"


def average(column: str, form: str) -> Callable[[Cell, Row], str]:
    """Mean of a column over the steps of each run, then over runs."""
    return lambda cell, row: format(cell.averages(column).mean(), form)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("keep", "archive"):
        commands.add_parser(name).add_argument("folder", type=Path, help="folder of the study's runs")
    for name in ("unpack", "tables"):
        commands.add_parser(name).add_argument("study", help="name of a study in data/")
    commands.choices["unpack"].add_argument("into", type=Path, help="folder that gets the study's folder")
    given = parser.parse_args(arguments)
    if given.command == "keep":
        print(f"{keep(given.folder)} finished runs")
    elif given.command == "archive":
        print(archive(given.folder))
    elif given.command == "unpack":
        print(unpack(given.study, given.into))
    else:
        print("\n\n".join(tables(given.study)))


if __name__ == "__main__":
    main()
