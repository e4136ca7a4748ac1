"""A run killed while its first files are made is resumed as if it had just begun."""

import csv
import os
import resource
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


def test_a_full_disk_behind_the_log_alone_ends_no_run(run, tmp_path):
    """The log is larger than any file may grow, so that each of its lines is refused and nothing else is."""
    copy = tmp_path / "r"
    shutil.copytree(run, copy)
    os.truncate(copy / "log.txt", 1 << 31)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, limits[1]))
    try:
        assert resume(copy, overrides=["total_steps=256"], allow_changes=False, quiet=True) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (copy / "log.txt").stat().st_size == 1 << 31
    assert len(numbers(copy / "metrics.csv")) == len(numbers(run / "metrics.csv")) + 1
