"""What an objective is, the objectives known by name, and how one is evaluated on a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import Tensor

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Look = tuple[str, str, str | tuple[float, tuple[float, ...]]]


@dataclass(frozen=True)
class Samples:
    """What an objective is evaluated on. Nothing here carries a gradient.

    Shapes: all ``[B]`` (joint ratio) or ``[B, D]`` (one ratio per action dimension). ``proximal_log_prob`` is
    of the policy at the start of the iteration's updates; ``statistic`` is the objective's own of the whole
    batch, the same for each of its samples, or one zero.
    """

    log_prob: Tensor
    behaviour_log_prob: Tensor
    proximal_log_prob: Tensor
    log_ratio: Tensor
    advantage: Tensor
    statistic: Tensor


class ValueAndCoefficient(NamedTuple):
    """What an objective returns: both tensors have the shape of ``log_prob``."""

    value: Tensor
    coefficient: Tensor


@dataclass(frozen=True)
class ObjectiveTerms:
    """An objective evaluated on a batch.

    Shapes: all ``[B]`` (joint ratio) or ``[B, D]`` (one ratio per action dimension).
    Gradient: only ``surrogate`` carries one; its mean is to be maximised.
    """

    surrogate: Tensor
    coefficient: Tensor
    samples: Samples

    @property
    def log_ratio(self) -> Tensor:
        """Logarithm of r = pi / mu."""
        return self.samples.log_ratio


class ObjectiveParams(BaseModel):
    """Base of every objective; subclass it for one of your own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    label: ClassVar[str] = ""
    """Name in figures and tables; empty: ``name``."""
    formula: ClassVar[str] = ""
    """What is maximised, for listings; sg[.] is a stopped gradient, r = pi / mu."""
    knob: ClassVar[str] = ""
    """The parameter that trades bias against variance, if there is one."""
    grid: ClassVar[tuple[float, ...]] = ()
    """Knob values that the live diagnostics measure whatever is trained (without a knob: any one value)."""
    grid_key: ClassVar[str] = ""
    """Key of the ``diagnostics`` section that changes the grid; empty: it is fixed."""
    span: ClassVar[tuple[float, float] | None] = None
    """Smallest and largest knob value of the exact study."""
    clipped: ClassVar[bool] = False
    """Whether g depends on the knob only through which samples are clipped; see :meth:`edges`."""
    symbols: ClassVar[Mapping[str, str]] = {}
    """Parameters as figures print them; empty: the value speaks for itself."""
    look: ClassVar[Look | None] = None
    """Colour, marker and dashes in every figure."""
    proximal: ClassVar[bool] = False
    """Whether it reads ``Samples.proximal_log_prob``, at the cost of one more forward pass a batch."""

    name: str

    @property
    def kl_coef(self) -> float:
        """Weight of a KL(mu || pi) penalty that the objective itself brings to the update."""
        return 0.0

    def with_knob(self, value: float | Tensor) -> Self:
        """The same objective with its knob at ``value``; itself if it has none."""
        return self.model_copy(update={self.knob: value}) if self.knob else self

    def swept(self, values: Tensor) -> Self:
        """The same objective at knob values of the exact study, one per sample."""
        return self.with_knob(values)

    def edges(self, log_ratio: Tensor, advantage: Tensor, weight: Tensor) -> Tensor:
        """Knob values at which g of a clipped objective changes; here, each sample's |r - 1|.

        Shapes: as in :meth:`statistic`; returns ``[..., n]``, in any order.
        """
        return log_ratio.expm1().abs()

    def parts(self, samples: Samples) -> Mapping[str, Tensor]:
        """Factors of g / r to be measured apart, by name; here, none."""
        return {}

    def statistic(self, log_ratio: Tensor, advantage: Tensor, weight: Tensor) -> Tensor:
        """What the objective takes from a whole batch before it looks at single samples; here, nothing.

        Shapes: all ``[..., n]``, a batch in the last dimension; returns ``[..., 1]``. ``weight`` is each
        sample's share of the batch, positive and with sum 1.
        """
        return log_ratio.new_zeros(())

    def surrogate(self, samples: Samples) -> ValueAndCoefficient:
        """Value of the surrogate and gradient coefficient g; here, those of the registered function."""
        function = _FUNCTIONS[self.name]
        return function(samples.log_prob, samples.behaviour_log_prob, samples.advantage, self)


P = TypeVar("P", bound=ObjectiveParams)
ObjectiveFn = Callable[["Tensor", "Tensor", "Tensor", Any], ValueAndCoefficient]

OBJECTIVES: dict[str, type[ObjectiveParams]] = {}
"""Every objective known so far, by name. Registering adds to it."""
_FUNCTIONS: dict[str, ObjectiveFn] = {}


def registered(objective: type[P]) -> type[P]:
    """Make a class with a ``surrogate`` available by the default of its ``name``.

    Raises: ValueError: the name is taken, or cannot be typed in a list of names.
    """
    _add(objective.model_fields["name"].default, objective)
    return objective


def register(name: str, params: type[P]) -> Callable[[ObjectiveFn], ObjectiveFn]:
    """Make a function of four arguments available by name to training and to its diagnostics.

    Args:
        name: what ``objective.name`` in a configuration selects.
        params: record of its parameters, a subclass of ``ObjectiveParams``.

    Raises:
        ValueError: the name is taken, or cannot be typed in a list of names.
    """

    def add(fn: ObjectiveFn) -> ObjectiveFn:
        _add(name, params)
        _FUNCTIONS[name] = fn
        return fn

    return add


def known(objective: ObjectiveParams | str) -> ObjectiveParams:
    """An objective's parameters; those of its defaults for a name.

    Raises: ValueError: no objective has that name.
    """
    if isinstance(objective, ObjectiveParams):
        return objective
    if objective not in OBJECTIVES:
        raise ValueError(f"there is no objective {objective!r}; choose from {', '.join(OBJECTIVES)}")
    return OBJECTIVES[objective]()  # type: ignore[call-arg]


def _add(name: str, objective: type[ObjectiveParams]) -> None:
    if not name.isidentifier():
        raise ValueError(f"an objective's name is letters, digits and _, and {name!r} is not")
    if name in OBJECTIVES:
        raise ValueError(f"an objective named {name!r} is already registered")
    OBJECTIVES[name] = objective


def by_sign(advantage: Tensor, positive: float, otherwise: float) -> Tensor:
    """One number where A > 0, another elsewhere.

    Shapes: that of ``advantage``, any. Source: the rule of SAPO and GIPO, A <= 0 on the other side.
    """
    import torch

    # In the dtype of the advantage: a choice between two Python floats is float32 whatever the rest is.
    yes, no = (torch.as_tensor(value, dtype=advantage.dtype) for value in (positive, otherwise))
    return torch.where(advantage > 0, yes, no)


def logarithm(knob: float) -> Any:
    """Logarithm of a parameter, which the exact study may have made a tensor; -inf of 0."""
    if isinstance(knob, int | float):
        return math.log(knob) if knob > 0 else -math.inf
    return knob.log()


def evaluate(
    params: ObjectiveParams,
    log_prob: Tensor,
    behaviour_log_prob: Tensor,
    advantage: Tensor,
    proximal_log_prob: Tensor | None = None,
    statistic: Tensor | None = None,
) -> ObjectiveTerms:
    """Evaluate an objective on a batch.

    Shapes: ``log_prob``, ``behaviour_log_prob`` and ``proximal_log_prob`` are ``[B]`` or ``[B, D]``;
    ``advantage`` is ``[B]`` and is shared by the D factors of an action; ``statistic`` broadcasts to
    ``log_prob``.
    Without ``proximal_log_prob`` the learner is the proximal policy; without ``statistic`` it is that of this
    batch, all samples and factors alike.
    A knob in ``params`` may be a tensor of the shape of ``log_prob`` (``with_knob`` sets it unchecked).
    Gradient: flows through ``log_prob`` only; the coefficient, the other policies and the advantage are
    stop-gradiented.
    Raises: ValueError if the shapes do not match; KeyError if no such objective is registered.
    Source: arXiv 2603.03955 for ``gipo``; every other objective names its own.
    """
    import torch

    with torch.no_grad():
        samples = _samples(params, log_prob, behaviour_log_prob, advantage, proximal_log_prob, statistic)
        adv = samples.advantage
        value, coefficient = params.surrogate(samples)
        # Where A is 0 there is nothing to learn, whatever r: inf * 0 must not say otherwise.
        nothing = adv == 0
        value, slope = value.masked_fill(nothing, 0.0), coefficient.masked_fill(nothing, 0.0)
    # The order of the products is that of automatic differentiation of r A, so that gradients are Stable-
    # Baselines3's to the bit, also where a batch's size is no power of two.
    surrogate = value + adv * (slope * (log_prob - log_prob.detach()))
    return ObjectiveTerms(surrogate, coefficient, samples)


def _samples(
    params: ObjectiveParams,
    log_prob: Tensor,
    behaviour_log_prob: Tensor,
    advantage: Tensor,
    proximal_log_prob: Tensor | None,
    statistic: Tensor | None,
) -> Samples:
    now = log_prob.detach()
    proximal = now if proximal_log_prob is None else proximal_log_prob
    for name, other in (("behaviour", behaviour_log_prob), ("proximal", proximal)):
        if log_prob.shape != other.shape:
            raise ValueError(
                f"log_prob {tuple(log_prob.shape)} and {name}_log_prob {tuple(other.shape)} differ in shape; "
                "sum or keep the action dimensions in both"
            )
    if log_prob.ndim not in (1, 2) or advantage.shape != log_prob.shape[:1]:
        raise ValueError(
            f"log_prob {tuple(log_prob.shape)} needs an advantage of shape {tuple(log_prob.shape[:1])}, "
            f"got {tuple(advantage.shape)}; log_prob may be [B] or [B, D]"
        )
    adv = (advantage if log_prob.ndim == 1 else advantage.unsqueeze(-1)).expand_as(log_prob)
    log_ratio = now - behaviour_log_prob
    if statistic is None:
        share = log_ratio.new_full((1,), 1.0 / max(log_ratio.numel(), 1)).expand(log_ratio.numel())
        statistic = params.statistic(log_ratio.flatten(), adv.flatten(), share)
    return Samples(now, behaviour_log_prob, proximal, log_ratio, adv, statistic)
