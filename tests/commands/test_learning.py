"""What the default run promises: FetchReach is learned within a minute on one core, whatever the seed."""

import csv
import subprocess
import sys

import numpy as np
import pytest

SEEDS = [1, 2, 3, 4, 5]


def success_of_default_run(folder, *overrides):
    """Success at the last step, evaluation by evaluation."""
    command = [sys.executable, "-m", "gipo_cli", "train", "--name", "r", "--quiet", *overrides]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    with (folder / "runs" / "r" / "eval.csv").open(newline="") as file:
        return [float(row["success_last"]) for row in csv.DictReader(file)]


@pytest.mark.learning
@pytest.mark.parametrize("seed", SEEDS)
def test_the_default_run_reaches_its_goal(seed, tmp_path):
    success = success_of_default_run(tmp_path, f"seed={seed}")
    assert max(success[:-1]) >= 0.95
    assert success[-1] >= 0.95


@pytest.mark.learning
def test_bfloat16_learns_as_float32_does(tmp_path):
    """The areas under the curves differ by less, in the mean of five seeds, than those of single seeds do."""
    areas = {}
    for precision in ("float32", "bfloat16"):
        curves = []
        for seed in SEEDS:
            folder = tmp_path / precision / str(seed)
            folder.mkdir(parents=True)
            curves.append(success_of_default_run(folder, f"agent.precision={precision}", f"seed={seed}"))
        assert min(curve[-1] for curve in curves) >= 0.95
        areas[precision] = np.mean(curves, axis=1)
    noise = np.ptp(areas["float32"])
    assert abs(areas["float32"].mean() - areas["bfloat16"].mean()) <= noise
