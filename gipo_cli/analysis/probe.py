"""Live bias and variance of the policy-gradient estimator of every objective, on a probe batch.

Formulas: docs/diagnostics.md. All objectives and knob values are measured on the same samples from one
forward pass, because they differ only in the coefficient g of each sample; nothing of the policy is changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from gipo_cli.analysis.gradients import Policy, Trace
from gipo_cli.core.estimators import AgainstReference, independent, paired
from gipo_cli.core.health import effective_sample_size, utilisation
from gipo_cli.core.objectives import OBJECTIVES, NoClip, ObjectiveParams, evaluate
from gipo_cli.settings.schema import DiagnosticsConfig

Ratio = Literal["joint", "per_dimension"]
REFERENCES = ("importance_sampled", "on_policy")
UPDATED = "updated"
"""Reference of the rows measured after an iteration's updates."""


@dataclass(frozen=True)
class ProbeBatch:
    """Transitions to measure on, in random order.

    Shapes: ``obs [n, d]``, ``action [n, D]``, ``behaviour_log_prob [n, D]`` (or ``[n]`` for a joint ratio),
    ``advantage [n]`` as the update sees it. ``proximal_log_prob``, like ``behaviour_log_prob``, is None where
    the learner is the proximal policy.
    """

    obs: Tensor
    action: Tensor
    behaviour_log_prob: Tensor
    advantage: Tensor
    proximal_log_prob: Tensor | None = None

    def take(self, rows: Tensor | slice) -> ProbeBatch:
        """The given rows."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        taken: dict[str, Any] = {name: None if part is None else part[rows] for name, part in held.items()}
        return ProbeBatch(**taken)


@dataclass(frozen=True)
class ProbeRow:
    """One estimator against one reference: the columns of ``diagnostics.csv`` after ``step``.

    ``bias2`` and ``mse`` are unbiased estimates and so can be negative; what cannot be formed is NaN.
    """

    reference: str
    family: str
    knob: str
    value: float | None
    trained: int
    n: int
    batch_size: int
    bias2: float
    bias2_se: float
    variance: float
    variance_se: float
    mse: float
    mse_se: float
    cosine: float
    norm: float
    reference_norm: float
    utilisation: float
    ess: float

    def record(self, step: int) -> dict[str, Any]:
        """The row of ``diagnostics.csv``; what is not there or not a number is None, an empty cell."""
        row = {"step": step, **asdict(self)}
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def run_probe(
    policy: Policy,
    probe: ProbeBatch,
    fresh: ProbeBatch,
    *,
    trained: ObjectiveParams,
    grid: Sequence[ObjectiveParams],
    ratio: Ratio,
    chunks: int,
    batch_size: int,
) -> list[ProbeRow]:
    """Bias, variance and MSE of every estimator in ``grid``, against two references.

    ``importance_sampled`` is E_mu[r u] on the probe itself; ``on_policy`` is the gradient on ``fresh``,
    weighted by its own ratios, which are 1 where the policy has not moved since.

    The last ``n mod chunks`` rows of ``probe`` are not used; ``fresh``, from the newest policy version, is
    disjoint from it. Each estimator of ``grid`` gets a row per reference, in this order; ``batch_size`` is n
    in bias^2 + variance / n. Of the policy, parameters, their ``.grad``, mode and random streams stay.

    Raises: ValueError if either batch is too small for 4 chunks.
    """
    size = len(probe.obs) // chunks
    if size == 0 or chunks < 4 or len(fresh.obs) < 4:
        raise ValueError(
            f"{len(probe.obs)} probe rows in {chunks} chunks and {len(fresh.obs)} fresh rows: both sides "
            "need at least 4 chunks of at least one row"
        )
    n, joint = size * chunks, ratio == "joint"
    rows, share = _fresh_layout(len(fresh.obs), size, probe.advantage)
    probe, fresh = probe.take(slice(n)), fresh.take(rows)
    trace, newest = (Trace(policy, batch.obs, batch.action, joint) for batch in (probe, fresh))
    g = [_coefficients(objective, trace.log_prob, probe, joint) for objective in (NoClip(), *grid)]
    own = _weights(torch.stack(g), probe.advantage).view(len(g), chunks, size, -1) / size
    weights = _weights(_coefficients(NoClip(), newest.log_prob, fresh, joint), fresh.advantage)
    weights = weights.view(-1, size, weights.shape[-1]) * share[:, None]
    gram = trace.chunk_grams(torch.cat([own, own[1:] - own[:1]])).cpu()
    reference, inside, difference = gram[:1], gram[1 : len(g)], gram[len(g) :]
    cross, on_policy = (part.cpu() for part in trace.against(own[1:], newest, weights))
    comparisons = {
        "importance_sampled": paired(inside, reference, difference, size),
        "on_policy": independent(inside, on_policy[None], cross, size),
    }
    sees = probe.proximal_log_prob is not None
    estimators = [_about(kind, trained, one, sees) for kind, one in zip(grid, g[1:], strict=True)]
    return [
        ProbeRow(reference=reference, n=n, batch_size=batch_size, **about, **_row(numbers, row))
        for reference, numbers in ((name, _numbers(c, batch_size)) for name, c in comparisons.items())
        for row, about in enumerate(estimators)
    ]


def grid_from(config: DiagnosticsConfig, trained: ObjectiveParams) -> list[ObjectiveParams]:
    """Estimators to measure: each family's knob values, and whatever is being trained.

    The family being trained keeps its other settings (kernel, neg_ratio, ...), the others their defaults. One
    that compares the learner with the proximal policy is there once, since the two are one policy here.
    """
    grid: list[ObjectiveParams] = []
    for name, kind in OBJECTIVES.items():
        own = trained if trained.name == name else kind() if config.grid(kind) else None  # type: ignore[call-arg]
        if own is not None and kind.proximal:
            grid.append(own)
        elif own is not None:
            grid += [own.with_knob(value) for value in config.grid(kind)]
    return grid if trained in grid else [*grid, trained]


def run_updated_probe(
    policy: Policy, probe: ProbeBatch, fresh: ProbeBatch, **settings: Any
) -> list[ProbeRow]:
    """The trained objective after an iteration's updates, by the knob that the probe before them cannot see.

    Takes what :func:`run_probe` does, without a grid; ``probe`` has the log-probabilities of the policy
    before the updates. The reference, named :data:`UPDATED`, is importance-sampled.
    """
    trained: ObjectiveParams = settings["trained"]
    values = dict.fromkeys([*trained.grid, getattr(trained, trained.knob)])
    rows = run_probe(policy, probe, fresh, grid=[trained.with_knob(v) for v in values], **settings)
    return [replace(row, reference=UPDATED) for row in rows if row.reference == REFERENCES[0]]


def least_mse(rows: Sequence[ProbeRow], reference: str) -> dict[str, ProbeRow]:
    """The row with the least estimated MSE of every family, against that reference; NaN rows do not count."""
    best: dict[str, ProbeRow] = {}
    for row in rows:
        if row.reference == reference and row.mse == row.mse:
            incumbent = best.get(row.family)
            best[row.family] = row if incumbent is None or row.mse < incumbent.mse else incumbent
    return best


def _fresh_layout(rows: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers ``[J * size]`` of J equal chunks, each filled up to ``size`` with rows of weight 0.

    The second result ``[size]`` is the weight of each place: one over the chunk's true size, or 0.
    """
    chunks = max(4, math.ceil(rows / size))
    real = rows // chunks
    place = torch.arange(size, device=like.device)
    numbers = torch.arange(chunks, device=like.device)[:, None] * real + place.clamp(max=real - 1)
    return numbers.flatten(), (place < real).to(like.dtype) / real


def _coefficients(objective: ObjectiveParams, log_prob: Tensor, batch: ProbeBatch, joint: bool) -> Tensor:
    behaviour, proximal = batch.behaviour_log_prob, batch.proximal_log_prob
    if joint:
        behaviour = behaviour.reshape(len(behaviour), -1).sum(-1, keepdim=True)
        proximal = (
            None if proximal is None else proximal.reshape(behaviour.shape[0], -1).sum(-1, keepdim=True)
        )
    return evaluate(objective, log_prob, behaviour, batch.advantage, proximal).coefficient


def _weights(g: Tensor, advantage: Tensor) -> Tensor:
    """The factor g A / F that multiplies grad log pi of each factor, ``[..., N, F]``."""
    return g * advantage[:, None] / g.shape[-1]


def _numbers(found: AgainstReference, batch_size: int) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "cosine": found.cosine().value,
        "norm": found.norm().value,
        "reference_norm": found.reference_norm().value,
    }
    for name, estimate in (
        ("bias2", found.bias2.estimate()),
        ("variance", found.variance.estimate()),
        ("mse", found.mse(batch_size)),
    ):
        numbers |= {name: estimate.value, f"{name}_se": estimate.se}
    return numbers


def _row(numbers: dict[str, Any], row: int) -> dict[str, Any]:
    return {name: float(values[row]) for name, values in numbers.items()}


def _about(objective: ObjectiveParams, trained: ObjectiveParams, g: Tensor, sees: bool) -> dict[str, Any]:
    # At the proximal policy itself, a knob on the distance from it acts on nothing.
    knob = objective.knob if sees or not objective.proximal else ""
    return {
        "family": objective.name,
        "knob": knob,
        "value": getattr(objective, knob) if knob else None,
        "trained": int(objective == trained),
        "utilisation": utilisation(g),
        "ess": effective_sample_size(g),
    }
