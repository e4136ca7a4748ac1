"""``gipo diagnose``: both targets through the command line, on real runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gipo_cli.cli import app
from gipo_cli.diagnostics.catalog import DIAGNOSTIC_COLUMNS
from gipo_cli.errors import UserError


def call(*words: object) -> str:
    result = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=True)
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny runs: one whose checkpoints kept their buffer, one without."""
    root = tmp_path_factory.mktemp("runs")
    for name, keep in (("kept", "true"), ("dropped", "false")):
        call(
            "train", "env=gymnasium", "env.id=Pendulum-v1", "total_steps=256", "buffer.size=128",
            "agent.rollout_steps=64", "agent.update.batch_size=32", "checkpoint.interval=128",
            "checkpoint.every=128", f"checkpoint.buffer={keep}", "eval.interval=null", "eval.episodes=1",
            "logging.tensorboard=false",
            "--runs", root, "--name", name, "--quiet",
        )  # fmt: skip
    return root


def test_a_finished_run_is_measured_with_another_grid(runs: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in (runs / "kept").rglob("*") if p.is_file()}
    out = tmp_path / "out"
    said = call(
        "diagnose", "kept", "--runs", runs, "--out", out, "--chunks", 4, "--probe-size", 64,
        "--gipo-sigma", 0.3, "--gipo-sigma", 3.0,
    )  # fmt: skip
    with (out / "diagnostics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == DIAGNOSTIC_COLUMNS
    assert {r["step"] for r in rows} == {"128", "256"}
    assert {r["value"] for r in rows if r["family"] == "gipo"} == {
        "0.3",
        "3.0",
        "0.5",
    }  # 0.5 is being trained
    assert {r["reference"] for r in rows} == {"importance_sampled", "on_policy"}
    assert sum(r["trained"] == "1" for r in rows) == 4
    assert all(float(r["variance"]) > 0 for r in rows)
    for name in ("frontiers.png", "frontiers.svg", "best_knobs.png", "best_knobs.svg"):
        assert (out / name).stat().st_size > 1000
    lines = [line.split() for line in said.splitlines()]
    assert "in a batch of 32," in said
    assert ["step", "objective", "importance_sampled", "on_policy"] in lines
    least = min(
        (r for r in rows if (r["step"], r["reference"], r["family"]) == ("256", "on_policy", "gipo")),
        key=lambda r: float(r["mse"]),
    )
    words = next(line for line in lines if line[:2] == ["256", "gipo*"])
    assert words[-2:] == [f"{float(least['mse']):.3g}", f"sigma={float(least['value']):g}"]
    assert max(map(len, said.splitlines()[:-1])) <= 80
    assert {p: p.read_bytes() for p in (runs / "kept").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dropped"], "checkpoint.buffer=true"),
        (["kept", "--gipo-sigma", "-1"], "--gipo-sigma -1.0 is out of range: it must be > 0"),
        (["kept", "--ppo-eps", "1"], "--ppo-eps 1.0 is out of range: it must be > 0 and < 1"),
        (["kept", "--gipo-sigma", "0.1,0.2"], "repeat the option: --gipo-sigma 0.1 --gipo-sigma 0.2"),
        (["kept", "--tis-c", "one"], "--tis-c takes one number, not 'one'; write --tis-c 0.5"),
        (["kept", "--checkpoint", "77"], "no checkpoint of step 77"),
        (["kept", "--pairs", "5"], "--pairs goes with gridworld"),
        (["nothere"], "no run 'nothere'"),
        (["gridworld", "--chunks", "8"], "--chunks goes with a run"),
        (["gridworld", "--pairs", "1"], "at least 2 pairs"),
    ],
)
def test_mistakes_are_named(runs: Path, tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call("diagnose", *words, "--runs", runs, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_in_use_is_left_alone(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for target in ("gridworld", "kept"):
        with pytest.raises(UserError, match="is not overwritten"):
            call("diagnose", target, "--runs", runs, "--out", tmp_path)


def test_the_gridworld_study_writes_what_it_says(tmp_path: Path) -> None:
    out = tmp_path / "study"
    said = call("diagnose", "gridworld", "--pairs", 4, "--points", 8, "--monte-carlo", "--out", out)
    for rival in ("ppo_clip", "sapo", "tis", "cispo", "spo", "ppo_kl", "ppo_dual_clip", "no_clip"):
        assert f"## Against {rival}" in said
    summary = json.loads((out / "gridworld.json").read_text())
    assert summary["arguments"] == {"pairs": 4, "points": 8, "seed": 0}
    assert {d["scale"] for d in summary["duels"]} == {"raw", "scale_free"}
    assert all(d["lower"] + d["equal"] + d["higher"] == pytest.approx(1.0) for d in summary["duels"])
    # 168 checks: beyond 5 standard errors of 200,000 samples is an error, not bad luck.
    assert max(abs(c["z"]) for c in summary["monte_carlo"]) < 5.0
    with (out / "gridworld.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 * (11 * 8 + 1)
    exact = [r for r in rows if r["family"] == "no_clip"]
    assert all(float(r["bias2_p50"]) < 1e-20 for r in exact)
    for name in ("frontiers", "frontiers_variants", "duels"):
        assert (out / f"{name}.png").stat().st_size > 1000
        assert (out / f"{name}.svg").stat().st_size > 1000
