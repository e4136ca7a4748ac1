"""Torch's optimizers without torch's compiler, whose import takes seconds and which nothing here uses."""

from __future__ import annotations

import inspect
import sys

import torch


def leave_out_compiler() -> None:
    """Let optimizers be made and cleared without importing torch's compiler.

    Torch marks some of their methods as not to be compiled at the first call, and imports it for that.
    Upstream: mark them where it is imported already.
    """
    if "torch._dynamo" not in sys.modules:
        for method in vars(torch.optim.Optimizer).values():
            if plain := getattr(method, "__wrapped__", None):
                plain.__dynamo_disable = plain


class Adam(torch.optim.Adam):
    """Torch's Adam (AdamW with ``decoupled_weight_decay``), equal to the bit.

    Upstream: break the compiler's graph in ``step`` only while it compiles.
    """

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
