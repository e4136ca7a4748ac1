"""A run's policy as a program of its own: for a robot, another language or a hub."""

from __future__ import annotations

import copy
import json
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gipo_cli import __version__
from gipo_cli.envs.make import make_env
from gipo_cli.envs.spaces import ActionMap
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.learning.policies import MlpPolicy
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.runs.durable import writing
from gipo_cli.runs.layout import check_out
from gipo_cli.training.card import card
from gipo_cli.training.loading import load_agent

PROGRAM, ONNX = "policy.pt2", "policy.onnx"
ONNX_OPSET = 18
_CHECKED = 256
_TOLERANCE = 1e-5

Actions = Callable[[np.ndarray], np.ndarray]


class Deployed(nn.Module):
    """The deterministic policy with everything around it: raw observations in, the task's actions out.

    Shapes: ``[B, d]`` float32 in, ``[B, D]`` float32 out. Observations are normalised as in training; actions
    are clipped to the task's bounds, scaled to them, or looked up by bin.
    """

    table: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, policy: MlpPolicy, act: ActionMap) -> None:
        super().__init__()
        self.passes = copy.deepcopy(policy.actor_modules())
        # Parameters are parts of one long tensor, which would be saved whole.
        for parameter in self.passes.parameters():
            parameter.data = parameter.data.clone()
            parameter.requires_grad_(False)
        self.binned, self.scaled = act.table is not None, act.bounds is not None
        if act.table is not None:
            self.register_buffer("table", torch.from_numpy(act.table))
        else:
            low, high = act.bounds or (act.space.low, act.space.high)  # type: ignore[union-attr]
            self.register_buffer("low", torch.as_tensor(low))
            self.register_buffer("high", torch.as_tensor(high))

    def forward(self, obs: Tensor) -> Tensor:
        """The actions for raw observations."""
        output: Tensor = self.passes(obs)
        if self.binned:
            dims, bins = self.table.shape
            best = output.view(-1, dims, bins).argmax(-1)
            return self.table.expand(len(best), -1, -1).gather(-1, best.unsqueeze(-1)).squeeze(-1)
        low, high = self.low, self.high
        if self.scaled:
            output = low + (output.clamp(-1, 1) + 1) * (0.5 * (high - low))
        return torch.maximum(torch.minimum(output, high), low).float()


def export_run(
    run: Path, out: Path | None = None, checkpoint: str = "last", *, onnx: bool = False, trust: bool = False
) -> Path:
    """Write a folder with a run's policy, its settings and a model card.

    Every program is compared with ``predict`` before it is written.

    Args:
        run: The run's folder.
        out: The folder to make; None: ``export-STEP`` in the run.
        checkpoint: ``last``, ``best`` or a step.
        onnx: Write an ONNX file beside the ``torch.export`` program.
        trust: Import the modules that the run names.

    Raises:
        UserError: ``out`` exists, a link leads there, ONNX's extra is missing, or the run cannot be loaded.
        RunFailed: A program does not do what the policy does, or the disk refused.
    """
    if onnx:
        _need_onnx()
    agent, config, saved = load_agent(run, checkpoint, trust=trust)
    folder = out or run / f"export-{saved.step}"
    check_out(folder)
    env = make_env(config.env, config.seed)
    act, sees = env.actions, env.sees
    env.close()
    module = Deployed(agent.policy, act).eval()
    examples = _examples(agent)
    expected = act_on(agent, act, examples)
    with writing(folder):
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            raise UserError(
                f"{folder} exists already; remove it, or name another folder with --out"
            ) from error
        try:
            _write(folder, module, examples, expected, onnx=onnx)
            text = card(run, config, saved.step, sees=sees, actions=int(expected.shape[1]), onnx=onnx)
            (folder / "README.md").write_text(text)
            shutil.copyfile(run / "config.yaml", folder / "config.yaml")
            film = run / "videos" / f"step_{saved.step:012d}.mp4"
            if film.is_file() and not film.is_symlink():
                shutil.copyfile(film, folder / "film.mp4")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return folder


def _write(folder: Path, module: Deployed, examples: np.ndarray, expected: np.ndarray, *, onnx: bool) -> None:
    batch = torch.export.Dim("batch", min=1)
    given = (torch.from_numpy(examples),)
    program = torch.export.export(module, given, dynamic_shapes=({0: batch},))
    facts = json.dumps({"gipo": __version__, "observation": examples.shape[1], "action": expected.shape[1]})
    torch.export.save(program, folder / PROGRAM, extra_files={"gipo.json": facts})
    loaded = torch.export.load(folder / PROGRAM).module()
    _check(PROGRAM, lambda obs: loaded(torch.from_numpy(obs)).numpy(), examples, expected)
    if onnx:
        _write_onnx(folder / ONNX, program)
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
        _check(ONNX, lambda obs: session.run(None, {"observation": obs})[0], examples, expected)


def _write_onnx(path: Path, program: torch.export.ExportedProgram) -> None:
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    # Its warnings are about operators of torchvision and torch's own deprecations.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exporter.setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                program,
                (),
                path,
                input_names=["observation"],
                output_names=["action"],
                opset_version=ONNX_OPSET,
                external_data=False,
                verbose=False,
            )
        finally:
            exporter.setLevel(level)


def act_on(agent: GIPO, act: ActionMap, observations: np.ndarray) -> np.ndarray:
    """What the simulator gets for observations ``[n, d]``: the agent's own way, one row at a time."""
    predicted, _ = agent.predict(observations, deterministic=True)
    return np.stack([np.ravel(act(action)) for action in predicted]).astype(np.float32)


def _examples(agent: GIPO) -> np.ndarray:
    """Observations ``[n, d]`` around those of training, some of them far outside."""
    draw = np.random.default_rng(0)
    size = agent.observation_space.shape[0]  # type: ignore[index]
    rows = draw.standard_normal((_CHECKED, size)) * np.geomspace(0.01, 100, _CHECKED)[:, None]
    extractor: Any = agent.policy.features_extractor
    if hasattr(extractor, "var"):
        rows = extractor.mean.numpy() + rows * np.sqrt(extractor.var.numpy())
    return rows.astype(np.float32)


def _check(name: str, program: Actions, examples: np.ndarray, expected: np.ndarray) -> None:
    """Compare a program with the policy, in a batch and one by one.

    Raises: RunFailed: they differ.
    """
    for rows in (slice(None), slice(0, 1)):
        actions = program(examples[rows])
        scale = np.maximum(1.0, np.abs(expected[rows]))
        worst = float(np.max(np.abs(actions - expected[rows]) / scale))
        if not worst <= _TOLERANCE:
            raise RunFailed(f"{name} is not written: its actions are up to {worst:.3g} off the policy's")


def _need_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--onnx needs packages that are not installed; type: pip install onnx onnxscript onnxruntime"
        ) from error
