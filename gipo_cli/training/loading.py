"""A run's checkpoint back as an agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gipo_cli.envs.make import make_env
from gipo_cli.errors import UserError
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.runs.checkpoint import Checkpoint
from gipo_cli.runs.layout import find, runs_root
from gipo_cli.runs.run import Run, open_run
from gipo_cli.settings.schema import RunConfig


def which(checkpoint: str) -> Any:
    """``last``, ``best`` or a step, as :meth:`CheckpointStore.load` takes it.

    Raises: UserError for anything else.
    """
    if checkpoint in ("last", "best"):
        return checkpoint
    if checkpoint.isdecimal():
        return int(checkpoint)
    raise UserError(f"checkpoint {checkpoint!r} is not one; use last, best or a step such as 25000")


def load_agent(
    run: Path | Run, checkpoint: str = "last", device: str = "cpu", *, trust: bool = False
) -> tuple[GIPO, RunConfig, Checkpoint]:
    """The agent of a run, opened or not, at a checkpoint, without its buffer and its training environments.

    Raises:
        UserError: The run, the checkpoint or the environment is not there, or does not fit.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda was asked for and there is no usable GPU; use cpu or auto")
    opened = run if isinstance(run, Run) else open_run(run, trust=trust)
    config = opened.config
    saved = opened.checkpoints.load(which(checkpoint), only=("policy",), needs=("policy",))
    env = make_env(config.env, config.seed)
    spaces = env.observation_space, env.action_space
    env.close()
    agent = GIPO.without_env(config, *spaces, device)
    with saved.reading():
        agent.policy.load_state_dict(saved.tensors["policy"])
    agent.policy.set_training_mode(False)
    agent.num_timesteps = agent.learner.steps = saved.step
    return agent, config, saved


def load_run(
    run: str | Path, checkpoint: str | int = "last", device: str = "cpu", *, trust: bool = False
) -> GIPO:
    """A run's agent at a checkpoint, ready for ``predict``.

    Args:
        run: The run's folder, its name below ``runs/``, the beginning of its name, or ``latest``.
        checkpoint: ``last``, ``best`` or a step.
        device: ``cpu``, ``cuda`` or ``auto``.
        trust: Import the modules that the run's configuration names, which run as code.

    Returns:
        The agent: networks and step count, with a fresh optimizer and an empty buffer of one rollout. To
        learn on, give it an environment like that of its training, as ``make_vec_env`` makes it, with
        ``set_env``.

    Raises:
        UserError: As :func:`load_agent`.
    """
    return load_agent(find(runs_root(), str(run)).path, str(checkpoint), device, trust=trust)[0]
