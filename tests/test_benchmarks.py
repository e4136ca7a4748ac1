"""The benchmark suite runs; what it measures is for `make bench`."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_figures_are_measured_and_written(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--only", "objectives", "--repeats", "1"]
    done = subprocess.run([*command, "--out", tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "latest.json").read_text())["figures"]
    assert set(figures) == {"objectives"}
    assert all(row["ratio"]["median"] > 0 for rows in figures.values() for row in rows)
    assert (tmp_path / "latest.md").read_text().splitlines()[0] == "# Benchmark results"
