"""``gipo diagnose``: both targets through the command line, on real runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from command import gipo
from typer.testing import CliRunner

from gipo_cli.analysis.exact_study import CASES
from gipo_cli.commands.app import app
from gipo_cli.errors import UserError
from gipo_cli.runs.catalog import DIAGNOSTIC_COLUMNS
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.layout import RunDir
from gipo_cli.training.loading import load_agent


def call(*words: object) -> str:
    result = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=True)
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def train(root: Path, name: str, *more: str) -> None:
    call(
        "train", "env=gymnasium", "env.id=Pendulum-v1", "total_steps=256", "buffer.size=128",
        "agent.rollout_steps=64", "agent.update.batch_size=32", "checkpoint.interval=128",
        "checkpoint.every=128", "checkpoint.buffer=true", "eval.interval=null", "eval.episodes=1",
        "logging.tensorboard=false", *more,
        "--runs", root, "--name", name, "--quiet",
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny runs: one whose checkpoints kept their buffer, one without."""
    root = tmp_path_factory.mktemp("runs")
    train(root, "kept")
    train(root, "dropped", "checkpoint.buffer=false")
    return root


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of the time, and two tests are enough to look at them."""
    monkeypatch.setattr("gipo_cli.analysis.diagnosis.drawn", lambda *_: {})


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
    assert ["step", "256", "importance_sampled", "on_policy"] in lines
    least = min(
        (r for r in rows if (r["step"], r["reference"], r["family"]) == ("256", "on_policy", "gipo")),
        key=lambda r: float(r["mse"]),
    )
    words = [line for line in said.splitlines() if line.split()[:1] == ["gipo*"]][-1]
    assert f"{float(least['mse']):.3g} ± {float(least['mse_se']):.2g}" in words
    assert words.rstrip("!").endswith(f" sigma={float(least['value']):g}")
    assert max(map(len, said.splitlines()[:-1])) <= 80
    assert {p: p.read_bytes() for p in (runs / "kept").rglob("*") if p.is_file()} == before


@pytest.mark.usefixtures("no_figures")
def test_advantages_are_formed_anew_with_the_checkpoints_critic(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in the checkpoint were formed before its last update."""
    from gipo_cli.analysis import diagnosis

    measured, measure = [], diagnosis.measure_buffer

    def remember(policy: Any, buffer: Any, config: Any, step: int, device: Any) -> Any:
        measured.append((buffer, buffer.advantage.copy()))
        return measure(policy, buffer, config, step, device)

    monkeypatch.setattr(diagnosis, "measure_buffer", remember)
    small = ("--chunks", 4, "--probe-size", 64)
    call("diagnose", "kept", "--runs", runs, "--checkpoint", 256, "--out", tmp_path / "out", *small)
    ((buffer, advantage),) = measured
    agent, _, _ = load_agent(runs / "kept", "256", "cpu")
    agent.learner.updater.refresh_advantages(buffer)
    assert (buffer.advantage == advantage).all()
    stored = CheckpointStore(RunDir(runs / "kept").checkpoints).load(256)
    assert not (stored.arrays["buffer"]["advantage"] == advantage).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dropped"], "holds no buffer; train with checkpoint.buffer=true"),
        (["kept", "--gipo-sigma", "-1"], "--gipo-sigma -1.0 is out of range: it must be > 0"),
        (["kept", "--ppo-eps", "1"], "--ppo-eps 1.0 is out of range: it must be > 0 and < 1"),
        (["kept", "--gipo-sigma", "0.1,0.2"], "repeat the option: --gipo-sigma 0.1 --gipo-sigma 0.2"),
        (["kept", "--tis-c", "one"], "--tis-c takes one number, not 'one'; write --tis-c 0.5"),
        (["kept", "--checkpoint", "77"], "no checkpoint of step 77"),
        (["kept", "--pairs", "5"], "--pairs goes with gridworld"),
        (["kept", "--pairs", "0"], "invalid value for '--pairs': Input should be greater than or equal to 2"),
        (["kept", "--seed", "0"], "--seed goes with gridworld"),
        (["kept", "--chunks", "0"], "--chunks 0 is out of range: it must be >= 4"),
        (["kept", "--probe-size", "0"], "--probe-size 0 is out of range: it must be >= 64"),
        (["kept", "--device", "gpu"], "--device gpu is not one of auto, cpu, cuda (did you mean cuda"),
        (["gridworld", "--probe-size", "0"], "--probe-size goes with a run"),
        (
            ["gridworld", "--points", "3"],
            "invalid value for '--points': Input should be greater than or equal to 4",
        ),
        (["nothere"], "no run 'nothere'"),
        (["gridworld", "--chunks", "8"], "--chunks goes with a run"),
        (
            ["gridworld", "--pairs", "1"],
            "invalid value for '--pairs': Input should be greater than or equal to 2",
        ),
    ],
)
def test_mistakes_are_named(runs: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = gipo("diagnose", *words, "--runs", runs, "--out", tmp_path / "out", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_figures")
def test_what_too_few_probe_rows_suggest_works(runs: Path, tmp_path: Path) -> None:
    words = ("diagnose", "kept", "--runs", runs, "--out", tmp_path / "out", "--probe-size", 64, "--chunks")
    with pytest.raises(UserError, match="64 probe rows are too few for 65 chunks; type --chunks 64 or"):
        call(*words, 65)
    call(*words, 64)


def test_an_output_folder_in_use_is_left_alone(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for target in ("gridworld", "kept"):
        with pytest.raises(UserError, match=r"is no earlier (study|diagnosis), so it is left alone"):
            call("diagnose", target, "--runs", runs, "--out", tmp_path)
    with pytest.raises(UserError, match="no checkpoint of step 77; it holds: 128, 256"):
        call("diagnose", "kept", "--runs", runs, "--out", tmp_path, "--checkpoint", 77)


def test_the_folder_of_a_run_is_no_earlier_diagnosis(runs: Path) -> None:
    """It holds a file diagnostics.csv as well."""
    before = (runs / "kept" / "diagnostics.csv").read_bytes()
    with pytest.raises(UserError, match="is no earlier diagnosis"):
        call("diagnose", "dropped", "--runs", runs, "--out", runs / "kept")
    assert (runs / "kept" / "diagnostics.csv").read_bytes() == before


@pytest.mark.usefixtures("no_figures")
def test_an_earlier_diagnosis_is_replaced(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    small = ["--chunks", 4, "--probe-size", 64, "--checkpoint", 256]
    call("diagnose", "kept", "--runs", runs, "--out", out, *small)
    (out / "notes.txt").write_text("mine")
    files = sorted(path.name for path in out.iterdir())
    call("diagnose", "kept", "--runs", runs, "--out", out, *small, "--gipo-sigma", 7)
    with (out / "diagnostics.csv").open() as file:
        assert "7.0" in {row["value"] for row in csv.DictReader(file)}
    assert sorted(path.name for path in out.iterdir()) == files


def test_a_link_is_no_place_for_a_diagnosis(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "there")
    for target in ("gridworld", "kept"):
        with pytest.raises(UserError, match=f"{tmp_path / 'out'} is a link, and gipo writes through none"):
            call("diagnose", target, "--runs", runs, "--out", tmp_path / "out")
    assert not any((tmp_path / "there").iterdir())


def test_the_gridworld_study_writes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One of the seven settings.
    monkeypatch.setattr("gipo_cli.analysis.exact_study.CASES", CASES[5:6])
    out = tmp_path / "study"
    said = call("diagnose", "gridworld", "--pairs", 4, "--points", 8, "--monte-carlo", "--out", out)
    verdict = (out / "verdict.md").read_text()
    found = json.loads((out / "gridworld.json").read_text())
    for rival in ("ppo_clip", "sapo", "tis", "cispo", "spo", "ppo_kl", "ppo_dual_clip", "no_clip"):
        assert f"## Against {rival}" in verdict
        (line,) = (line for line in said.splitlines() if line.split()[0:1] == [rival])
        ratios = [d["variance_ratio"] for d in found["duels"] if (d["scale"], d["rival"]) == ("raw", rival)]
        assert f"  {min(ratios):.2f}-{max(ratios):.2f}  " in line
    assert max(map(len, said.splitlines()[:-2])) <= 80
    assert len(said.splitlines()) < 40
    assert str(out / "verdict.md") in said
    for text in (said, verdict):
        assert "Only 4 policy pairs per setting" in text
        assert "34 exact numbers against 200,000 samples" in " ".join(text.split())
    assert found["arguments"] == {"pairs": 4, "points": 8, "seed": 0}
    assert {d["scale"] for d in found["duels"]} == {"raw", "scale_free"}
    assert all(d["lower"] + d["equal"] + d["higher"] == pytest.approx(1.0) for d in found["duels"])
    # 34 checks: beyond 5 standard errors of 200,000 samples is an error, not bad luck.
    assert max(abs(c["z"]) for c in found["monte_carlo"]) < 5.0
    with (out / "gridworld.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14 * 8 + 3
    exact = [r for r in rows if r["family"] == "no_clip"]
    assert all(float(r["bias2_p50"]) < 1e-20 for r in exact)
    for name in ("frontiers", "frontiers_variants", "duels"):
        assert (out / f"{name}.png").stat().st_size > 1000
        assert (out / f"{name}.svg").stat().st_size > 1000
