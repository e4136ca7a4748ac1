"""Time, memory and what is shown of them; numbers worked out by hand."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from gipo_cli.errors import UserError
from gipo_cli.runs.durable import write_sealed
from gipo_cli.sweep.estimate import (
    Trial,
    earlier_trials,
    free_memory,
    jobs_that_fit,
    measure,
    seconds_of,
    speeds,
    speeds_since,
    sweep_left,
    together,
)
from gipo_cli.sweep.manifest import StudyDir
from gipo_cli.sweep.plan import plan
from gipo_cli.sweep.state import RunState
from gipo_cli.sweep.view import View, counts, duration, failures, short_names, table

RUN = plan(["env=gymnasium", "env.id=Pendulum-v1", "total_steps=10000", "eval.interval=2000", "seed=1"]).runs[
    0
]
TRIAL = Trial(seconds=0.5, steps=500, start=3.0, evaluation=2.0, bytes=2**30)


def state(kind: str, step: int, **more: object) -> RunState:
    return RunState(kind, step, 10_000, **more)  # type: ignore[arg-type]


def test_time_of_a_run():
    # 3 s until the first step, 20 iterations of 0.5 s, 5 evaluations of 2 s
    assert TRIAL.run_seconds(RUN, 10_000) == pytest.approx(3 + 20 * 0.5 + 5 * 2)
    waiting = state("waiting", 0)
    assert seconds_of(RUN, waiting, {"gymnasium Pendulum-v1": TRIAL}, {}) == pytest.approx(23)
    assert seconds_of(RUN, state("interrupted", 6000), {}, {"gymnasium Pendulum-v1": 200.0}) == 20
    assert seconds_of(RUN, waiting, {"another": TRIAL}, {}) == pytest.approx(23)
    assert seconds_of(RUN, waiting, {}, {}) is None


def test_what_this_machine_cannot_run_a_node_may(tmp_path: Path):
    settings = ["env=gymnasium", "env.id=Pendulm-v1", "total_steps=1000", "seed=1,2"]
    runs = plan(settings, name="grid").runs
    with pytest.raises(UserError, match="cannot run: Gymnasium knows no environment 'Pendulm-v1'"):
        measure(runs, StudyDir(tmp_path), keep=False, here=True)
    trials, (note,) = measure(runs, StudyDir(tmp_path), keep=False, here=False)
    assert trials == {}
    assert note.startswith("no estimate, for here ")


def test_the_trial_of_the_largest_run_counts_in_whatever_order_trials_were_done(tmp_path: Path):
    grid = plan(["env=gymnasium", "env.id=Pendulum-v1", "buffer.size=4096,1000000", "seed=1"], name="grid")
    small, large = grid.runs
    folder = StudyDir(tmp_path)
    folder.private.mkdir()
    sizes = {run.name: TRIAL.model_copy(update={"bytes": run.config.buffer_size}) for run in grid.runs}
    kept = {
        f"gymnasium Pendulum-v1 {run.config.buffer_size} {run.config.agent.rollout_steps}": sizes[run.name]
        for run in (large, small)
    }
    write_sealed(folder.private / "trials.json", {key: trial.model_dump() for key, trial in kept.items()})
    for todo, largest in ((grid.runs, large), ([large], large), ([small], small)):
        trials, notes = measure(todo, folder, keep=False, here=True)
        assert (trials, notes) == ({"gymnasium Pendulum-v1": sizes[largest.name]}, [])
    assert earlier_trials(folder) == {"gymnasium Pendulum-v1": sizes[large.name]}


def test_speed_of_earlier_runs_includes_their_pauses():
    seen = {RUN.name: state("done", 10_000, seconds=50.0, speed=999.0)}
    assert speeds([RUN], seen) == {"gymnasium Pendulum-v1": 200.0}
    assert speeds([RUN], {RUN.name: state("running", 5000, seconds=50.0)}) == {}


def test_speed_of_a_sweep_counts_what_it_did_itself():
    runs = plan(["env=gymnasium", "env.id=Pendulum-v1", "total_steps=10000", "seed=1,2,3"], name="three").runs
    one, two, three = (run.name for run in runs)
    before = {one: state("done", 10_000, seconds=1e6), two: state("waiting", 0), three: state("waiting", 0)}
    early = {**before, two: state("running", 500, seconds=20.0)}
    assert speeds_since(runs, early, before) == {}  # the start of a run weighs too much in it
    later = {
        **before,
        two: state("done", 10_000, seconds=80.0),
        three: state("running", 2_000, seconds=20.0),
    }
    assert speeds_since(runs, later, before) == {"gymnasium Pendulum-v1": 120.0}


def test_time_of_many_runs():
    assert together([10, 10, 10, 10], 2) == 20
    assert together([30, 1, 1], 2) == 30
    assert together([], 2) == 0


def test_time_left_as_another_terminal_sees_it(tmp_path: Path):
    study = plan(["env=gymnasium", "env.id=Pendulum-v1", "total_steps=10000", "seed=1,2,3,4,5"])
    names = [run.name for run in study.runs]
    folder = StudyDir(tmp_path)
    states = {name: state("waiting", 0) for name in names}
    assert sweep_left(study.runs, states, folder) is None
    states[names[0]] = state("done", 10_000, seconds=100.0)
    states[names[1]] = state("running", 5000, speed=50.0)
    states[names[2]] = state("running", 0)
    states[names[3]] = state("failed", 9000)
    # 100 s at its own speed; two whole runs at 100 steps/s; two at a time
    assert sweep_left(study.runs, states, folder) == pytest.approx((100 + 100 + 100) / 2)
    states[names[1]] = states[names[2]] = state("interrupted", 0)
    assert sweep_left(study.runs, states, folder) is None


def test_memory():
    assert jobs_that_fit(2**30, 10 * 2**30) == 9
    with pytest.raises(UserError, match=r"one run needs about 4.0 GiB and 3.0 GiB of memory are free"):
        jobs_that_fit(4 * 2**30, 3 * 2**30)
    assert 0 < free_memory() < 2**50


def test_memory_that_only_caches_files_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import psutil

    monkeypatch.setattr("gipo_cli.sweep.estimate.CONTROL_GROUP", tmp_path)
    machine = psutil.virtual_memory()._replace(available=2**40)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 500\nactive_file 100\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert free_memory() == 1000 - 900 + 500
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() == 2**40


def test_table_fits_80_columns_and_any_height():
    names = [f"reach-v3-gipo-sigma=0.{n}-n20000-s{n}-0123456789abcdef0123456789abcdef" for n in range(40)]
    kinds = ["done"] * 10 + ["waiting"] * 20 + ["running"] * 8 + ["failed", "interrupted"]
    states = {
        name: state(kind, 5000, speed=1234.5, success=0.25) for name, kind in zip(names, kinds, strict=True)
    }
    out = io.StringIO()
    Console(file=out, width=80).print(table("study", states, 3661.0, room=12))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    # two lines of title, the headings, the rows and how many more there are
    assert len(lines) == 2 + 1 + 12 + 1, out.getvalue()
    assert lines[0].startswith("study: 10 done, 20 waiting, 1 interrupted, 1 failed, 8 running")
    assert "1:01:01 left" in lines[1]
    shown = " ".join(lines[2:])
    # What needs attention is never cut off: 8 running, 1 failed, 1 interrupted.
    assert shown.count(" running ") == 8
    assert shown.count(" failed ") == shown.count(" interrupted ") == 1
    assert shown.count("0:00:05") == 8
    assert "and 28 more" in lines[-1]
    full = io.StringIO()
    Console(file=full, width=80).print(table("study", states))
    assert len(full.getvalue().splitlines()) == 2 + 1 + 40


def test_long_names_can_be_told_apart():
    knobs = [f"sigma=0.{n}-neg_ratio=0.{m}" for n in (2, 5) for m in (25, 50)]
    names = [f"pick-place-wall-v3-gipo-{knob}-n20000-s{s}-01234567" for knob in knobs for s in (1, 2)]
    brief = short_names(names, 38)
    assert list(brief.values())[:2] == [
        "sigma=0.2-neg_ratio=0.25-n20000-s1",
        "sigma=0.2-neg_ratio=0.25-n20000-s2",
    ]
    assert len(set(brief.values())) == len(names)
    assert short_names(["a-s1-x", "a-s1-y"], 38) == {"a-s1-x": "a-s1-x", "a-s1-y": "a-s1-y"}
    assert short_names(["abcdefghij-s1-x"], 9) == {"abcdefghij-s1-x": "abcd…j-s1"}
    assert short_names([], 38) == {}


def test_without_success_the_table_shows_returns():
    for states, shown in (
        ({"a": state("running", 5000, result=-12.345), "b": state("waiting", 0)}, "return"),
        ({"a": state("running", 5000, result=-12.345, success=0.5), "b": state("waiting", 0)}, "success"),
        ({"a": state("waiting", 0)}, "success"),
    ):
        out = io.StringIO()
        Console(file=out, width=80).print(table("study", states))
        heading, first = out.getvalue().splitlines()[-1 - len(states) :][:2]
        assert heading.split() == ["run", "state", "done", "steps/s", shown, "left"]
        assert ("-12.35" in first) == (shown == "return")


def test_nothing_is_left_once_all_is_done():
    assert counts({"a": state("done", 10_000)}, 3.0) == "1 done, 100% of all steps"


def test_counts_and_durations():
    assert (
        counts({"a": state("done", 10_000), "b": state("waiting", 0)})
        == "1 done, 1 waiting, 50% of all steps"
    )
    assert [duration(s) for s in (None, 0.2, 59.1, 3599.5, 90_000)] == [
        "-",
        "0:00:01",
        "0:01:00",
        "1:00:00",
        "25:00:00",
    ]


def test_plain_lines_tell_changes_only():
    out = io.StringIO()
    with View("study", Console(file=out, width=80)) as view:
        view.update({"a": state("waiting", 0)}, None)
        view.update({"a": state("running", 0)}, None)
        view.update({"a": state("running", 500)}, None)
        view.update({"a": state("failed", 700, reason="at step 700: loss is nan")}, None)
    assert out.getvalue().splitlines() == [
        "a: running, step 0 of 10000",
        "a: failed, step 700 of 10000, at step 700: loss is nan",
    ]


def test_failures():
    assert failures({"a": "why"}, {"a": ["last", "words"]}) == ["a: why", "    last", "    words"]
