"""Environments and agent of a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing

import psutil
import torch

from gipo_cli.actors.open import open_actors
from gipo_cli.actors.replayed import Row
from gipo_cli.envs.make import make_env, make_vec_env
from gipo_cli.errors import UserError
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.learning.source import Source
from gipo_cli.loggers.trackers import missing
from gipo_cli.settings.schema import RunConfig
from gipo_cli.training.evaluate import Evaluator, TrainingEvaluator
from gipo_cli.training.initial import Initial, apply


class Workshop(ExitStack):
    """Environments and agent of a run, opened before anything is written.

    Raises:
        UserError: Something cannot be made, or the buffer does not fit this machine's memory.
    """

    def __init__(
        self, config: RunConfig, arrivals: Sequence[Row] = (), initial: Initial | None = None
    ) -> None:
        super().__init__()
        self.initial = initial
        try:
            self._open(config, arrivals)
        except BaseException:
            self.close()
            raise

    def _open(self, config: RunConfig, arrivals: Sequence[Row]) -> None:
        if lacking := missing(config.logging):
            raise UserError(lacking)
        self.device = known_device(config.runtime.device)
        torch.set_num_threads(config.runtime.torch_threads)
        if config.actors.in_agent:
            self.env = self.enter_context(closing(make_vec_env(config.env, config.seed)))
        self.evaluator = self._evaluator(config) if config.eval.episodes else None
        too_large = (
            f"buffer.size={config.buffer_size} needs more memory than this machine has; choose a smaller one"
        )
        try:
            self.agent = (
                GIPO.from_config(config, self.env, self.device)
                if config.actors.in_agent
                else _without_env(config, self.device)
            )
        except MemoryError as error:
            raise UserError(too_large) from error
        if self.initial is not None:
            apply(self.initial, self.agent, config)
        # Untouched pages cost nothing yet, so that an allocation may succeed and the process die later.
        if self.agent.buffer.nbytes > psutil.virtual_memory().total:
            raise UserError(too_large)
        # What "auto" came to on this machine is part of the record, and of the run from here on.
        self.config = config.model_copy(update={"agent": self.agent.agent})
        self.source: Source = self.agent.source if config.actors.in_agent else self._actors(arrivals)

    def _actors(self, arrivals: Sequence[Row]) -> Source:
        if self.config.actors.kind == "replayed" and not arrivals:
            raise UserError("actors.kind=replayed is made by gipo train --replay-arrivals RUN; type that")
        return self.enter_context(closing(open_actors(self.config, self.agent, arrivals)))

    def _evaluator(self, config: RunConfig) -> Evaluator:
        if config.eval.env == "training":
            if not config.actors.in_agent:
                raise UserError(
                    "eval.env=training needs the training environments here, and with "
                    f"actors={config.actors.kind} they are the actors'; type eval.env=own or eval.episodes=0"
                )
            return TrainingEvaluator(config.env, self.env)
        try:
            evaluator = Evaluator(config.env, seed=config.eval.seed, task_seed=config.seed)
        except UserError as error:
            raise UserError(
                f"{error}; training has one open already: if there can be only one, type eval.env=training"
            ) from error
        return self.enter_context(closing(evaluator))


def held_policies(config: RunConfig) -> str:
    """How much a checkpoint holds of policies, in words."""
    policy = _without_env(config, "cpu").policy
    size = sum(value.nbytes for value in policy.state_dict().values())
    count = config.actors.lag + 1
    return f"{count} policies of {size / 1e6:.2g} MB each, {count * size / 1e6:.2g} MB in all"


def _without_env(config: RunConfig, device: str) -> GIPO:
    with closing(make_env(config.env, config.seed)) as env:
        return GIPO.without_env(config, env.observation_space, env.action_space, device, learns=True)


def known_device(device: str) -> str:
    """``cpu`` or ``cuda``, whichever ``device`` means here.

    Raises: UserError if a GPU is asked for and there is none.
    """
    usable = torch.cuda.is_available()
    if device == "cuda" and not usable:
        raise UserError("device cuda was asked for and there is no usable GPU; use --device cpu or auto")
    return ("cuda" if usable else "cpu") if device == "auto" else device
