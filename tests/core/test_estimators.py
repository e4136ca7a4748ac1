"""The estimators against known means by simulation, and against the formula for explicit vectors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gipo_cli.core.estimators import (
    AgainstReference,
    WithError,
    _interaction,
    chunk_gram,
    independent,
    paired,
)

REPEATS, K, J, M, P = 4000, 16, 8, 5, 6


def draw(
    generator: torch.Generator, mean: Tensor, scale: float, chunks: int, size: int
) -> tuple[Tensor, Tensor]:
    """Chunk means ``[REPEATS, chunks, P]`` of skewed samples with that mean, and their tr Cov."""
    spread = scale * torch.linspace(0.2, 1.5, P, dtype=torch.float64)
    x = torch.empty(REPEATS, chunks, size, P, dtype=torch.float64).exponential_(generator=generator) - 1.0
    return mean + (spread * x).mean(2), spread.square().sum()


def case(bias: float) -> tuple[AgainstReference, AgainstReference, Tensor, dict[str, float]]:
    """Paired and independent comparisons of an estimator whose bias has that norm."""
    generator = torch.Generator().manual_seed(3)
    direction = torch.ones(P, dtype=torch.float64) / math.sqrt(P)
    target = torch.tensor([1.0, -0.5, 0.2, 0.0, 0.3, 0.8], dtype=torch.float64)
    reference, _ = draw(generator, target, 1.0, K, M)
    shift, shift_variance = draw(generator, bias * direction, 0.7, K, M)
    own = reference + shift
    fresh, _ = draw(generator, target, 0.8, J, M)
    mean = target + bias * direction
    truth = {
        "bias2": bias**2,
        "variance": float(torch.linspace(0.2, 1.5, P, dtype=torch.float64).square().sum() + shift_variance),
        "norm2": float(mean.square().sum()),
        "reference2": float(target.square().sum()),
        "inner": float(mean @ target),
    }
    return (
        paired(chunk_gram(own), chunk_gram(reference), chunk_gram(own - reference), M),
        independent(chunk_gram(own), chunk_gram(fresh), own @ fresh.transpose(-1, -2), M),
        (own - reference).mean(1).square().sum(-1),
        truth,
    )


def z_score(values: Tensor, truth: float) -> float:
    return float((values.mean() - truth) / (values.std() / math.sqrt(len(values))))


def calibration(estimate: WithError) -> float:
    return float(estimate.se.square().mean().sqrt() / estimate.value.std())


def coverage(estimate: WithError, truth: float) -> float:
    return float(((estimate.value - truth).abs() < 2 * estimate.se).double().mean())


@pytest.mark.parametrize("bias", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("which", [0, 1], ids=["paired", "independent"])
def test_every_form_is_unbiased_and_its_standard_error_calibrated(bias: float, which: int) -> None:
    *comparisons, _, truth = case(bias)
    comparison = comparisons[which]
    for name, expected in truth.items():
        estimate = getattr(comparison, name).estimate()
        assert abs(z_score(estimate.value, expected)) < 4.0, name
        # Where there is next to no bias its standard error may be too large, never too small.
        assert 0.9 < calibration(estimate) < (1.4 if name == "bias2" else 1.12), name
        assert coverage(estimate, expected) > 0.85, name
    mse = comparison.mse(40)
    assert abs(z_score(mse.value, truth["bias2"] + truth["variance"] / 40)) < 4.0
    assert 0.9 < calibration(mse) < 1.4


def test_the_plain_squared_norm_is_biased_upwards_by_variance_over_n() -> None:
    comparison, _, plain, truth = case(0.3)
    assert z_score(plain, truth["bias2"]) > 20.0
    spread = torch.linspace(0.2, 1.5, P, dtype=torch.float64)
    excess = 0.49 * float(spread.square().sum()) / (K * M)
    assert abs(z_score(plain, truth["bias2"] + excess)) < 4.0
    assert (comparison.bias2.value() < 0).any()  # the price of no bias: it can be negative


@pytest.mark.parametrize("which", [0, 1], ids=["paired", "independent"])
def test_cosine_and_norms_are_consistent_and_calibrated(which: int) -> None:
    *comparisons, _, truth = case(2.0)
    comparison = comparisons[which]
    cosine = truth["inner"] / math.sqrt(truth["norm2"] * truth["reference2"])
    for estimate, expected in [
        (comparison.cosine(), cosine),
        (comparison.norm(), math.sqrt(truth["norm2"])),
        (comparison.reference_norm(), math.sqrt(truth["reference2"])),
    ]:
        assert float(estimate.value.mean()) == pytest.approx(expected, rel=0.02)
        assert calibration(estimate) == pytest.approx(1.0, abs=0.15)


def test_bias_agrees_with_the_formula_for_explicit_vectors() -> None:
    d = torch.tensor([[1.0, 0.0], [3.0, 2.0], [-1.0, 4.0], [1.0, 2.0]], dtype=torch.float64)
    # ||sum||^2 = 4^2 + 8^2 = 80, sum of squares 1 + 13 + 17 + 5 = 36, so (80 - 36) / 12.
    bias2 = paired(chunk_gram(d), torch.zeros(4, 4, dtype=torch.float64), chunk_gram(d), 1).bias2
    assert bias2.value().item() == pytest.approx(44 / 12, abs=1e-14)
    # Samples of one chunk each: the usual sample covariance.
    variance = paired(chunk_gram(d), chunk_gram(d), chunk_gram(d - d), 1).variance
    assert variance.value().item() == pytest.approx(d.var(0).sum().item(), abs=1e-14)


def test_undetectable_signal_has_no_cosine_and_norm_zero() -> None:
    noise = torch.eye(6, dtype=torch.float64) - 0.1
    comparison = paired(noise, noise, torch.zeros_like(noise), 1)
    assert comparison.norm().value.item() == 0.0
    assert math.isnan(comparison.cosine().value.item())


def test_too_few_chunks_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 chunks"):
        paired(torch.eye(3), torch.eye(3), torch.eye(3), 1)
    with pytest.raises(ValueError, match="at least 4 chunks"):
        independent(torch.eye(8), torch.eye(3), torch.zeros(8, 3), 1)


def test_the_interaction_of_few_chunks_is_unbiased() -> None:
    """Symmetric noise of variance 1 without row effects: its interaction is that variance."""
    noise = torch.randn(20_000, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.triu(noise, 1)
    found = _interaction(x + x.transpose(1, 2)).mean()
    assert float(found) == pytest.approx(1.0, abs=0.02)
