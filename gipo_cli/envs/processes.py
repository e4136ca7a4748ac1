"""Environments in processes of their own."""

from __future__ import annotations

import atexit
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from gipo_cli.envs.calls import CALLS, PROCESS
from gipo_cli.errors import RunFailed, UserError

_FAILURE = "gipo_failure"
_END_SECONDS = 5.0


class _Worker(gym.Wrapper[Any, Any, Any, Any]):
    """What a child runs: a failure becomes part of its answer, so that the parent can say what it was."""

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        try:
            return super().reset(**kwargs)
        except RunFailed as failure:
            return self._nothing(), {_FAILURE: failure}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        try:
            return super().step(action)
        except RunFailed as failure:
            return self._nothing(), 0.0, False, False, {_FAILURE: failure}

    def replay(self, *arguments: Any) -> Any:
        """As ``TaskEnv.replay``, or the failure."""
        try:
            return self.env.get_wrapper_attr("replay")(*arguments)
        except RunFailed as failure:
            return failure

    def _nothing(self) -> Any:
        return self.observation_space.sample()


def _child(factory: Callable[[], gym.Env[Any, Any]]) -> gym.Env[Any, Any]:
    """Make a child's environment, and leave signals to the parent, which stops at a safe point.

    A terminal, a cluster, systemd or ``timeout`` signals every process of a run. The child ends when its pipe
    closes.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        return _Worker(factory())
    except UserError as error:
        return _NotMade(UserError(f"{error}; it can be made in the run's process, so type env.vector=dummy"))


class _NotMade(gym.Env[Any, Any]):
    """Stands in for an environment that a child could not make, and answers with the reason."""

    def __init__(self, reason: UserError) -> None:
        vars(self).update(observation_space=reason, action_space=reason, render_mode=reason)


class ProcessVecEnv(SubprocVecEnv):
    """SB3's ``SubprocVecEnv``; a failed or dead child is a ``RunFailed`` and does not hinder closing."""

    def __init__(self, factories: Sequence[Callable[[], gym.Env[Any, Any]]]) -> None:
        """Start one process per factory.

        Raises:
            RunFailed: A child ended before it could answer.
            UserError: The system gives no further process, or an environment cannot be made in one.
        """
        self._broken = False
        # Before multiprocessing's own, which would wait for children that heed no SIGTERM.
        atexit.register(self._end)
        self.processes: list[Any] = []
        self.remotes: Sequence[Any] = ()
        try:
            with self._call():
                super().__init__([partial(_child, factory) for factory in factories])
        except OSError as error:
            self._end()
            raise UserError(
                f"cannot start {len(factories)} environment processes: {error.strerror or error}; lower "
                "env.n_envs, use env.vector=dummy, or raise the limit"
            ) from error
        except BaseException:
            self._end()
            raise

    def step_async(self, actions: np.ndarray) -> None:
        """Send the actions."""
        with self._call():
            super().step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Collect the results of a step."""
        with self._call():
            results = super().step_wait()
            # The second: an episode ended, and what follows could not begin.
            _raise_any(info.get(_FAILURE) for info in (*results[3], *self.reset_infos))
            return results

    def reset(self) -> VecEnvObs:
        """Reset every environment."""
        with self._call():
            observations = super().reset()
            _raise_any(info.get(_FAILURE) for info in self.reset_infos)
            return observations

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of every environment."""
        with self._call():
            results = super().get_attr(attr_name, indices)
            _raise_any(results)
            return results

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """What a method of every environment returns."""
        # Repeating an episode is many steps in one call, each of which was watched when it was new.
        with self._call(watched=method_name != "replay"):
            results = super().env_method(method_name, *method_args, indices=indices, **method_kwargs)
            stepped = method_name in ("reset", "step")
            _raise_any(result[-1].get(_FAILURE) if stepped else result for result in results)
            return results

    def close(self) -> None:
        """End the children; where one has failed there is no waiting for the others."""
        if self._broken:
            self._end()
            return
        try:
            with self._call():
                super().close()
            atexit.unregister(self._end)
        except RunFailed:
            self._end()

    @contextmanager
    def _call(self, *, watched: bool = True) -> Iterator[None]:
        if watched:
            CALLS.begin(PROCESS, 0, 0)
        try:
            yield
        except (EOFError, ConnectionError) as error:
            self._broken = True
            raise RunFailed(f"an environment process ended {self._how()}") from error
        except BaseException:
            self._broken = True
            raise
        finally:
            CALLS.end()

    def _how(self) -> str:
        """How the first dead child died."""
        for process in self.processes:
            process.join(_END_SECONDS / len(self.processes))
            if process.exitcode is not None and process.exitcode < 0:
                name = signal.Signals(-process.exitcode).name
                hint = ": out of memory?" if name == "SIGKILL" else ""
                return f"(by {name}{hint})"
        return "by itself; what it printed above says why (env.vector=dummy says it here)"

    def _end(self) -> None:
        atexit.unregister(self._end)
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()
        for remote in self.remotes:
            remote.close()
        self.closed = True


def _raise_any(answers: Iterable[Any]) -> None:
    for answer in answers:
        if isinstance(answer, RunFailed | UserError):
            raise answer
