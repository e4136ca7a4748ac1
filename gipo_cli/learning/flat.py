"""Many parameters as one tensor: an optimizer's step on small networks costs by calls, not by numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


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
        self.flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in self.parameters]))
        parts = torch.split(self.flat.data, [p.numel() for p in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.data = part.view_as(parameter)

    def take_gradients(self) -> None:
        """Copy the parameters' gradients to ``flat.grad``; a parameter without one counts as zero.

        Raises: RuntimeError if the parameters are no longer views of ``flat``.
        """
        if self.parameters[0].data_ptr() != self.flat.data_ptr():
            raise RuntimeError(
                "the policy's parameters were given other memory (moved or copied) after the agent was made; "
                "make the agent on the device that it is to learn on"
            )
        self.flat.grad = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in self.parameters]
        )
