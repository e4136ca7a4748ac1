"""The live measurement against the exact study, and its contract."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gipo_cli.analysis.gridworld import Pairs, moments, pair_up, random_pairs, visitation
from gipo_cli.analysis.probe import ProbeBatch, ProbeRow, grid_from, least_mse, run_probe
from gipo_cli.core.objectives import Gipo, NoClip, ObjectiveParams, PpoClip, PpoKl, Sapo, Spo, Tis
from gipo_cli.runs.catalog import DIAGNOSTIC_COLUMNS
from gipo_cli.settings.schema import DiagnosticsConfig

GRID: list[ObjectiveParams] = [
    NoClip(),
    PpoClip(eps=0.2),
    Sapo(tau_pos=1.0, tau_neg=2.0),
    Tis(c=0.7),
    Spo(eps=0.5),
    Gipo(sigma=0.3),
    Gipo(sigma=1.0, neg_ratio=0.5),
]


class Softmax(nn.Module):
    """The GridWorld's policy as a linear layer on one-hot states."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.table = nn.Linear(3, 4, bias=False)
        self.table.weight = nn.Parameter(logits.T.float().clone())

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.table(obs).log_softmax(-1).gather(-1, action)

    def actor_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters())


def draw(pairs: Pairs, policy: Tensor, share: Tensor, n: int, generator: torch.Generator) -> ProbeBatch:
    """n transitions with (s, a) ~ share, exact advantages, and log ``policy`` as behaviour."""
    picks = torch.multinomial(share.flatten(), n, True, generator=generator)
    s, a = picks // 4, picks % 4
    return ProbeBatch(
        torch.eye(3)[s], a[:, None], policy[s, a, None].float(), pairs.advantage[0].flatten()[picks].float()
    )


def numbers(rows: list[ProbeRow], column: str) -> np.ndarray:
    return np.array([getattr(row, column) for row in rows])


@pytest.mark.parametrize("ratio", ["joint", "per_dimension"])
def test_sampled_gridworld_reproduces_the_exact_bias_and_variance(ratio: str) -> None:
    pairs = random_pairs(1, 2.0, 11)
    policy = Softmax(pairs.log_pi[0])
    generator = torch.Generator().manual_seed(0)
    pi = pairs.log_pi.exp()
    on_policy_share = visitation(pi)[0, :, None] * pi[0]
    repeats = []
    for _ in range(60):
        probe = draw(pairs, pairs.log_mu[0], pairs.weight[0], 2048, generator)
        fresh = draw(pairs, pairs.log_pi[0], on_policy_share, 500, generator)
        repeats.append(
            run_probe(
                policy,
                probe,
                fresh,
                trained=Gipo(sigma=0.3),
                grid=GRID,
                ratio=ratio,
                chunks=32,
                batch_size=256,
            )
        )
    truth: dict[str, list[float]] = {"bias2": [], "variance": [], "mse": [], "cosine": [], "norm": []}
    for reference in (pairs.reference, pair_up(pairs.log_pi, pairs.log_pi).reference):
        for objective in GRID:
            exact = moments(pairs, objective)
            bias2 = (exact.mean - reference).square().sum().item()
            norm = exact.mean.square().sum().sqrt().item()
            truth["bias2"].append(bias2)
            truth["variance"].append(exact.variance.item())
            truth["mse"].append(bias2 + exact.variance.item() / 256)
            truth["norm"].append(norm)
            truth["cosine"].append(
                (exact.mean * reference).sum().item() / norm / reference.square().sum().sqrt().item()
            )
    for column, expected in truth.items():
        got = np.stack([numbers(rows, column) for rows in repeats])
        if column in ("cosine", "norm"):
            # Ratios and roots of unbiased numbers are consistent only, and absent where noise hides them.
            assert np.abs(np.nanmedian(got, 0) - expected).max() < 0.1, column
            continue
        mean, se = got.mean(0), got.std(0, ddof=1) / math.sqrt(len(got)) + 1e-7
        assert (np.abs(mean - expected) < 4 * se).all(), column
        claimed = np.sqrt((np.stack([numbers(rows, column + "_se") for rows in repeats]) ** 2).mean(0))
        spread = got.std(0, ddof=1)
        assert (claimed > 0.7 * spread - 1e-7).all(), column
        assert (claimed < 1.6 * spread + 1e-7).all(), column


def small_case(n: int = 64, fresh: int = 20) -> tuple[Softmax, ProbeBatch, ProbeBatch]:
    pairs = random_pairs(1, 1.0, 3)
    generator = torch.Generator().manual_seed(1)
    probe = draw(pairs, pairs.log_mu[0], pairs.weight[0], n, generator)
    return Softmax(pairs.log_pi[0]), probe, draw(pairs, pairs.log_pi[0], pairs.weight[0], fresh, generator)


def run(
    case: tuple[Softmax, ProbeBatch, ProbeBatch], grid: list[ObjectiveParams], chunks: int = 8
) -> list[ProbeRow]:
    return run_probe(*case, trained=Gipo(), grid=grid, ratio="joint", chunks=chunks, batch_size=16)


def test_rows_name_their_estimator_and_mark_the_trained_one() -> None:
    rows = run(small_case(), [NoClip(), Gipo(), Gipo(sigma=1.0)])
    assert [(r.reference, r.family, r.knob, r.value, r.trained) for r in rows] == [
        (reference, *rest)
        for reference in ("importance_sampled", "on_policy")
        for rest in [("no_clip", "", None, 0), ("gipo", "sigma", 0.5, 1), ("gipo", "sigma", 1.0, 0)]
    ]
    assert {(r.n, r.batch_size) for r in rows} == {(64, 16)}
    # Against itself the importance-sampled gradient has no bias at all.
    assert rows[0].bias2 == 0.0
    assert rows[0].norm == rows[0].reference_norm


def test_a_record_has_the_columns_of_the_file_and_empty_cells_for_nan() -> None:
    row = run(small_case(), [NoClip()])[0]
    record = dataclasses.replace(row, cosine=math.nan).record(500)
    assert tuple(record) == DIAGNOSTIC_COLUMNS
    assert record["step"] == 500
    assert record["cosine"] is None
    assert record["value"] is None


def test_a_number_does_not_depend_on_what_else_is_measured() -> None:
    case = small_case()
    alone = run(case, [Gipo(sigma=0.3)])
    among = run(case, [*GRID])
    for row in alone:
        match = next(r for r in among if (r.reference, r.family, r.value) == (row.reference, "gipo", 0.3))
        for field in ("bias2", "variance", "mse", "norm", "utilisation", "ess"):
            assert getattr(match, field) == pytest.approx(getattr(row, field), rel=1e-4, abs=1e-9)


def test_uneven_sizes_use_whole_chunks_only() -> None:
    policy, probe, fresh = small_case(67, 21)
    rows = run((policy, probe, fresh), [Gipo()])
    assert rows[0].n == 64
    assert str(run((policy, probe.take(slice(64)), fresh), [Gipo()])) == str(rows)


def test_the_fresh_gradient_does_not_depend_on_how_its_chunks_are_filled_up() -> None:
    pairs = random_pairs(1, 1.0, 3)
    generator = torch.Generator().manual_seed(5)
    policy = Softmax(pairs.log_pi[0])
    fresh = draw(pairs, pairs.log_pi[0], pairs.weight[0], 36, generator)
    fresh = dataclasses.replace(fresh, advantage=fresh.advantage + 3.0 * (fresh.action[:, 0] == 1))
    norms = []
    for n in (72, 128):  # chunks of 9 fit the four fresh chunks of 9; chunks of 16 are filled up
        probe = draw(pairs, pairs.log_mu[0], pairs.weight[0], n, generator)
        norms.append(run((policy, probe, fresh), [Gipo()])[-1].reference_norm)
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(norms[0], rel=1e-5)


def test_per_dimension_averages_over_the_dimensions() -> None:
    class Doubled(Softmax):
        def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
            return super().log_prob(obs, action).expand(-1, 2)

    single, probe, fresh = small_case()
    double = Doubled(single.table.weight.T)
    wide = [
        dataclasses.replace(b, behaviour_log_prob=b.behaviour_log_prob.expand(-1, 2)) for b in (probe, fresh)
    ]
    settings = {"trained": Gipo(), "grid": GRID, "ratio": "per_dimension", "chunks": 8, "batch_size": 16}
    once, twice = run_probe(single, probe, fresh, **settings), run_probe(double, *wide, **settings)
    for column in ("variance", "mse", "norm", "reference_norm", "ess"):
        assert numbers(twice, column) == pytest.approx(numbers(once, column), rel=1e-4, abs=1e-6)


def test_nan_ratios_give_nan_rows_and_leave_the_others_alone() -> None:
    policy, probe, fresh = small_case()
    far = dataclasses.replace(probe, behaviour_log_prob=probe.behaviour_log_prob - 200.0)
    row = run((policy, far, fresh), [Gipo(), Tis()])[-1]
    assert row.reference == "on_policy"
    assert math.isfinite(row.bias2)


@pytest.mark.parametrize(("n", "fresh", "chunks"), [(7, 20, 8), (64, 3, 8), (64, 20, 3)])
def test_too_little_data_is_refused(n: int, fresh: int, chunks: int) -> None:
    with pytest.raises(ValueError, match="at least 4 chunks"):
        run(small_case(n, fresh), [Gipo()], chunks)


def test_the_grid_holds_the_trained_objective_and_its_style() -> None:
    config = DiagnosticsConfig(gipo_sigma=[0.2, 0.5], sapo_tau=[2.0])
    trained = Gipo(sigma=0.3, neg_ratio=0.5, kernel="laplacian")
    grid = grid_from(config, trained)
    assert trained in grid
    assert {g.sigma for g in grid if isinstance(g, Gipo)} == {0.2, 0.5, 0.3}
    assert all(g.kernel == "laplacian" and g.neg_ratio == 0.5 for g in grid if isinstance(g, Gipo))
    assert grid.count(Gipo(sigma=0.5)) == 0
    sapo = next(g for g in grid_from(config, Sapo(tau_pos=1.0, tau_neg=3.0)) if isinstance(g, Sapo))
    assert (sapo.tau_pos, sapo.tau_neg) == (2.0, 6.0)
    assert PpoKl(beta=2.0) in grid_from(config, PpoKl(beta=2.0))
    assert len(grid_from(config, Gipo(sigma=0.5))) == len(grid_from(config, trained)) - 1


def test_least_mse_picks_per_family_and_reference() -> None:
    rows = run(small_case(), [*GRID])
    best = least_mse(rows, "on_policy")
    assert set(best) == {"no_clip", "ppo_clip", "sapo", "tis", "spo", "gipo"}
    gipo = [r.mse for r in rows if r.family == "gipo" and r.reference == "on_policy"]
    assert best["gipo"].mse == min(gipo)
