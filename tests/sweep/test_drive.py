"""What a sweep makes of runs that have ended; with an engine that only says so."""

from pathlib import Path

import pytest
from rich.console import Console
from sweep_harness import planned

from gipo_cli.runs.durable import write_sealed
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.status import Status, StatusFile
from gipo_cli.sweep.drive import Sweep
from gipo_cli.sweep.estimate import Estimate, subject
from gipo_cli.sweep.view import View


class Once:
    """An engine whose runs have ended at the first look, after ``work`` was done for each."""

    def __init__(self, work):
        self.work, self.names, self.notes = work, [], []

    def submit(self, names):
        self.names = list(names)

    def poll(self):
        ended, self.names = self.names, []
        return {name: self.work(name) for name in ended}

    def active(self):
        return self.names

    def stop(self):
        pass

    kill = close = stop


@pytest.mark.parametrize(("begins", "reason"), [(False, "refused: other versions"), (True, "loss is nan")])
def test_a_retry_that_was_refused_is_not_told_by_the_failure_before(
    tmp_path: Path, begins: bool, reason: str
):
    folder, study = planned(tmp_path, "objective=gipo", "seed=1")
    (run,) = study.runs
    path = RunDir(folder.run(run.name))
    path.path.mkdir()
    path.config.write_text("")

    def fail(why: str) -> None:
        StatusFile(path.status, total_steps=1536, step=700).finish("failed", why)

    fail("gradient is nan")

    def work(name: str) -> str:
        if begins:
            fail("loss is nan")
        return "refused: other versions"

    view = View(study.name, Console(quiet=True))
    going = Sweep(folder, study, view, Estimate(), 1)
    going.run(Once(work), [run.name])
    assert going.failed == {run.name: reason}


def test_time_left_goes_by_the_speed_of_this_sweep(tmp_path: Path):
    folder, study = planned(tmp_path, "objective=gipo", "seed=1,2")
    first, second = (run.name for run in study.runs)
    lefts: list[float | None] = []

    class Watched(View):
        def update(self, states, left):
            super().update(states, left)
            lefts.append(left)

    class Slow(Once):
        """Ends the first run at once and the second when its time left was shown."""

        def poll(self):
            if first in self.names:
                self.names = [second]
                status = Status(state="done", step=1536, total_steps=1536, active_seconds=96.0)
                RunDir(folder.run(first)).path.mkdir()
                RunDir(folder.run(first)).config.write_text("")
                write_sealed(RunDir(folder.run(first)).status, status.model_dump(mode="json"))
                return {first: ""}
            return super().poll() if any(lefts) else {}

    view = Watched(study.name, Console(quiet=True))
    going = Sweep(folder, study, view, Estimate(speeds={subject(study.runs[0]): 1.0}), 1)
    going.run(Slow(lambda name: ""), [first, second])
    assert [left for left in lefts if left] == [96.0]
