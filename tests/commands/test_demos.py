"""``gipo demos``, ``gipo list demos``, ``gipo show`` and ``gipo video`` of demonstrations."""

import sys

import pytest
import toy_robot

from gipo_cli.commands.app import main
from gipo_cli.data import demos


@pytest.fixture
def gipo(monkeypatch, capsys):
    """Type a command: its exit code, and what it printed."""

    def typed(*words):
        monkeypatch.setattr(sys, "argv", ["gipo", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out = capsys.readouterr()
        return ended.value.code or 0, out.out + out.err

    return typed


def test_recording_listing_showing(gipo, tmp_path):
    task = ["env=metaworld", "env.task=coffee-button-v3", "--runs", tmp_path]
    code, said = gipo("demos", *task, "--episodes", "2")
    assert code == 0
    assert "coffee-button-v3-scripted-2-s1.npz: 2 episodes" in said
    assert "type next: gipo clone coffee-button-v3-scripted-2-s1" in said
    code, said = gipo("demos", *task, "--episodes", "2")
    assert (code, "already exists and is not overwritten" in said) == (2, True)
    (tmp_path / "demos" / "half.npz").write_bytes(b"PK")
    code, said = gipo("list", "demos", "--runs", tmp_path)
    assert "coffee-button-v3-scripted-2-s1  2" in said
    assert "damaged" in said
    code, said = gipo("show", "coffee-button-v3-scripted-2-s1", "--runs", tmp_path)
    assert code == 0
    for words in ("2, of which 2 succeed, 2 played", "different ones of task seed 1", "metaworld 3"):
        assert words in said


def test_a_film_shows_what_was_recorded(gipo, tmp_path):
    from gipo_cli.training.record import record

    made = record(
        lambda: toy_robot.expert, toy_robot.config(), episodes=3, seed=2, source="it", successful=False
    )
    demos.save(made, tmp_path / "demos" / "mine.npz")
    code, said = gipo("video", "mine", "--episodes", "3", "--every", "1", "--runs", tmp_path)
    # One picture before each step and one at the end.
    assert (code, f"{made.steps + 3} frames, 3 episodes, 3 successful" in said) == (0, True), said
    demos.save(toy_robot.demonstrations(), tmp_path / "demos" / "theirs.npz")
    code, said = gipo("video", "theirs", "--runs", tmp_path)
    assert (code, "only what `gipo demos` recorded can be filmed" in said) == (2, True)


def test_mistakes(gipo, tmp_path):
    root = ["--runs", tmp_path]
    for words, message in {
        ("demos", "env=fetch_reach", *root): "has no scripted policy",
        ("demos", "env=metaworld", "--name", "../x", *root): "cannot name demonstrations",
        ("demos", "env=metaworld", "--from", "x", *root): "leave the overrides out",
        ("demos", "--from", "nobody", *root): "there are no runs in",
    }.items():
        code, said = gipo(*words)
        assert (code, message in said) == (2, True), said
    assert not (tmp_path / "demos").exists()


def test_a_run_and_a_file_are_recorded_and_converted(gipo, tmp_path, trained_run):
    root = ["--runs", trained_run.parent, "--quiet"]
    code, said = gipo("demos", "--from", trained_run.name, "--episodes", "2", "--all", "--name", "own", *root)
    assert code == 0, said
    path = trained_run.parent / "demos" / "own.npz"
    assert demos.load(path).length.tolist() == [50, 50]
    code, said = gipo("demos", "--from", path, "--name", "copy", *root)
    assert code == 0, said
    assert (trained_run.parent / "demos" / "copy.npz").read_bytes() == path.read_bytes()
