import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gipo_cli.core.health import (
    LAG_BUCKETS,
    effective_sample_size,
    explained_variance,
    health,
    kl_k3,
    proximal_health,
    trust_weight,
    utilisation,
)
from gipo_cli.core.objectives import Gipo, NoClip, PpoClip, Spo, evaluate

numbers = st.lists(st.floats(-50, 50), min_size=1, max_size=30).filter(
    lambda g: any(abs(x) > 1e-3 for x in g)
)


def test_effective_sample_size_by_hand():
    assert effective_sample_size(torch.tensor([2.0, 2.0, 2.0, 2.0])) == pytest.approx(1.0)
    assert effective_sample_size(torch.tensor([1.0, 0.0, 0.0, 0.0])) == pytest.approx(0.25)
    # (1 + 3)^2 / (2 (1 + 9)) = 0.8
    assert effective_sample_size(torch.tensor([[1.0], [3.0]])) == pytest.approx(0.8)
    assert math.isnan(effective_sample_size(torch.zeros(3)))
    assert math.isnan(effective_sample_size(torch.empty(0)))


@given(numbers, st.floats(1e-3, 1e3))
@settings(max_examples=50, deadline=None)
def test_effective_sample_size_is_a_share_and_has_no_scale(g, scale):
    values = torch.tensor(g, dtype=torch.float64)
    share = effective_sample_size(values)
    assert 0 <= share <= 1 + 1e-12
    assert effective_sample_size(values * scale) == pytest.approx(share, rel=1e-9, abs=1e-12)


def test_effective_sample_size_survives_coefficients_whose_squares_overflow():
    assert effective_sample_size(torch.tensor([1e38, 1e38])) == pytest.approx(1.0)


def test_utilisation_counts_by_size_whatever_the_sign():
    assert utilisation(torch.tensor([0.5, -0.5, 0.01, 0.0])) == 0.5
    assert math.isnan(utilisation(torch.empty(0)))


@pytest.mark.parametrize("log_r", [-3.0, -0.5, 0.0, 0.5, 3.0, 60.0, -60.0])
def test_trust_weight_is_what_the_objective_multiplies_r_by(log_r):
    log_prob, zero, one = torch.tensor([log_r]), torch.zeros(1), torch.ones(1)

    def weight(params):
        terms = evaluate(params, log_prob, zero, one)
        return float(trust_weight(terms.coefficient, terms.log_ratio))

    assert weight(NoClip()) == pytest.approx(1.0, rel=1e-5)
    gaussian = math.exp(-0.5 * log_r**2)
    assert weight(Gipo(sigma=1.0)) == pytest.approx(gaussian if abs(log_r) < 13 else 0.0, rel=1e-3, abs=1e-30)
    assert weight(PpoClip()) == pytest.approx(0.0 if log_r > math.log(1.2) else 1.0, rel=1e-5)
    if abs(log_r) < 5:
        assert weight(Spo(eps=0.2)) == pytest.approx(1 - (math.exp(log_r) - 1) / 0.2, rel=1e-4)


def test_health_by_hand():
    log_ratio = torch.tensor([[0.0, math.log(1.5)], [math.log(0.5), 0.0]])
    coefficient = torch.tensor([[1.0, 0.0], [0.5, 1.0]])
    advantage = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    found = health(log_ratio, coefficient, torch.tensor([0, 20]), advantage)
    assert found["health/utilisation"] == 0.75
    # (1 + .5 + 1)^2 / (4 (1 + .25 + 1))
    assert found["health/ess"] == pytest.approx(6.25 / 9.0)
    assert found["health/log_ratio_mean"] == pytest.approx((math.log(1.5) + math.log(0.5)) / 4)
    assert found["health/outside_band"] == 0.5
    assert found["health/chi2"] == pytest.approx((1 + 2.25 + 0.25 + 1) / 4 - 1)
    assert found["health/kl_k1"] == pytest.approx((math.log(2) - math.log(1.5)) / 4)
    assert found["health/kl_k3"] == pytest.approx(found["health/kl_k1"], abs=1e-6)  # the mean of r is 1
    assert found["health/ratio_max"] == pytest.approx(1.5)
    assert (found["health/damped_pos"], found["health/damped_neg"]) == (0.5, 0.0)
    assert found["health/weight_mean"] == pytest.approx((1 + 0 + 1 + 1) / 4)
    assert (found["health/lag_mean"], found["health/lag_max"]) == (10, 20)
    assert found["health/utilisation_lag_0"] == 0.5
    assert found["health/utilisation_lag_16_63"] == 1.0
    assert found["health/ess_lag_16_63"] == pytest.approx(2.25 / 2.5)
    assert math.isnan(found["health/utilisation_lag_64_up"])


def test_the_two_parts_of_a_decoupled_ratio_by_hand():
    log_ratio, step = torch.tensor([0.5, -0.5, 0.1]), torch.tensor([0.3, -0.3, 0.0])
    parts = {"prox": torch.tensor([0.9, 1.0, 1.0]), "data": torch.tensor([1.0, 0.5, 1.0])}
    found = proximal_health(log_ratio, step, parts, torch.tensor([1.0, -1.0, 1.0]))
    # y is .3, -.3 and 0; z is .2, -.2 and .1; e^.3 + e^-.3 - 2 = .0906768.
    assert found["health/kl_prox"] == pytest.approx(0.0906768 / 3, abs=1e-6)
    assert found["health/log_ratio_prox_rms"] == pytest.approx(math.sqrt(0.18 / 3))
    assert found["health/log_ratio_data_rms"] == pytest.approx(math.sqrt(0.09 / 3))
    assert (found["health/damped_prox_pos"], found["health/damped_prox_neg"]) == (0.5, 0.0)
    assert (found["health/damped_data_pos"], found["health/damped_data_neg"]) == (0.0, 1.0)


def test_quantiles_are_of_the_absolute_log_ratio():
    log_ratio = torch.cat([torch.linspace(-1, 0, 101), torch.linspace(0, 1, 101)])
    found = health(log_ratio, torch.ones(202), torch.zeros(202), torch.ones(202))
    assert found["health/log_ratio_abs_p50"] == pytest.approx(0.5, abs=0.01)
    assert found["health/log_ratio_abs_p95"] == pytest.approx(0.95, abs=0.01)
    assert found["health/log_ratio_abs_p99"] == pytest.approx(0.99, abs=0.01)


@given(st.integers(0, 10**6))
def test_every_lag_is_in_exactly_one_bucket(lag):
    assert sum(low <= lag <= high for low, high in LAG_BUCKETS.values()) == 1


def test_k3_is_unbiased_for_the_divergence_of_two_gaussians():
    torch.manual_seed(0)
    x = torch.randn(400_000, dtype=torch.float64)
    mu, pi = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.3, 1.2)
    estimate = kl_k3(pi.log_prob(x) - mu.log_prob(x))
    exact = torch.distributions.kl_divergence(mu, pi)
    assert float(estimate) == pytest.approx(float(exact), rel=0.02)


def test_explained_variance_ends():
    target = torch.tensor([1.0, 2.0, 3.0])
    assert explained_variance(target, target) == 1.0
    assert explained_variance(torch.zeros(3), target) == 0.0
    assert explained_variance(-target, target) == pytest.approx(-3.0)
    assert math.isnan(explained_variance(target, torch.ones(3)))


def test_quantiles_of_more_numbers_than_torch_takes():
    n = 2**24 + 1
    log_ratio = torch.arange(n, dtype=torch.float32) / (n - 1)
    found = health(log_ratio, torch.exp(log_ratio), torch.zeros(n, dtype=torch.int32), torch.ones(n))
    assert found["health/log_ratio_abs_p95"] == pytest.approx(0.95, abs=1e-6)
    assert found["health/weight_p05"] == pytest.approx(1.0)


def test_the_band_is_that_of_ppos_usual_clip():
    log_ratio = torch.tensor([0.76, 0.79, 0.81, 1.0, 1.19, 1.21, 1.24, 1.26]).log()
    found = health(log_ratio, torch.ones(8), torch.zeros(8), torch.ones(8))
    assert found["health/outside_band"] == 5 / 8


@pytest.mark.parametrize("lag", [0, 1, 3, 4, 15, 16, 63, 64, 1000])
def test_every_lag_is_in_the_bucket_that_its_name_says(lag):
    found = health(torch.zeros(1), torch.ones(1), torch.tensor([lag]), torch.ones(1))
    (name,) = (k for k, v in found.items() if k.startswith("health/ess_lag_") and v == 1.0)
    low, _, high = name.removeprefix("health/ess_lag_").partition("_")
    assert int(low) <= lag <= (math.inf if high == "up" else int(high or low))
