"""``gipo show``."""

from __future__ import annotations

from pathlib import Path

import pytest
from listing_harness import printed, run_folder

from gipo_cli.commands.show import show_run
from gipo_cli.runs.durable import write_sealed
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.manifest import trust_flag

METRICS = "step,health/utilisation,health/ess,health/lag_mean\n"


def whole(root: Path, name: str = "whole", *overrides: str, state: str = "done") -> RunDir:
    """A run with all of its files."""
    run = run_folder(root, name, *overrides, step=800, state=state)
    run.metrics.write_text(METRICS + "400,0.1,0.2,0.3\n800,0.73,0.535,4.56\n")
    run.evaluations.write_text("step\n800\n")
    for checkpoint in (400, 800):
        (run.checkpoints / f"step_{checkpoint:012d}").mkdir(parents=True)
    return run


def shown(monkeypatch: pytest.MonkeyPatch, run: RunDir, root: Path) -> str:
    return printed(monkeypatch, 80, show_run, run, root)


def test_show_prints_the_newest_numbers_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = whole(tmp_path)
    with run.metrics.open("a") as file:
        file.write("900,0.9")  # a row that is being written
    rows = [" ".join(line.split()) for line in shown(monkeypatch, run, tmp_path).splitlines()]
    for row in ("utilisation 73%", "effective sample size 0.54", "policy lag 4.6"):
        assert row in rows
    assert not any("damaged" in row for row in rows)


@pytest.mark.parametrize("name", ["metrics.csv", "eval.csv"])
def test_show_says_which_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    run = whole(tmp_path)
    (run.path / name).unlink()
    assert f"damaged: {name} is missing\n" in shown(monkeypatch, run, tmp_path)
    # Nothing is to be expected of a run that has not begun.
    young = run_folder(tmp_path, "young", step=0, state="interrupted")
    assert "damaged" not in shown(monkeypatch, young, tmp_path)


@pytest.mark.parametrize("text", [METRICS + "400,0.1,0.2,0.3\n", METRICS, "\0garbage", ""])
def test_show_says_that_measurements_end_too_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    run = whole(tmp_path)
    run.metrics.write_text(text)
    last = 400 if "400" in text else 0
    said = " ".join(shown(monkeypatch, run, tmp_path).split())
    assert f"damaged: metrics.csv ends at step {last}, before the checkpoint of step 800" in said


def test_a_checkpoint_beyond_the_runs_step_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = whole(tmp_path, state="interrupted")
    (run.checkpoints / "step_000000009999").mkdir()
    assert "damaged" not in shown(monkeypatch, run, tmp_path)


def test_without_a_checkpoint_nothing_is_evaluated_or_filmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = whole(tmp_path)
    said = shown(monkeypatch, run, tmp_path)
    assert f"gipo eval whole --runs {tmp_path}\n" in said
    assert f"gipo video whole --runs {tmp_path}\n" in said
    for folder in list(run.checkpoints.iterdir()):
        folder.rmdir()
    said = shown(monkeypatch, run, tmp_path)
    assert "damaged: there is no checkpoint\n" in said
    assert "gipo eval" not in said
    assert "gipo video" not in said


@pytest.mark.parametrize("key", ["env.imports=[json]", "imports=[json]"])
def test_commands_that_import_the_runs_modules_say_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    run = whole(tmp_path, "own", key, state="interrupted")
    said = shown(monkeypatch, run, tmp_path)
    for command in ("train --resume", "eval", "video"):
        assert f"gipo {command} own --runs {tmp_path} --trust\n" in said
    assert trust_flag(run) == " --trust"
    run.config.write_text("changed")
    assert trust_flag(run) == trust_flag(whole(tmp_path, "plain")) == ""


def test_a_strangers_escape_sequences_are_shown_and_not_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = whole(tmp_path, "red\x1b[31m", "env=gymnasium", "env.id='a\x1b]0;title\x07b'", state="failed")
    said = shown(monkeypatch, run, tmp_path)
    assert said.count(r"red\x1b[31m") >= 3
    assert r"a\x1b]0;title\x07b" in said
    assert "\x1b" not in said


def test_what_a_killed_writer_left_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = whole(tmp_path)
    assert "left over" not in shown(monkeypatch, run, tmp_path)
    (run.path / ".tmp-7-status.json").write_text("half")
    text = " ".join(shown(monkeypatch, run, tmp_path).split())
    assert "left over .tmp-7-status.json, by a killed writer; remove it, or resume the run" in text


@pytest.mark.parametrize(
    "facts", [{"before": "all"}, {"after": {"limit": 3}}, {"after": {"limit": {"best": "x"}}}]
)
def test_rates_that_are_none_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, object]
) -> None:
    """Their seal is right: whoever made them knows how."""
    run = whole(tmp_path)
    write_sealed(run.success, facts)
    assert "success.json damaged" in " ".join(shown(monkeypatch, run, tmp_path).split())
