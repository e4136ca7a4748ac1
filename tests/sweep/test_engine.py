"""The local engine, with stand-ins for workers."""

import threading
import time
from pathlib import Path

import pytest
from sweep_harness import held_elsewhere, planned, until

from gipo_cli.sweep.engine import LocalEngine
from gipo_cli.sweep.state import observe


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("gipo_cli.sweep.engine.BEAT_SECONDS", 0.1)
    return 0.4


def test_a_claim_left_under_another_hostname_is_taken_once_it_is_silent(
    tmp_path: Path, stand_ins, patience: float
):
    folder, study = planned(tmp_path, "objective=gipo", "seed=1,2")
    (left, free) = (run.name for run in study.runs)
    held_elsewhere(folder, left, 5)
    engine = LocalEngine(folder, 2)
    engine.submit([left, free])
    begun, ended = time.monotonic(), engine.poll()
    assert engine.active() == [free, left], "it does not keep others waiting"
    until(lambda: ended.update(engine.poll()) or len(ended) == 2, "both ends", 60)
    assert time.monotonic() - begun > patience
    assert ended == {left: "", free: ""}
    assert all(observe(folder, run).state == "done" for run in study.runs)


def test_a_claim_of_another_host_that_beats_is_left_alone(
    tmp_path: Path, stand_ins, patience: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gipo_cli.sweep.engine.HELD_SECONDS", 1.5)
    folder, study = planned(tmp_path, "objective=gipo", "seed=1")
    name = study.runs[0].name
    end = threading.Event()

    def beat() -> None:
        count = 0
        while not end.wait(0.05):
            held_elsewhere(folder, name, count := count + 1)

    held_elsewhere(folder, name, 0)
    other = threading.Thread(target=beat)
    other.start()
    engine = LocalEngine(folder, 1)
    engine.submit([name])
    ended: dict[str, str] = {}
    try:
        until(lambda: ended.update(engine.poll()) or ended, "the end of patience", 30)
    finally:
        end.set()
        other.join()
    assert engine.notes == [f"waiting for process 17 on a-container-before, which works on {name}"]
    assert ended[name].startswith("is being written by process 17 on a-container-before; stop that one")
    assert not folder.run(name).exists()
