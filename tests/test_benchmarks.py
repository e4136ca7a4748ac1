"""The benchmark suite runs; what it measures is for `make bench`."""

import importlib
import inspect
import json
from itertools import count

import pytest

from benchmarks.__main__ import FIGURES, main
from benchmarks.harness import Spread, Target, against, interleave, table


def test_figures_are_measured_and_written(tmp_path, monkeypatch):
    row = against({"ours": [1.0], "theirs": [2.0]}, "ours", "theirs")
    monkeypatch.setattr("benchmarks.replay.replay", lambda repeats: [row] * repeats)
    main(["--only", "replay", "--repeats", "2", "--out", str(tmp_path)])
    figures = json.loads((tmp_path / "latest.json").read_text())["figures"]
    assert [row["ratio"]["median"] for row in figures["replay"]] == [0.5, 0.5]
    assert (tmp_path / "latest.md").read_text().splitlines()[0] == "# Benchmark results"


def test_a_spread_is_median_and_quartiles():
    spread = Spread.of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (spread.low, spread.median, spread.high, spread.n) == (2.0, 3.0, 4.0, 5)
    assert str(spread) == "3 (2 to 4)"
    assert str(Spread.of([0.25])) == "0.25"


def test_a_ratio_is_of_pairs_and_says_its_direction():
    samples = {"ours": [1.0, 2.0, 9.0], "theirs": [2.0, 8.0, 9.0]}
    slower = against(samples, "ours", "theirs", per=2.0)
    assert (slower.ratio.median, slower.reads) == (0.5, "x the peer")
    assert (slower.measured.median, slower.beside.median) == (1.0, 4.0)
    faster = against(samples, "ours", "theirs", speed_up=True)
    assert (faster.ratio.median, faster.reads) == (2.0, "x as fast")
    assert against(samples, "ours", "theirs", target=Target("at least", 1.5)).reads == "x as fast"


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("at most", 0.5), True),
        (Target("at most", 0.4), False),
        (Target("at least", 2.0), True),
        (Target("at least", 2.1), False),
        (Target("at most", 2.0, "measured"), True),
        (Target("at most", 1.9, "measured"), False),
    ],
)
def test_a_target_is_met_or_missed_and_the_table_says_so(target, met):
    row = against({"ours": [2.0], "theirs": [4.0]}, "ours", "theirs", target=target)
    assert target.met(row) is met
    assert ("**missed**" in table("t", [row])) is not met


def test_tasks_take_turns_and_every_other_turn_is_reversed(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # everything that other tests left is gone through else
    done, seconds = [], count()
    tasks = {"a": lambda: done.append("a"), "b": lambda: [done.append("b"), next(seconds)]}
    samples = interleave(tasks, 3, clock=lambda: float(next(seconds)))
    assert "".join(done) == "ba" + "ab" + "ba" + "ab"
    assert samples == {"a": [1.0] * 3, "b": [2.0] * 3}


def test_every_figure_of_the_suite_can_be_found():
    for name, (module, title) in FIGURES.items():
        measure = getattr(importlib.import_module(f"benchmarks.{module}"), name)
        assert list(inspect.signature(measure).parameters) == ["repeats"]
        assert title
