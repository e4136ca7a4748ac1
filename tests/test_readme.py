"""Every command and every Python block of the README runs as printed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)

# What is run for each command of the README: the same, but shorter. A command that is not here fails.
SHORT = "total_steps=1000 eval.episodes=2"
RUN_AS = {
    "make train": f"gipo train --name default {SHORT}",
    "make test": "gipo --version",  # these tests themselves; the target is looked at below
    "gipo train env=fetch_push objective=sapo buffer.size=50000 seed=3": SHORT,
    "gipo sweep study=buffer_size --dry-run": "",
    "gipo compare runs/buffer_size": "",
}


def blocks():
    return BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def commands(text):
    return [
        line for line in (shlex.join(shlex.split(raw, comments=True)) for raw in text.splitlines()) if line
    ]


def run(args, folder):
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIPO_")}
    env |= {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    done = subprocess.run(args, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{shlex.join(map(str, args))}\n{done.stdout}\n{done.stderr}"


def test_commands_and_python_run_as_printed(tmp_path):
    for language, text in blocks():
        if language == "python":
            run([sys.executable, "-c", text], tmp_path)
            continue
        for command in commands(text):
            what = RUN_AS[command]
            words = shlex.split(what if what.startswith("gipo ") else f"{command} {what}")
            if words[1] == "compare":  # the study takes hours: the runs so far stand in for its sixty
                shutil.copytree(tmp_path / "runs", tmp_path / "study")
                shutil.move(tmp_path / "study", tmp_path / "runs" / "buffer_size")
            run([sys.executable, "-m", "gipo_cli", *words[1:]], tmp_path)


def test_no_stand_in_is_left_over():
    printed = {command for language, text in blocks() if language == "bash" for command in commands(text)}
    assert printed == set(RUN_AS)


def test_make_targets_do_what_the_readme_says():
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    for target, last in (("train", ".venv/bin/gipo train"), ("test", ".venv/bin/pytest -n 2")):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith(last)
