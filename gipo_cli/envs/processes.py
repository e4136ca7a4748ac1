"""Environments in processes of their own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from gipo_cli.errors import RunFailed


class _Uninterrupted:
    """Factory that leaves Ctrl-C to the parent, which stops at a safe point and then closes its children."""

    def __init__(self, factory: Callable[[], gym.Env[Any, Any]]) -> None:
        self.factory = factory

    def __call__(self) -> gym.Env[Any, Any]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return self.factory()


@contextmanager
def _a_dead_child_fails_the_run() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise RunFailed(
            "an environment process ended; what it printed above says why (env.vector=dummy says it here)"
        ) from error


class ProcessVecEnv(SubprocVecEnv):
    """SB3's ``SubprocVecEnv`` whose dead child is a ``RunFailed`` and which can still be closed then."""

    def __init__(self, factories: Sequence[Callable[[], gym.Env[Any, Any]]]) -> None:
        """Start one process per factory.

        Raises:
            RunFailed: A child ended before it could answer.
        """
        with _a_dead_child_fails_the_run():
            super().__init__([_Uninterrupted(factory) for factory in factories])

    def step_async(self, actions: np.ndarray) -> None:
        """Send the actions."""
        with _a_dead_child_fails_the_run():
            super().step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Collect the results of a step."""
        with _a_dead_child_fails_the_run():
            return super().step_wait()

    def reset(self) -> VecEnvObs:
        """Reset every environment."""
        with _a_dead_child_fails_the_run():
            return super().reset()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of every environment."""
        with _a_dead_child_fails_the_run():
            return super().get_attr(attr_name, indices)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """What a method of every environment returns."""
        with _a_dead_child_fails_the_run():
            return super().env_method(method_name, *method_args, indices=indices, **method_kwargs)

    def close(self) -> None:
        """End the children; those that live on after a sibling's death are terminated."""
        try:
            super().close()
        except (EOFError, ConnectionError):
            for process in self.processes:
                process.terminate()
                process.join()
            self.closed = True
