"""The model card of an exported policy."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import yaml

from gipo_cli import __version__
from gipo_cli.runs.layout import RunDir
from gipo_cli.settings.compose import differing
from gipo_cli.settings.schema import RunConfig

_SHOWN = {
    "success": "success",
    "return_mean": "return (mean)",
    "return_std": "return (deviation)",
    "episodes": "episodes",
    "length_mean": "episode length (mean)",
    "first_success": "step of the first success (mean)",
}


def card(run: Path, config: RunConfig, step: int, *, sees: str, actions: int, onnx: bool) -> str:
    """Markdown with a hub's front matter: what it is, how to use it, settings and results."""
    subject = " ".join(config.env.names)
    tags = ["reinforcement-learning", "robotics", "mujoco", config.objective.name]
    front = yaml.safe_dump({"library_name": "gipo-cli", "tags": tags}, sort_keys=False)
    label = type(config.objective).label or config.objective.name
    lines = [
        f"---\n{front}---",
        f"# {label} on {subject}",
        f"A policy trained for {step:,} environment steps by gipo {__version__}. It maps {sees}, as raw "
        f"numbers in float32, to {actions} actions within the task's bounds; the normalisation of "
        "observations and the handling of bounds are part of the program.",
        "```python\nimport torch\n\npolicy = torch.export.load('policy.pt2').module()\n"
        "action = policy(observation)  # [batch, observation] -> [batch, action]\n```",
    ]
    if onnx:
        lines.append("`policy.onnx` is the same for ONNX runtimes (input `observation`, output `action`).")
    lines += ["## Results", "\n".join(_results(RunDir(run), step))]
    lines += ["## Settings", "\n".join(_settings(config)), "`config.yaml` holds all of them."]
    return "\n\n".join(lines) + "\n"


def _results(run: RunDir, step: int) -> Iterator[str]:
    with run.evaluations.open(newline="") as file:
        row = next((row for row in csv.DictReader(file) if row.get("step") == str(step)), None)
    if row is None:
        yield f"The run holds no evaluation at step {step:,}; `gipo eval` makes one."
        return
    yield f"The run's own evaluation at step {step:,}, on its fixed seeds:\n"
    yield "| quantity | value |\n| --- | --- |"
    for column, name in _SHOWN.items():
        if row.get(column):
            yield f"| {name} | {float(row[column]):.6g} |"


def _settings(config: RunConfig) -> Iterator[str]:
    yield "| setting | value | default |\n| --- | --- | --- |"
    for key, value, default in differing(config):
        yield f"| `{key}` | {value} | {default} |"
