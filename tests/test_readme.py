"""Every command of the README runs as printed; tests/test_docs.py runs its Python."""

import html
import io
import os
import re
import shlex
import subprocess

import pytest
from doc_blocks import README, ROOT, blocks, files, lines, parse
from rich.console import Console
from typer.testing import CliRunner
from warm import finish

from gipo_cli.commands.app import app
from gipo_cli.loggers.terminal import Display

# What is run for a command of the README, where {} is the command itself: the same, but shorter. A command
# that is not here fails, and so does one that is here and not in the README.
TINY = "total_steps=400 eval.episodes=1"
PENDULUM = "env=gymnasium env.id=Pendulum-v1 total_steps=512 buffer.size=512 eval.episodes=1 --quiet"
PARSED = "parsed"  # run by another test
STUDY = (
    "gipo sweep env=fetch_reach objective=gipo,ppo_clip buffer.size=512,8192 'seed=range(1,4)' --name study"
)
RUN_AS = {
    "make train": ["gipo train --name default " + TINY],  # the target itself is looked at below
    ".venv/bin/gipo video latest": [PARSED],  # tests/commands/test_film.py films
    "gipo train env=fetch_push objective=sapo buffer.size=50000 seed=3": ["{} " + TINY],
    # The grid is planned; two short runs stand in for its twelve. Sweeps as such are run in tests/sweep.
    STUDY: [
        "{} --print-commands --runs planned",
        f"gipo train {PENDULUM} objective=gipo --runs runs/study --name one",
        f"gipo train {PENDULUM} objective=ppo_clip --runs runs/study --name two",
    ],
    "gipo compare runs/study": ["{}"],
    "gipo train env=gymnasium env.id=Slide-v0 'env.imports=[my_envs]'": ["{} " + TINY],
    "gipo train --config-dir my_conf objective=tanh": ["{} " + TINY],
    "gipo posttrain env.task=coffee-button-v3 --demos 5": [
        PARSED
    ],  # tests/commands/test_posttrain.py runs it
    "gipo diagnose gridworld": [PARSED],  # tests/commands/test_diagnose.py runs it
}
OWN_CODE = ("my_envs", "my_conf")  # must not be registered in the process of the tests


@pytest.fixture(scope="module")
def printed():
    return [line for text in blocks(README, "bash") for line in lines(text)]


def surroundings():
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIPO_")}
    return env | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "80"}


def apart(words, folder):
    done = finish(words, cwd=folder, env=surroundings())
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def here(words):
    runner = CliRunner(env={"GIPO_RUNS": None, "GIPO_CONFIG_DIR": None, "NO_COLOR": "1", "COLUMNS": "80"})
    result = runner.invoke(app, words)
    assert result.exit_code == 0, f"gipo {shlex.join(words)}\n{result.output}\n{result.exception!r}"
    return result.output


def test_every_command_has_its_short_form(printed):
    assert printed, "the README shows no command"
    assert set(printed) == set(RUN_AS)


def test_commands_run_as_printed(printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    for command in printed:
        for form in RUN_AS[command]:
            words = shlex.split(command if form == PARSED else form.format(command))[1:]
            if form == PARSED:
                parse(words)
            elif "default" in words or any(own in command for own in OWN_CODE):
                apart(words, tmp_path)
            else:
                here(words)


def test_the_picture_of_the_panel_has_the_words_of_the_panel():
    """Numbers apart: what a run shows on a terminal now is what the picture shows."""
    console = Console(width=100, record=True, file=io.StringIO(), force_terminal=True)
    display = Display("gipo", 100, quiet=True, console=console)
    display.scalars({"iteration": 1, "train/return": 1.0, "health/utilisation": 1.0}, 50)
    console.print(display.render())
    picture = (ROOT / "docs" / "images" / "panel.svg").read_text(encoding="utf-8")
    shown = set(re.findall(r"[a-z]{4,}", html.unescape(re.sub("<[^>]*>", " ", picture))))
    labels = set(re.findall(r"[a-z]{4,}", console.export_text())) - {"gipo"}
    assert len(labels) > 8
    assert labels <= shown


def test_make_targets_do_what_the_readme_says():
    # What was typed at the make that runs this test is none of theirs.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "WORKERS", "ARGS"))}
    for target, expected in (
        ("train", [".venv/bin/gipo train env=metaworld env.task=button-press-v3 total_steps=100000"]),
        ("test", [".venv/bin/ruff check .", ".venv/bin/mypy", ".venv/bin/pytest -n 2"]),
    ):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        run = [line.strip() for line in done.stdout.splitlines()]
        assert all(any(line.endswith(end) for line in run) for end in expected)
        assert run[-1].endswith(expected[-1])
