"""A run killed while its first files are made is resumed as if it had just begun."""

import csv
import shutil

import pytest

from gipo_cli.training.session import resume

INPUTS = ("command.txt", "config.yaml", "git.diff", "meta.json", "overrides.txt")
BEGUN = ["log.txt", "metrics.csv", "eval.csv", "diagnostics.csv", "status.json", "tb"]
"""In the order in which they are made."""


def numbers(path):
    with path.open(newline="") as file:
        return [
            {key: cell for key, cell in row.items() if not key.startswith("time/")}
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("there", [[], BEGUN[:1], BEGUN[:3], BEGUN, ["log.txt", "tb"]], ids="-".join)
def test_a_kill_before_the_first_row(run, tmp_path, there):
    half = tmp_path / "r"
    shutil.copytree(run, half)
    for path in half.iterdir():
        if path.name not in {*INPUTS, *there}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (half / ".tmp-7-status.json").write_text("half")
    for name in {"metrics.csv", "eval.csv", "diagnostics.csv"} & set(there):
        (half / name).write_text((half / name).read_text().splitlines()[0] + "\n")
    if "status.json" in there:
        (half / "status.json").write_text("")
    assert resume(half, overrides=[], allow_changes=False, quiet=True) == 0
    for name in ("metrics.csv", "eval.csv"):
        assert numbers(half / name) == numbers(run / name)
    assert not list(half.glob(".tmp-*"))
