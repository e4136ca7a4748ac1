"""``gipo list``."""

from __future__ import annotations

from pathlib import Path

import pytest
from listing_harness import printed, run_folder

from gipo_cli.commands.list import _glance, list_objectives, list_runs
from gipo_cli.core.objectives import OBJECTIVES, ObjectiveParams
from gipo_cli.runs.manifest import peek_config


def test_runs_say_what_they_are_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_folder(tmp_path, "first", "env=metaworld", "env.task=door-open-v3", "seed=7", "buffer.size=5000")
    run_folder(tmp_path, "second", "objective=sapo")
    (run_folder(tmp_path, "third").config).write_text("changed: true\n")
    lines = printed(monkeypatch, 80, list_runs, tmp_path).splitlines()
    assert lines[0].split()[:6] == ["run", "environment", "objective", "buffer", "seed", "state"]
    assert lines[1].split() == ["first", "door-open-v3", "gipo", "5000", "7", "done", "0%"]
    assert lines[2].split()[1:3] == ["fetch_reach", "sapo"]
    assert lines[3].split() == ["third", "unknown", "done", "0%"]
    narrow = printed(monkeypatch, 50, list_runs, tmp_path).splitlines()
    assert narrow[0].split() == ["run", "environment", "state", "done", "return", "success"]


def test_a_name_is_always_whole_so_that_it_can_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(
        f"lag/hand_manipulate_block-{objective}-n20000-s{seed}-9681cece"
        for objective in ("ppo_clip", "gipo")
        for seed in (1, 12)
    )
    for name in names:
        run_folder(tmp_path, name)
    wide = printed(monkeypatch, 100, list_runs, tmp_path).splitlines()
    assert [line.split()[0] for line in wide[1:5]] == names
    lines = printed(monkeypatch, 80, list_runs, tmp_path).splitlines()
    assert lines[0:10:2] == ["run", *names]
    assert lines[5].split()[:4] == ["fetch_reach", "gipo", "2048", "1"]
    assert max(map(len, lines[:10])) <= 80


def test_a_strangers_escape_sequences_are_shown_and_not_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder(tmp_path, "red\x1b[31m\nname", "env=gymnasium", "env.id='a\x1b]0;title\x07b'")
    said = printed(monkeypatch, 200, list_runs, tmp_path)
    assert r"red\x1b[31m\nname" in said
    assert r"a\x1b]0;title\x07b" in said
    assert "\x1b" not in said


def test_an_objective_without_formula_and_docstring_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = type("Bare", (ObjectiveParams,), {"__annotations__": {"name": str}, "name": "bare"})
    monkeypatch.setitem(OBJECTIVES, "bare", bare)
    assert "\nbare" in printed(monkeypatch, 80, list_objectives)


def test_objectives_of_the_users_folder_are_listed_with_their_comment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "objective").mkdir()
    text = "# @package _global_\n# Smooth, by tanh.\nimports: [mine]\nobjective: {name: tanh}\n"
    (tmp_path / "objective" / "lab_tanh.yaml").write_text(text)
    assert "lab_tanh" not in printed(monkeypatch, 80, list_objectives)
    said = printed(monkeypatch, 80, list_objectives, [tmp_path])
    assert f"\nlab_tanh  Smooth, by tanh.\n    {tmp_path}/objective/lab_tanh.yaml\n" in said
    assert said.count("\ngipo  ") == 1


@pytest.mark.parametrize(
    "overrides",
    [
        ["env=metaworld", "env.task=door-open-v3", "objective=sapo"],
        ["env=gymnasium", "env.id='no'", "seed=7"],
        ["buffer.size=null", "agent.rollout_steps=30", "env.n_envs=3", "env.kwargs={name:1,size:2}"],
        ["env=gymnasium", "env.id='a: b # c'"],
    ],
)
def test_a_glance_says_what_the_whole_configuration_says(tmp_path: Path, overrides: list[str]) -> None:
    run = run_folder(tmp_path, "r", *overrides)
    config = peek_config(run)
    said = (config.env.subject, config.objective.name, str(config.buffer_size), str(config.seed))
    assert _glance(run) == said


def test_a_changed_configuration_is_not_glanced_at(tmp_path: Path) -> None:
    run = run_folder(tmp_path, "r")
    run.config.write_text(run.config.read_text().replace("seed: 1", "seed: 2"))
    assert _glance(run) is None
