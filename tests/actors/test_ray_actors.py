"""Actors on real Ray: in this machine's own cluster, and on two nodes of which one is lost."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
from stage import SMALL, composed, iterate
from test_on_ray import cluster  # noqa: F401 - a fixture

from gipo_cli.actors.on_ray import OnRay
from gipo_cli.actors.open import parts_of
from gipo_cli.actors.pool import Pool
from gipo_cli.envs.make import make_env
from gipo_cli.errors import UserError
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.runs.machine import versions
from gipo_cli.runs.status import read_status
from gipo_cli.settings.schema import RunConfig
from gipo_cli.sweep import on_ray

pytestmark = pytest.mark.cluster


def learner_of(config: RunConfig) -> GIPO:
    made = make_env(config.env, config.seed)
    return GIPO.without_env(config, made.observation_space, made.action_space, "cpu", learns=True)


def test_two_nodes_of_which_one_is_lost(cluster, monkeypatch):  # noqa: F811
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    # A busy machine answers late.
    monkeypatch.setattr(on_ray, "HEALTH_SECONDS", 120.0)
    config = composed("actors=ray", "actors.n=2", "actors.max_lag=2")
    agent = learner_of(config)
    with pytest.raises(UserError, match=r"nothing answers at 127\.0\.0\.2:1"):
        OnRay(parts_of(config, agent), 60.0, "127.0.0.2:1")
    with pytest.raises(UserError, match=r"has 2 cores and 3 actors need one each; lower actors\.n"):
        OnRay([*parts_of(config, agent), *parts_of(config, agent)[:1]], 60.0, cluster.address)
    crew = OnRay(parts_of(config, agent), 60.0, cluster.address)
    pool = Pool(crew, agent.learner, config.actors, versions())
    try:
        pool.begin()
        pool.publish()
        seen = set()
        while seen != {0, 1}:
            iterate(agent, pool, 4)
            seen |= {row["actor"] for row in pool.arrivals()}
        os.killpg(cluster.nodes[-1].pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not pool.report(0)["actors/replaced"] and time.monotonic() < deadline:
            iterate(agent, pool, 1)
        assert pool.report(0)["actors/replaced"] >= 1
        iterate(agent, pool, 5)
        assert all(row["lag"] <= 2 for row in pool.arrivals())
    finally:
        pool.close()


def test_the_command_trains_to_its_end(tmp_path):
    """On a cluster of its own, as one types it, and again from its record without Ray."""

    def gipo(*words):
        command = [sys.executable, "-m", "gipo_cli", "train", *words, "--runs", str(tmp_path), "--quiet"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    actors = ["actors=ray", "actors.n=2", "actors.max_lag=2", "total_steps=640"]
    gipo(*SMALL, *actors, "--name", "run")
    assert read_status(tmp_path / "run" / "status.json").state == "done"
    with (tmp_path / "run" / "arrivals.csv").open(newline="") as file:
        arrivals = list(csv.DictReader(file))
    assert [int(row["iteration"]) for row in arrivals] == list(range(20))
    assert all(0 <= int(row["lag"]) <= 2 for row in arrivals)
    gipo("--replay-arrivals", "run", "--name", "again")
    assert trained(tmp_path / "again") == trained(tmp_path / "run")


def trained(run):
    """Cells of ``metrics.csv`` that say what was learned."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: cell for name, cell in row.items() if name.startswith(("loss/", "train/"))} for row in rows
    ]
