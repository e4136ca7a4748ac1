"""What the default run promises: FetchReach is learned within a minute on one core, whatever the seed."""

import csv
import subprocess
import sys

import pytest


@pytest.mark.learning
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_the_default_run_reaches_its_goal(seed, tmp_path):
    command = [sys.executable, "-m", "gipo_cli", "train", "--name", "r", "--quiet", f"seed={seed}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "runs" / "r" / "eval.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert max(float(row["success_last"]) for row in rows[:-1]) >= 0.95
    assert float(rows[-1]["success_last"]) >= 0.95
