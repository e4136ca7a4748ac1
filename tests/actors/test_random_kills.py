"""Actors and learners of real runs, killed at random: the bound is kept and the record repeats the run."""

import csv
import random
import signal
import time
from collections import Counter
from contextlib import suppress

import psutil
import pytest
from process_harness import finish, in_session, rows, start, wait_until

from gipo_cli.runs.status import read_status

STEPS = 32_000
SETTINGS = [
    "env=gymnasium",
    "env.id=Pendulum-v1",
    "actors=processes",
    "actors.n=2",
    "actors.max_lag=2",
    "agent.rollout_steps=64",
    "agent.policy.hidden=[16]",
    "agent.update.rounds=2",
    "agent.update.batch_size=32",
    "buffer.size=640",
    "eval.interval=2048",
    "eval.episodes=1",
    "checkpoint.interval=512",
    "diagnostics=never",
    f"total_steps={STEPS}",
]
ACTORS = ("dropped", "masked", "replaced", "queue", "reuse")


def actors_of(session):
    found = []
    for process in in_session(session):
        with suppress(psutil.Error):  # it has ended since
            if "actor" in process.cmdline():
                found.append(process)
    return found


def arrived(run):
    table = run / "arrivals.csv"
    return table.read_bytes().count(b"\n") if table.exists() else 0


def killed_often(cwd, name, kills, done, dice):
    """A run of which actors and now and then the learner are killed, counted in ``done``, up to its end."""
    run, arguments = cwd / "runs" / name, ["--name", name, *SETTINGS]
    while True:
        process = start("train", *arguments, cwd=cwd)
        while done.total() < kills and process.poll() is None:
            before = arrived(run)
            if not wait_until(lambda: arrived(run) > before and len(actors_of(process.pid)) == 2, process):  # noqa: B023
                break
            time.sleep(dice.uniform(0, 1.0))
            if (run / "checkpoints").exists() and dice.random() < 0.1:
                process.send_signal(signal.SIGKILL)
                done["learner"] += 1
                break
            alive = actors_of(process.pid)
            with suppress(psutil.NoSuchProcess, IndexError):
                dice.choice(alive).kill()
                done["actor"] += 1
        ended = finish(process)
        assert not ended.orphans, ended.orphans
        status = read_status(run / "status.json") if (run / "status.json").exists() else None
        if status is not None and status.state == "done":
            return
        assert "Traceback" not in ended.output
        arguments = ["--resume", name] if (run / "config.yaml").exists() else arguments


def assert_counted_once_and_repeated(cwd, name):
    """Each iteration took one rollout within the bound, and the record repeats the run to the bit."""
    with (cwd / "runs" / name / "arrivals.csv").open(newline="") as file:
        arrivals = list(csv.DictReader(file))
    assert all(0 <= int(row["lag"]) <= 2 for row in arrivals)
    assert [int(row["iteration"]) for row in arrivals] == list(range(STEPS // 64))
    words = ["--replay-arrivals", name, "--name", f"again-{name}"]
    again = finish(start("train", *words, cwd=cwd), patience=1800.0)
    assert again.code == 0, again.output
    one, other = (rows(cwd / "runs" / folder / "metrics.csv") for folder in (name, f"again-{name}"))
    for row in (*one, *other):
        for column in ACTORS:
            row.pop(f"actors/{column}")
    assert one == other


@pytest.mark.kills
def test_100_kills_of_actors_and_learners(tmp_path):
    """In as many runs as it takes; a faster machine finishes a run with fewer kills."""
    done, dice, runs = Counter(), random.Random(100), 0
    while done.total() < 100:
        runs += 1
        killed_often(tmp_path, f"r{runs}", 100, done, dice)
        assert_counted_once_and_repeated(tmp_path, f"r{runs}")
    print(f"{dict(done)} in {runs} runs of {STEPS // 64} iterations")  # noqa: T201 - the outcome, shown by -rP
