"""Every policy objective: one class each, with its parameters, its function and its names.

An objective is maximised and has a gradient of the form ``g(r, A) A grad log pi``. Its method ``surrogate``
returns the value of the surrogate and the coefficient g, both as plain numbers; :func:`evaluate` ties them to
the graph by the identity

    surrogate = sg[value] + sg[g A] (log pi - sg[log pi]),

whose value is the surrogate's and whose gradient is g A grad log pi exactly. The same call therefore serves
the update, the bias-variance probe and the exact study, and no intermediate product such as inf * 0 can enter
the backward pass. Importing this package does not import torch.
"""

from gipo_cli.core.objectives.base import (
    OBJECTIVES,
    NonNegative,
    ObjectiveParams,
    ObjectiveTerms,
    Positive,
    Samples,
    ValueAndCoefficient,
    evaluate,
    known,
    register,
    registered,
)
from gipo_cli.core.objectives.gated import Gipo, Sapo, Spo
from gipo_cli.core.objectives.proximal import GipoDecoupled
from gipo_cli.core.objectives.ratio import NoClip, PpoClip, PpoDualClip, PpoKl
from gipo_cli.core.objectives.stale import Icepop, M2po, Topr, Vespo
from gipo_cli.core.objectives.truncated import Cispo, Tis

__all__ = [
    "OBJECTIVES", "Cispo", "Gipo", "GipoDecoupled", "Icepop", "M2po", "NoClip", "NonNegative",
    "ObjectiveParams", "ObjectiveTerms", "Positive", "PpoClip", "PpoDualClip", "PpoKl", "Samples", "Sapo",
    "Spo", "Tis", "Topr", "ValueAndCoefficient", "Vespo", "evaluate", "known", "register", "registered",
]  # fmt: skip
