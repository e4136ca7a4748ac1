"""Many parameters as one tensor: an optimizer's step on small networks costs by calls, not by numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ALIGNMENT = 64
"""Bytes at whose multiples each parameter begins, as if it had memory of its own: matrix products of
unaligned weights round differently on some processors."""


class FlatParameters:
    """Parameters laid end to end in ``flat``, of which each becomes a view.

    An elementwise optimizer (Adam) that is given ``flat`` moves them by the same numbers, to the bit, as one
    that is given them.

    Args:
        parameters: floating-point parameters of one type on one device. Whatever gives one of them other
            memory afterwards (``Module.to`` another device, ``deepcopy``) cuts it off.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        first = self.parameters[0]
        step = ALIGNMENT // first.element_size()
        # Zeros between the parameters, which no elementwise optimizer moves.
        self._gaps = [first.detach().new_zeros(-p.numel() % step) for p in self.parameters]
        self.flat = nn.Parameter(self._laid([p.detach() for p in self.parameters]))
        start = 0
        for parameter, gap in zip(self.parameters, self._gaps, strict=True):
            parameter.data = self.flat.data[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel() + gap.numel()

    def _laid(self, values: Sequence[Tensor]) -> Tensor:
        parts = zip(values, self._gaps, strict=True)
        return torch.cat([part for value, gap in parts for part in (value.reshape(-1), gap)])

    def take_gradients(self) -> None:
        """Copy the parameters' gradients to ``flat.grad``; a parameter without one counts as zero.

        Raises: RuntimeError if the parameters are no longer views of ``flat``.
        """
        if self.parameters[0].data_ptr() != self.flat.data_ptr():
            raise RuntimeError(
                "the policy's parameters were given other memory (moved or copied) after the agent was made; "
                "make the agent on the device that it is to learn on"
            )
        self.flat.grad = self._laid(
            [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        )
