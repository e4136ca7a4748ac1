"""``gipo clone`` and ``gipo posttrain``, on a robot that is not Meta-World's."""

import json
import shlex
import sys

import numpy as np
import pytest
import toy_robot

from gipo_cli.commands.app import main
from gipo_cli.runs import layout
from gipo_cli.runs.layout import RunDir, list_runs

SMALL = ["clone.steps=200", "eval.episodes=3"]
TOY = ["env=gymnasium", f"env.id={toy_robot.ID}"]


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


@pytest.fixture
def by_hand(tmp_path):
    """A file as docs/posttraining.md records it."""
    made = toy_robot.demonstrations(10).arrays()
    names = ("obs", "action", "reward", "success", "length")
    np.savez(tmp_path / "my.npz", **{name: made[name] for name in names})
    return tmp_path / "my.npz"


def test_one_command_for_ones_own_robot(gipo, by_hand, tmp_path, monkeypatch):
    root = tmp_path / "runs"
    # The name that it would get is taken, and a number is appended.
    monkeypatch.setattr(layout, "default_name", lambda config: "own")
    (root / "own").mkdir(parents=True)
    short = ["total_steps=128", "agent.rollout_steps=32", "agent.update.batch_size=64", "logging=csv"]
    # Code that is typed needs no other word of trust.
    own = [*TOY, "env.imports=[toy_robot]"]
    words = ["posttrain", *own, *SMALL, *short, "--demos", by_hand, "--runs", root]
    code, said = gipo(*words)
    assert code == 0, said
    assert said.count("before: success, training's time limit: deterministic") == 2
    assert said.count("after: success, training's time limit: deterministic") == 1
    assert [run.name for run in list_runs(root)] == ["own-2"]
    assert (root / "own-2" / "eval.csv").read_text().splitlines()[1].startswith("0,")
    code, said = gipo("show", "own-2", "--runs", root)
    assert "before" in said
    assert "after" in said
    code, said = gipo("train", *TOY, *short, "init=own-2", "--runs", root)
    strange = "needs the code of toy_robot, which this run does not import; if you trust it, type 'imports=["
    assert (code, strange in said) == (2, True), said
    code, said = gipo(*words, "--name", "own-2")
    assert (code, "already exists and is not overwritten" in said) == (2, True)


def test_a_clone_is_a_run_folder(gipo, by_hand, tmp_path):
    root = ["--runs", tmp_path / "runs"]
    code, said = gipo("clone", by_hand, *root)
    assert (code, "do not say which environment they are of; type it" in said) == (2, True)
    code, said = gipo("clone", by_hand, *TOY, *SMALL, "--name", "copy", *root)
    assert code == 0, said
    assert "type next: gipo train preset=posttrain env=gymnasium" in said
    assert RunDir(tmp_path / "runs" / "copy").clone.is_file()
    code, said = gipo("show", "copy", *root)
    assert (code, "success, training's time limit: deterministic" in said) == (0, True), said
    code, said = gipo("eval", "copy", "--episodes", "2", *root)
    assert (code, "success" in said) == (0, True), said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--demos", "0"], "leaves nothing to clone"),
        (["--demos", "nobody"], "there are no demonstrations 'nobody'"),
        (["env=fetch_reach", "--demos", "2"], "has no scripted policy"),
        (["--name", "a/b"], "cannot be a run's name"),
    ],
)
def test_mistakes(gipo, tmp_path, words, message):
    code, said = gipo("posttrain", *words, "--runs", tmp_path)
    assert (code, message in said) == (2, True), said
    assert not list_runs(tmp_path)


def test_code_that_only_a_strangers_file_names_is_not_run(gipo, tmp_path, monkeypatch):
    """The module lies beside the file, in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text("open('ran', 'w')")
    about = {"env": {"name": "gymnasium", "id": "theirs:Robot-v0"}, "seed": 1}
    arrays = toy_robot.demonstrations(2).arrays() | {
        "about": np.array(json.dumps(about)),
        "number": np.arange(2),
    }
    np.savez(tmp_path / "their's.npz", **arrays)
    cure = "env=gymnasium 'env.id=\"theirs:Robot-v0\"'"
    for command in (["clone", "their's.npz"], ["posttrain", "--demos", "their's.npz"]):
        code, said = gipo(*command, "--runs", tmp_path / "runs")
        assert (code, f"need the code of theirs: if you trust it, type {cure}" in said) == (2, True), said
    code, said = gipo("video", "their's.npz")
    assert (code, "needs the code of theirs: if you trust it, add --trust" in said) == (2, True), said
    assert gipo("show", "their's.npz")[0] == 0
    assert not (tmp_path / "ran").exists()
    gipo("video", "their's.npz", "--trust", "--out", "a.gif")
    assert (tmp_path / "ran").exists()
    (tmp_path / "ran").unlink()
    monkeypatch.delitem(sys.modules, "theirs")
    code, said = gipo("clone", "their's.npz", *shlex.split(cure), "--runs", tmp_path / "runs")
    assert (tmp_path / "ran").exists()
    assert "Robot" in said
    assert code == 2
