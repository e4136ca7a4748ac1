"""``gipo list`` and ``gipo show``."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from gipo_cli.commands import listing
from gipo_cli.commands.columns import beginnings, fitted, shortened
from gipo_cli.core.objectives import ObjectiveParams
from gipo_cli.runs.layout import RunDir, find
from gipo_cli.runs.manifest import trust_flag, write_config
from gipo_cli.runs.status import StatusFile
from gipo_cli.settings.compose import compose

METRICS = "step,health/utilisation,health/ess,health/lag_mean\n"


def run_folder(root: Path, name: str, *overrides: str, step: int = 0, state: str = "done") -> RunDir:
    run = RunDir(root / name)
    run.path.mkdir(parents=True)
    write_config(run, compose(overrides).config)
    status = StatusFile(run.status, total_steps=800)
    status.beat(step)
    status.finish(state)
    return run


def whole(root: Path, name: str = "whole", *overrides: str, state: str = "done") -> RunDir:
    """A run with all of its files."""
    run = run_folder(root, name, *overrides, step=800, state=state)
    run.metrics.write_text(METRICS + "400,0.1,0.2,0.3\n800,0.73,0.535,4.56\n")
    run.evaluations.write_text("step\n800\n")
    for checkpoint in (400, 800):
        (run.checkpoints / f"step_{checkpoint:012d}").mkdir(parents=True)
    return run


def shown(monkeypatch: pytest.MonkeyPatch, run: RunDir, root: Path) -> str:
    return printed(monkeypatch, 80, listing.show_run, run, root)


def printed(monkeypatch: pytest.MonkeyPatch, width: int, call, *args) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(listing, "Console", lambda **_: console)
    call(*args)
    return screen.getvalue()


def test_runs_say_what_they_are_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_folder(tmp_path, "first", "env=metaworld", "env.task=door-open-v3", "seed=7", "buffer.size=5000")
    run_folder(tmp_path, "second", "objective=sapo")
    (run_folder(tmp_path, "third").config).write_text("changed: true\n")
    lines = printed(monkeypatch, 80, listing.print_runs, tmp_path).splitlines()
    assert lines[0].split()[:6] == ["run", "environment", "objective", "buffer", "seed", "state"]
    assert lines[1].split() == ["first", "door-open-v3", "gipo", "5000", "7", "done", "0%"]
    assert lines[2].split()[1:3] == ["fetch_reach", "sapo"]
    assert lines[3].split() == ["third", "unknown", "done", "0%"]
    narrow = printed(monkeypatch, 50, listing.print_runs, tmp_path).splitlines()
    assert narrow[0].split() == ["run", "environment", "state", "done", "return", "success"]


def test_a_run_is_one_line_of_80_and_can_be_typed_as_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        f"lag/hand_manipulate_block-{objective}-n20000-s{seed}-9681cece"
        for objective in ("ppo_clip", "gipo")
        for seed in (1, 2, 12)
    ]
    for name in names:
        run_folder(tmp_path, name)
    lines = printed(monkeypatch, 80, listing.print_runs, tmp_path).splitlines()
    assert lines[1 + len(names)].startswith("return and success")
    assert max(map(len, lines[: 1 + len(names)])) <= 80
    assert sum("…" in line for line in lines) >= 3
    for name, line in zip(sorted(names), lines[1:], strict=False):
        assert find(tmp_path, line.split()[0].rstrip("…")).path == tmp_path / name


def test_a_beginning_is_long_enough_to_mean_one_name() -> None:
    names = ["lag/reach-s1-aaaa", "lag/reach-s10-aaaa", "reach-s2", "push", "push-2"]
    assert beginnings(names) == {
        "lag/reach-s1-aaaa": len("lag/reach-s1-"),
        "lag/reach-s10-aaaa": len("lag/reach-s10"),
        "reach-s2": len("reach-s2"),
        "push": len("push"),
        "push-2": len("push-"),
    }


def test_names_lose_their_end_or_else_their_middle() -> None:
    assert shortened("reach-gipo-s1", 13, 13) == "reach-gipo-s1"
    assert shortened("reach-gipo-s1-aaaa", 14, 13) == "reach-gipo-s1…"
    assert shortened("reach-gipo-s1-aaaa", 9, 13) == "reac…aaaa"


def test_a_screen_too_narrow_for_any_name_leaves_the_names_whole() -> None:
    rows = [["run", "seed", "state"], ["x" * 40, "1", "interrupted"]]
    assert fitted(rows, 30, [1]) == [["run", "state"], ["x" * 40, "interrupted"]]


def test_show_prints_the_newest_numbers_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = whole(tmp_path)
    with run.metrics.open("a") as file:
        file.write("900,0.9")  # a row that is being written
    rows = [" ".join(line.split()) for line in shown(monkeypatch, run, tmp_path).splitlines()]
    for row in ("samples that count 73%", "effective sample size 0.54", "policy lag, updates 4.6"):
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


def test_an_objective_without_formula_and_docstring_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = type("Bare", (ObjectiveParams,), {"__annotations__": {"name": str}, "name": "bare"})
    monkeypatch.setitem(listing.OBJECTIVES, "bare", bare)
    assert "\nbare" in printed(monkeypatch, 80, listing.print_objectives)


def test_objectives_of_the_users_folder_are_listed_with_their_comment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "objective").mkdir()
    text = "# @package _global_\n# Smooth, by tanh.\nimports: [mine]\nobjective: {name: tanh}\n"
    (tmp_path / "objective" / "lab_tanh.yaml").write_text(text)
    assert "lab_tanh" not in printed(monkeypatch, 80, listing.print_objectives)
    said = printed(monkeypatch, 80, listing.print_objectives, [tmp_path])
    assert f"\nlab_tanh  Smooth, by tanh.\n    {tmp_path}/objective/lab_tanh.yaml\n" in said
    assert said.count("\ngipo  ") == 1
