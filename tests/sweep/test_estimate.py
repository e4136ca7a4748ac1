"""Time and memory; numbers worked out by hand."""

from pathlib import Path

import pytest

from gipo_cli.errors import UserError
from gipo_cli.runs.durable import write_sealed
from gipo_cli.sweep.estimate import Estimate, Trial, earlier_trials, free_memory, jobs_that_fit, measure
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.plan import plan
from gipo_cli.sweep.state import RunState

RUN = plan(["env=gymnasium", "env.id=Pendulum-v1", "total_steps=10000", "eval.interval=2000", "seed=1"]).runs[
    0
]
PENDULUM = "gymnasium Pendulum-v1"
TRIAL = Trial(seconds=0.5, steps=500, start=3.0, evaluation=2.0, bytes=2**30)


def state(kind: str, step: int, **more: object) -> RunState:
    return RunState(kind, step, 10_000, **more)  # type: ignore[arg-type]


def test_time_of_a_run():
    # 3 s until the first step, 20 iterations of 0.5 s, 5 evaluations of 2 s
    assert TRIAL.run_seconds(RUN, 10_000) == pytest.approx(3 + 20 * 0.5 + 5 * 2)
    waiting = state("waiting", 0)
    assert Estimate({PENDULUM: TRIAL}).run_seconds(RUN, waiting) == pytest.approx(23)
    known = Estimate({PENDULUM: TRIAL}, {PENDULUM: 200.0})
    assert known.run_seconds(RUN, state("interrupted", 6000)) == 20
    assert Estimate({"another": TRIAL}).run_seconds(RUN, waiting) == pytest.approx(23)
    assert Estimate({"another": TRIAL}, {"a third": 500.0}).run_seconds(RUN, waiting) == 20
    assert Estimate().run_seconds(RUN, waiting) is None


def test_what_this_machine_cannot_run_a_node_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = ["env=gymnasium", "env.id=Pendulm-v1", "total_steps=1000", "seed=1,2"]
    runs = plan(settings, name="grid").runs
    with pytest.raises(UserError, match="cannot run: Gymnasium knows no environment 'Pendulm-v1'") as refusal:
        measure(runs, StudyDir(tmp_path), keep=False, here=True)

    def refuse(run: object) -> Trial:
        raise refusal.value

    monkeypatch.setattr("gipo_cli.sweep.estimate._trial", refuse)
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
        assert (trials, notes) == ({PENDULUM: sizes[largest.name]}, [])
    assert earlier_trials(folder) == {PENDULUM: sizes[large.name]}


def test_speed_of_earlier_runs_includes_their_pauses():
    seen = {RUN.name: state("done", 10_000, seconds=50.0, speed=999.0)}
    assert Estimate().learn([RUN], seen).speeds == {PENDULUM: 200.0}
    assert Estimate().learn([RUN], {RUN.name: state("running", 5000, seconds=50.0)}).speeds == {}


def test_speed_of_a_sweep_counts_what_it_did_itself():
    runs = plan(["env=gymnasium", "env.id=Pendulum-v1", "total_steps=10000", "seed=1,2,3"], name="three").runs
    one, two, three = (run.name for run in runs)
    before = {one: state("done", 10_000, seconds=1e6), two: state("waiting", 0), three: state("waiting", 0)}
    early = {**before, two: state("running", 500, seconds=20.0)}
    assert Estimate().learn(runs, early, before).speeds == {}  # the start of a run weighs too much in it
    later = {
        **before,
        two: state("done", 10_000, seconds=80.0),
        three: state("running", 2_000, seconds=20.0),
    }
    assert Estimate(speeds={PENDULUM: 1.0}).learn(runs, later, before).speeds == {PENDULUM: 120.0}


def test_time_of_many_runs():
    runs = plan(["env=gymnasium", "env.id=Pendulum-v1", "total_steps=10000", "seed=1,2,3,4,5"]).runs
    names = [run.name for run in runs]
    states = {name: state("waiting", 0) for name in names}
    assert Estimate().seconds_left(runs, states, 2) is None
    states[names[0]] = state("done", 10_000, seconds=100.0)
    states[names[1]] = state("running", 5000, speed=50.0)
    states[names[2]] = state("running", 0)
    known = Estimate().learn(runs, states)
    # 100 s at its own speed, a whole run at 100 steps/s
    assert known.seconds_left(runs[1:3], states, 2) == pytest.approx((100 + 100) / 2)
    # no less than the longest of them
    assert known.seconds_left(runs[1:3], states, 3) == pytest.approx(100)
    assert known.seconds_left(runs[1:3], states, 0) is None
    assert known.seconds_left([], states, 2) == 0


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
