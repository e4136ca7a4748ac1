"""Keeps a simulator's use of this process's random generators apart from everybody else's."""

from __future__ import annotations

import ctypes
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

EPISODES_WATCHED = 3
T = TypeVar("T")
_MT19937_BYTES = 625 * 4


class Isolation:
    """Gives one simulator global generators of its own, seeded at the start of each episode.

    A call costs 0.2 ms. So a simulator is watched when it begins its first episodes and at their first steps,
    and left alone from then on if it has not touched any generator.
    """

    def __init__(self, seed: int) -> None:
        self.touched = False
        self._numpy = np.random.MT19937(seed)
        self._python = random.Random(seed).getstate()
        self._torch: list[Any] = []
        self._dtype: Any = None
        self._episodes = 0

    def run(self, step: int, call: Callable[[], T], seed: int | None = None) -> T:
        """What a step of the simulator returns, or with step 0 the start of an episode by ``seed``."""
        self._episodes += step == 0
        if not self.touched and (step > 1 or self._episodes > EPISODES_WATCHED):
            return call()
        with self.around(seed):
            before = self._fingerprint()
            result = call()
            self.touched = self.touched or before != self._fingerprint()
        return result

    @contextmanager
    def around(self, seed: int | None = None) -> Iterator[None]:
        """Run the body with the simulator's generators, seeded if asked, and its default type of torch."""
        python = random.getstate()
        numpy = np.random.get_bit_generator()  # type: ignore[attr-defined]
        torch = [generator.get_state() for generator in _generators()]
        dtype = _swap_dtype(self._dtype)
        np.random.set_bit_generator(self._numpy)  # type: ignore[attr-defined]
        random.setstate(self._python)
        _set_states(self._torch)
        if seed is not None:
            _seed(seed)
        try:
            yield
        finally:
            self._python = random.getstate()
            self._torch = [generator.get_state() for generator in _generators()]
            self._dtype = _swap_dtype(dtype)
            self.touched = self.touched or self._dtype != dtype
            np.random.set_bit_generator(numpy)  # type: ignore[attr-defined]
            random.setstate(python)
            _set_states(torch)

    def _fingerprint(self) -> tuple[Any, ...]:
        # Reading the state through NumPy takes 0.25 ms.
        numpy = ctypes.string_at(self._numpy.ctypes.state_address, _MT19937_BYTES)
        return random.getstate(), numpy, [state.get_state().numpy().tobytes() for state in _generators()]


def _generators() -> list[Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    return [torch.default_generator, *(torch.cuda.default_generators if torch.cuda.is_initialized() else ())]


def _set_states(states: list[Any]) -> None:
    # There are fewer states than generators if the body was the first to import torch or to use a GPU.
    for generator, state in zip(_generators(), states, strict=False):
        generator.set_state(state)


def _swap_dtype(dtype: Any) -> Any:
    """Make this torch's default type, if it is known; returns what it was."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    before = torch.get_default_dtype()
    if dtype is not None and dtype is not before:
        torch.set_default_dtype(dtype)
    return before


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    for generator in _generators():
        generator.manual_seed(seed)
