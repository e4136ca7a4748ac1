"""The one wrapper around every environment: seeding, time limit, success, statistics and checks."""

from __future__ import annotations

import logging
import math
import operator
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from gipo_cli.envs.calls import CALLS
from gipo_cli.envs.isolation import Isolation
from gipo_cli.envs.rewards import paid
from gipo_cli.envs.simulators import Simulator
from gipo_cli.envs.spaces import ActionMap, Observation, ObservationFlattener
from gipo_cli.envs.success import read_end, read_success
from gipo_cli.errors import RunFailed
from gipo_cli.settings.schema import EnvConfig

MIXED = (
    "some episodes report success and others do not, so no success rate can be told; put it into info at "
    "every step, False included"
)


def episode_seed(seed: int, index: int, episode: int) -> int:
    """Seed in [0, 2**32) of one episode, from these three numbers alone.

    Args:
        seed: Base seed of the vector of environments.
        index: Which environment of the vector.
        episode: Which of its episodes, from 0.
    """
    return int(np.random.SeedSequence((seed, index, episode)).generate_state(1)[0])


class TaskEnv(gym.Wrapper[Observation, Any, Any, Any]):
    """Makes a simulator behave as ``docs/architecture.md`` says, in one layer since steps are cheap."""

    def __init__(
        self,
        simulator: Simulator,
        cfg: EnvConfig,
        *,
        label: str,
        seed: int,
        index: int,
        isolation: Isolation | None = None,
    ) -> None:
        """Wrap a simulator.

        Args:
            simulator: The simulator.
            cfg: Time limit, action kind and definition of success.
            label: How messages name the environment.
            seed: Base seed.
            index: Which environment of a vector this is.
            isolation: The simulator's global random generators; None: those of a new one.

        Raises:
            UserError: The simulator's spaces cannot be mapped.
        """
        env = simulator.env
        super().__init__(env)
        self._flatten = ObservationFlattener(env.observation_space, label, simulator.redundant)
        self.actions = ActionMap(env.action_space, cfg.action, label)
        self.observation_space = self._flatten.space
        self.action_space = self.actions.space
        self.episode_index = 0
        self._label, self._seed, self._index = label, int(seed), index
        self.time_limit = cfg.max_episode_steps or simulator.time_limit
        self._simulator = simulator
        self._success_is_any = cfg.success == "any"
        self._success_key = cfg.success_key
        self.sees = self._flatten.text
        self._isolation = Isolation(seed) if isolation is None else isolation
        self._started = time.perf_counter()
        self._repeat, self._end_on_success = cfg.action.repeat, cfg.end_on_success
        self._needs_success = "env.end_on_success=true" if cfg.end_on_success else None
        if cfg.reward == "success":
            self._needs_success = "env.reward=success"
        self._paid = partial(paid, cfg)
        self._steps, self._simulated, self._return = 0, 0, 0.0
        self._success_any: bool | None = None
        self._reports: bool | None = None

    def set_episode_index(self, episode: int) -> None:
        """Make ``episode`` the number of the episode that the next reset starts."""
        self.episode_index = operator.index(episode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the next episode; with ``seed``, make that the base seed and start its episode 0.

        Returns:
            The flat observation and the simulator's info.

        Raises:
            RunFailed: The simulator raised, or returned something unusable.
        """
        if seed is not None:
            self._seed, self.episode_index = int(seed), 0
        episode = self.episode_index
        self.episode_index += 1
        self._steps, self._simulated, self._return, self._success_any = 0, 0, 0.0, None
        CALLS.begin(self._index, episode, 0)
        try:
            start = episode_seed(self._seed, self._index, episode)
            raw, info = self._isolation.run(
                0, lambda: self._simulator.start(start, episode, options), seed=start
            )
            return self._flatten(raw), dict(info)
        except (Exception, SystemExit) as error:
            self._fail("reset", error)
        finally:
            CALLS.end()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One step of the simulator.

        Args:
            action: A point of the action space; continuous actions are clipped by the caller.

        Returns:
            Flat float32 observation, reward of ``env.reward``, terminated, truncated, info as the contract
            says. A repeated action: the newest observation and info, the sum of the rewards.

        Raises:
            RunFailed: The simulator raised, or returned something unusable.
        """
        self._steps += 1
        CALLS.begin(self._index, self.episode_index - 1, self._steps)
        try:
            observation, reward, terminated, truncated, info, success = self._act(action)
        except (Exception, SystemExit) as error:
            self._fail("step", error)
        finally:
            CALLS.end()
        self._return += reward
        if success is not None:
            self._success_any = success or bool(self._success_any)
        info["is_success_step"] = bool(success)
        if terminated or truncated:
            self._close_episode(info, bool(success))
        return observation, reward, terminated, truncated, info

    def _act(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any], bool | None]:
        """Do an action as often as it is repeated, or until the end; what ``step`` returns, and success."""
        # Minus zero is what a sum begins with: nothing is changed by it, the sign of a zero neither.
        total, success = -0.0, None
        for _ in range(self._repeat):
            self._simulated += 1
            # A simulator may change the array.
            own = self.actions(action)
            raw, reward, terminated, truncated, raw_info = self._isolation.run(
                self._simulated, partial(self.env.step, own)
            )
            info = dict(raw_info)
            reported = self._step_success(info)
            total += self._pay(float(reward), reported)
            success = reported if success is None else success or bool(reported)
            terminated = read_end("terminated", terminated) or (self._end_on_success and bool(reported))
            truncated = read_end("truncated", truncated) or self._simulated == self.time_limit
            if terminated or truncated:
                break
        return self._flatten(raw), total, terminated, truncated, info, success

    def _pay(self, reward: float, success: bool | None) -> float:
        if not math.isfinite(reward):
            raise RunFailed(f"reward is {reward}")
        if success is None and self._needs_success:
            raise RunFailed(
                f"{self._needs_success} needs success in info at every step; name its key in env.success_key"
            )
        return float(self._paid(reward, success))

    def replay(self, episode: int, actions: Iterable[Any]) -> tuple[Observation, bool]:
        """Start an episode by its number and do ``actions`` in it, as sent to ``step``, until it ends.

        Returns:
            The newest observation, and whether the episode has ended.

        Raises:
            RunFailed: As ``reset`` and ``step``.
        """
        self.set_episode_index(episode)
        observation, _ = self.reset()
        for action in actions:
            observation, _, terminated, truncated, _ = self.step(action)
            if terminated or truncated:
                return observation, True
        return observation, False

    def close(self) -> None:
        """Close the simulator; a failure of this is only a warning, since nothing is asked of it any more."""
        CALLS.begin(self._index, self.episode_index - 1, self._steps)
        try:
            super().close()
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}"
            logging.getLogger("gipo").warning("environment %s could not be closed (%s)", self._label, said)
        finally:
            CALLS.end()

    @property
    def notes(self) -> list[str]:
        """What the user should know about the environment, as far as it has shown itself."""
        randomness = (
            f"env={self._label} uses the global random generators; it gets its own, seeded by the episode, "
            "so that training and evaluation do not disturb each other"
        )
        found = [self._simulator.note, self.actions.note, randomness if self._isolation.touched else None]
        return [note for note in found if note]

    def _step_success(self, info: dict[str, Any]) -> bool | None:
        """Whether this step is one of success; None where the simulator does not say."""
        # Upstream's per-step is_success is taken out: ours is set at the episode's end, and only there.
        flags = {"is_success": info.pop("is_success", None), "success": info.get("success")}
        key = self._success_key
        if key is None:
            key = "success" if flags["is_success"] is None else "is_success"
            return None if flags[key] is None else read_success(key, flags[key])
        value = flags.get(key, info.get(key))
        if value is None:
            raise RunFailed(f"info has no key {key!r} (env.success_key); it has: {', '.join(info) or 'none'}")
        return read_success(key, value)

    def _close_episode(self, info: dict[str, Any], success: bool) -> None:
        reports = self._success_any is not None
        if self._reports not in (None, reports):
            self._fail("step", RunFailed(MIXED))
        self._reports = reports
        # A task that reports no success has none, which is not the same as failing.
        if self._success_any is not None:
            info["success_any"], info["success_last"] = self._success_any, success
            info["is_success"] = self._success_any if self._success_is_any else success
        elapsed = time.perf_counter() - self._started
        info["episode"] = {"r": self._return, "l": self._steps, "t": elapsed}

    def _fail(self, where: str, error: BaseException) -> NoReturn:
        what = f"{where} raised {type(error).__name__}: {error}"
        if isinstance(error, RunFailed):
            what = str(error)
        elif isinstance(error, SystemExit):
            what = f"{where} called sys.exit({'' if error.code is None else repr(error.code)})"
        raise RunFailed(
            f"environment {self._label} (number {self._index}, episode {self.episode_index - 1}, "
            f"step {self._steps}): {what}"
        ) from error
