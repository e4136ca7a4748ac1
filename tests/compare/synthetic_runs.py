"""Run folders by the contract in docs/architecture.md, with numbers chosen by the caller."""

import json
from pathlib import Path

import numpy as np
import yaml

from gipo_cli.compare.load import HEALTH, UTILISATION_BY_LAG
from gipo_cli.core.objectives import OBJECTIVES

EVAL_COLUMNS = (
    "step", "episodes", "return_mean", "return_std", "return_min", "return_max", "success", "success_any",
    "success_last", "length_mean", "first_success", "time/wall",
)  # fmt: skip
DIAGNOSTIC_COLUMNS = (
    "step", "reference", "family", "knob", "value", "trained", "n", "batch_size", "bias2", "bias2_se",
    "variance", "variance_se", "mse", "mse_se", "cosine", "norm", "reference_norm", "utilisation", "ess",
)  # fmt: skip


def config(objective="gipo", *, seed=1, env="reach", buffer=2000, total_steps=100_000, **dotted):
    """A resolved configuration; further settings by dotted name, as in ``**{"agent.ratio": "joint"}``."""
    parameters = OBJECTIVES[objective]().model_dump() if objective in OBJECTIVES else {"name": objective}
    tree = {
        "seed": seed,
        "total_steps": total_steps,
        "preset": "default",
        "env": {"name": env, "task": None, "n_envs": 1, "kwargs": {}},
        "objective": parameters,
        "buffer": {"size": buffer},
        "agent": {"rollout_steps": 500, "ratio": "joint", "update": {"batch_size": 512}},
        "eval": {"interval": 10_000, "episodes": 20, "deterministic": True},
        "logging": {"tensorboard": True},
    }
    for key, value in dotted.items():
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def write_csv(path, columns):
    rows = zip(*columns.values(), strict=True)
    cell = {float: repr, np.float64: lambda x: repr(float(x))}
    lines = [",".join(columns)]
    lines += [",".join("" if x is None else cell.get(type(x), str)(x) for x in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def write_run(
    folder: Path, tree, success, *, steps=None, returns=None, state="done", meta=None, metrics=True
):
    """One run whose evaluations have the given success rates."""
    folder.mkdir(parents=True)
    success = [float(x) for x in success]
    n = len(success)
    steps = list(steps) if steps is not None else [tree["total_steps"] * (i + 1) // n for i in range(n)]
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    status = {
        "format": 1,
        "state": state,
        "reason": None,
        "step": steps[-1],
        "total_steps": tree["total_steps"],
    }
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "meta.json").write_text(
        json.dumps(meta or {"versions": {"torch": "2.13.0", "mujoco": "3.3.0"}})
    )
    values = dict.fromkeys(EVAL_COLUMNS, [0.0] * n)
    values |= {"step": steps, "episodes": [20] * n, "return_mean": returns or [100 * x for x in success]}
    values |= {"success": success, "time/wall": [60.0 * (i + 1) for i in range(n)]}
    write_csv(folder / "eval.csv", values)
    if metrics:
        write_metrics(folder, tree)
    return folder


def write_metrics(folder, tree, *, rows=20, lag=None):
    """Health columns that depend on the buffer in a known way: mean lag = buffer / rollout / 2."""
    steps = np.linspace(0, tree["total_steps"], rows + 1)[1:].astype(int)
    rng = np.random.default_rng(tree["seed"])
    size = (tree["buffer"]["size"] or tree["agent"]["rollout_steps"]) / tree["agent"]["rollout_steps"]
    lag = size / 2 if lag is None else lag
    keep = {"gipo": 0.95, "sapo": 0.9}.get(tree["objective"]["name"], 0.6)
    columns = {
        "step": steps.tolist(),
        "iteration": list(range(rows)),
        "train/return": [None] + [1.0] * (rows - 1),
    }
    for name, base in zip(HEALTH, (keep, keep / (1 + lag / 20), 0.02 * lag, lag), strict=True):
        columns[name] = (base * (1 + 0.03 * rng.standard_normal(rows))).tolist()
    for index, name in enumerate(UTILISATION_BY_LAG):
        there = size > (0, 1, 4, 16, 64)[index]
        columns[name] = [keep ** (index + 1) if there else None] * rows
    columns["time/wall"] = np.linspace(0, 600, rows + 1)[1:].tolist()
    write_csv(folder / "metrics.csv", columns)


def write_diagnostics(folder, tree, *, measurements=6):
    """Variance falls and bias grows with the trust width; the best width shrinks over training."""
    grid = [("gipo", "sigma", v) for v in (0.1, 0.2, 0.5, 1.0, 2.0)] + [("no_clip", "", "")]
    grid += [("ppo_clip", "eps", v) for v in (0.05, 0.1, 0.2, 0.4)] + [
        ("sapo", "tau_pos", v) for v in (0.5, 1.0, 2.0)
    ]
    columns = {name: [] for name in DIAGNOSTIC_COLUMNS}
    for k in range(measurements):
        for family, knob, value in grid:
            width = 1 / value if family == "sapo" else 5 * value if family == "ppo_clip" else value or 0
            bias2 = 1e-3 / (1 + width) ** 2 * (1 + k) if knob else -1e-6
            variance = 1.0 * (1 + width) if knob else 8.0
            row = {"step": tree["total_steps"] * (k + 1) // measurements, "reference": "importance_sampled"}
            row |= {
                "family": family,
                "knob": knob,
                "value": value,
                "trained": 0,
                "n": 2048,
                "batch_size": 512,
            }
            row |= {"bias2": bias2, "variance": variance, "mse": max(bias2, 0) + variance / 512}
            for name in DIAGNOSTIC_COLUMNS:
                columns[name].append(row.get(name, 0.0))
    write_csv(folder / "diagnostics.csv", columns)


def write_study(
    root, *, objectives=("gipo", "ppo_clip"), buffers=(2000, 20_000), seeds=3, envs=("reach",), points=10
):
    """Learning curves in which the objectives differ more the larger the buffer is."""
    folders = []
    for env in envs:
        for objective in objectives:
            for buffer in buffers:
                for seed in range(1, seeds + 1):
                    tree = config(objective, seed=seed, env=env, buffer=buffer)
                    rng = np.random.default_rng([seed, buffer, len(objective)])
                    top = 0.9 - (0.05 if objective == "gipo" else 0.35) * (buffer > 2000)
                    rate = np.clip(
                        top * np.linspace(0.1, 1, points) + 0.08 * rng.standard_normal(points), 0, 1
                    )
                    folder = root / env / f"{objective}-{buffer}-{seed}"
                    write_run(folder, tree, np.round(rate * 20) / 20)
                    write_diagnostics(folder, tree)
                    folders.append(folder)
    return folders
