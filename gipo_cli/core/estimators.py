"""Unbiased bias, variance, MSE, norm and cosine of a gradient estimator, each with a standard error.

Everything is computed from inner products of *chunk means*: the probe is cut into K disjoint chunks, and
chunk k's mean of the per-sample gradients is the vector e_k. Only the matrix of <e_k, e_l> is needed, never
the vectors. The mean of <e_k, e_l> over k != l estimates the squared norm of the mean without bias, where
the plain squared norm of the grand mean is too large by variance / n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class WithError(NamedTuple):
    """A number and its standard error, both of the leading (batch) shape."""

    value: Tensor
    se: Tensor


def chunk_gram(means: Tensor) -> Tensor:
    """Inner products of chunk means: ``[..., K, p]`` to ``[..., K, K]``. Source: definition."""
    return means @ means.transpose(-1, -2)


@dataclass(frozen=True)
class Form:
    """A statistic that is linear in the inner products of two independent sets of chunks:

        mean_{k != l} x_kl + mean_k diag_k + mean_{i != j} y_ij + 2 mean_{k, i} z_ki.

    Shapes: ``x [..., K, K]`` and ``y [..., J, J]`` symmetric, ``z [..., K, J]``, ``diag [..., K]``; J = 0
    where there is one set only. Forms add and scale, so the standard error of any smooth function of several
    forms is that of its linearisation.
    Source: U-statistics of degree 2 (Hoeffding, 1948).
    """  # noqa: D415

    x: Tensor
    diag: Tensor
    y: Tensor
    z: Tensor

    def __add__(self, other: Form) -> Form:
        return Form(self.x + other.x, self.diag + other.diag, self.y + other.y, self.z + other.z)

    def __rmul__(self, factor: float | Tensor) -> Form:
        one = torch.as_tensor(factor, dtype=self.x.dtype, device=self.x.device)[..., None]
        two = one[..., None]
        return Form(two * self.x, one * self.diag, two * self.y, two * self.z)

    def value(self) -> Tensor:
        """The statistic: unbiased for its expectation."""
        return _off_mean(self.x) + self.diag.mean(-1) + _off_mean(self.y) + 2.0 * _mean(self.z)

    def se(self) -> Tensor:
        """Standard error of :meth:`value`.

        The jackknife counts the pure pair interaction (all that is left where the expectation is 0) twice;
        its variance, estimated from what row and column effects do not explain, is taken off once and is
        also the floor. That makes it up to a third too large where the expectation is 0, and right elsewhere.
        Source: Efron and Stein (1981); the interaction is Hoeffding's second-order term.
        """
        k, j = self.x.shape[-1], self.y.shape[-1]
        rows = 2.0 * (_row_effect(self.x) + self.z.sum(-1) / max(j, 1)) + self.diag
        variance = rows.var(-1) / k
        pairs = 2.0 * _interaction(self.x) / (k * (k - 1))
        if j:
            columns = 2.0 * (_row_effect(self.y) + self.z.mean(-2))
            crossed = self.z - self.z.mean(-1, True) - self.z.mean(-2, True) + self.z.mean((-1, -2), True)
            crossed_variance = crossed.square().sum((-1, -2)) / ((k - 1) * (j - 1))
            variance = variance + columns.var(-1) / j
            pairs = pairs + 2.0 * _interaction(self.y) / (j * (j - 1)) + 4.0 * crossed_variance / (k * j)
        return torch.maximum(variance - pairs, pairs).sqrt()

    def estimate(self) -> WithError:
        """Value and standard error."""
        return WithError(self.value(), self.se())


@dataclass(frozen=True)
class AgainstReference:
    """One gradient estimator e against a reference R, as forms; see :func:`paired`, :func:`independent`.

    ``norm2`` is ||E e||^2, ``reference2`` ||E R||^2, ``inner`` <E e, E R>, ``bias2`` ||E e - E R||^2,
    ``variance`` tr Cov of e for one sample.
    """

    norm2: Form
    reference2: Form
    inner: Form
    bias2: Form
    variance: Form

    def mse(self, n: int) -> WithError:
        """bias^2 + variance / n: mean squared distance of an n-sample gradient from the reference."""
        return (self.bias2 + (1.0 / n) * self.variance).estimate()

    def norm(self) -> WithError:
        """||E e||; 0 where the unbiased square is not positive."""
        return _root(self.norm2)

    def reference_norm(self) -> WithError:
        """||E R||; 0 where the unbiased square is not positive."""
        return _root(self.reference2)

    def cosine(self) -> WithError:
        """Cosine between E e and E R; NaN unless both squared norms exceed two standard errors."""
        inner, a, b = self.inner.value(), self.norm2.value(), self.reference2.value()
        seen = (a > 2 * self.norm2.se()) & (b > 2 * self.reference2.se())
        cosine = inner / torch.where(seen, a * b, torch.nan).sqrt()
        slope = (
            (cosine / inner) * self.inner
            + (-0.5 * cosine / a) * self.norm2
            + (-0.5 * cosine / b) * self.reference2
        )
        return WithError(cosine, slope.se())


def paired(own: Tensor, reference: Tensor, difference: Tensor, chunk_size: int) -> AgainstReference:
    """Compare with a reference computed on the same chunks of ``chunk_size`` samples.

    Shapes: all are chunk grams ``[..., K, K]``, of the estimator, of the reference and of their difference,
    which is given because subtracting two large grams would lose a small bias to rounding.
    Raises: ValueError with fewer than 4 chunks.
    Source: bias^2 = (||sum d_k||^2 - sum ||d_k||^2) / (K (K - 1)) over the chunk differences d_k.
    """
    _check_chunks(own.shape[-1])
    reference = reference.expand_as(own)
    return AgainstReference(
        norm2=_within(own),
        reference2=_within(reference),
        inner=_within(0.5 * (own + reference - difference)),
        bias2=_within(difference),
        variance=_variance(_within(own), own, chunk_size),
    )


def independent(own: Tensor, reference: Tensor, cross: Tensor, chunk_size: int) -> AgainstReference:
    """Compare with a reference computed on other, independent samples.

    Shapes: ``own [..., K, K]`` and ``reference [..., J, J]`` are chunk grams, ``cross [..., K, J]`` the inner
    products of the two's chunk means; ``chunk_size`` is the estimator's.
    Raises: ValueError with fewer than 4 chunks on either side.
    Source: ||a - b||^2 = ||a||^2 + ||b||^2 - 2 <a, b>, each term without its own noise.
    """
    _check_chunks(min(own.shape[-1], reference.shape[-1]))
    reference = reference.expand(*own.shape[:-2], *reference.shape[-2:])
    none_x, none_y, none_z = torch.zeros_like(own), torch.zeros_like(reference), torch.zeros_like(cross)
    diag = none_x[..., 0]
    norm2 = Form(own, diag, none_y, none_z)
    return AgainstReference(
        norm2=norm2,
        reference2=Form(none_x, diag, reference, none_z),
        inner=Form(none_x, diag, none_y, 0.5 * cross),
        bias2=Form(own, diag, reference, -cross),
        variance=_variance(norm2, own, chunk_size),
    )


def _within(gram: Tensor) -> Form:
    none = gram.new_zeros(*gram.shape[:-2], 0, 0)
    return Form(gram, torch.zeros_like(gram[..., 0]), none, gram.new_zeros(*gram.shape[:-1], 0))


def _variance(norm2: Form, own: Tensor, chunk_size: int) -> Form:
    # Chunk size times the spread of the chunk means: mean_k ||e_k||^2 - ||E e||^2, both unbiased.
    own_diag = own.diagonal(dim1=-2, dim2=-1)
    squares = Form(torch.zeros_like(own), own_diag, torch.zeros_like(norm2.y), torch.zeros_like(norm2.z))
    return float(chunk_size) * (squares + (-1.0) * norm2)


def _root(square: Form) -> WithError:
    value = square.value().clamp(min=0).sqrt()
    return WithError(value, (0.5 / value) * square.se())


def _check_chunks(chunks: int) -> None:
    if chunks < 4:
        raise ValueError(f"the estimators need at least 4 chunks on each side, got {chunks}")


def _mean(z: Tensor) -> Tensor:
    return z.sum((-1, -2)) / max(z.shape[-1] * z.shape[-2], 1)


def _off_mean(x: Tensor) -> Tensor:
    k = x.shape[-1]
    return (x.sum((-1, -2)) - x.diagonal(dim1=-2, dim2=-1).sum(-1)) / max(k * (k - 1), 1)


def _row_effect(x: Tensor) -> Tensor:
    # Least-squares row effects of the off-diagonal entries, which are also the jackknife's.
    k = x.shape[-1]
    rows = (x.sum(-1) - x.diagonal(dim1=-2, dim2=-1)) / (k - 1)
    return (rows - _off_mean(x)[..., None]) * ((k - 1) / (k - 2))


def _interaction(x: Tensor) -> Tensor:
    k = x.shape[-1]
    effect = _row_effect(x)
    rest = x - _off_mean(x)[..., None, None] - effect[..., :, None] - effect[..., None, :]
    off = ~torch.eye(k, dtype=torch.bool, device=x.device)
    return (rest * off).square().sum((-1, -2)) / (k * (k - 3))
