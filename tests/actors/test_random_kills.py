"""Actors and learners of real runs, killed at random: the bound is kept and the record repeats the run."""

import csv
import random
import signal
import time

import psutil
import pytest
from process_harness import finish, in_session, rows, start, wait_until

from gipo_cli.runs.status import read_status

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
]
ACTORS = ("dropped", "masked", "replaced", "queue", "reuse")


def actors_of(session):
    return [process for process in in_session(session) if "actor" in process.cmdline()]


def arrived(run):
    table = run / "arrivals.csv"
    return table.read_bytes().count(b"\n") if table.exists() else 0


def killed_often(cwd, kills, steps, dice):
    """A run of which actors and now and then the learner are killed; returns how often each was."""
    run, done = cwd / "runs" / "r", {"actor": 0, "learner": 0}
    arguments = ["--name", "r", *SETTINGS, f"total_steps={steps}"]
    while True:
        process = start("train", *arguments, cwd=cwd)
        while sum(done.values()) < kills and process.poll() is None:
            before = arrived(run)
            if not wait_until(lambda: arrived(run) > before and len(actors_of(process.pid)) == 2, process):  # noqa: B023
                break
            time.sleep(dice.uniform(0, 1.0))
            if (run / "checkpoints").exists() and dice.random() < 0.2:
                process.send_signal(signal.SIGKILL)
                done["learner"] += 1
                break
            dice.choice(actors_of(process.pid) or [psutil.Process(process.pid)]).kill()
            done["actor"] += 1
        ended = finish(process)
        assert not ended.orphans, ended.orphans
        status = read_status(run / "status.json") if (run / "status.json").exists() else None
        if status is not None and status.state == "done":
            return done
        assert "Traceback" not in ended.output
        arguments = ["--resume", "r"] if (run / "config.yaml").exists() else arguments


@pytest.mark.kills
@pytest.mark.parametrize(("kills", "steps"), [(100, 200_000)])
def test_100_kills_of_actors_and_learners(kills, steps, tmp_path):
    done = killed_often(tmp_path, kills, steps, random.Random(kills))
    print(done)  # noqa: T201 - the outcome, shown by -rP
    with (tmp_path / "runs" / "r" / "arrivals.csv").open(newline="") as file:
        arrivals = list(csv.DictReader(file))
    assert all(0 <= int(row["lag"]) <= 2 for row in arrivals)
    assert [int(row["iteration"]) for row in arrivals] == list(range(-(-steps // 64)))
    again = finish(start("train", "--replay-arrivals", "r", "--name", "again", cwd=tmp_path))
    assert again.code == 0, again.output
    one, other = (rows(tmp_path / "runs" / name / "metrics.csv") for name in ("r", "again"))
    for row in (*one, *other):
        for name in ACTORS:
            row.pop(f"actors/{name}")
    assert one == other
