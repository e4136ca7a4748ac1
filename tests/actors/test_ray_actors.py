"""Actors on real Ray: in this machine's own cluster, and on two nodes of which one is lost."""

import csv
import os
import signal
import subprocess
import sys
import threading

import pytest
from stage import SMALL, composed
from sweep_harness import until
from test_on_ray import cluster  # noqa: F401 - a fixture

from gipo_cli.errors import UserError
from gipo_cli.runs.status import read_status
from gipo_cli.training.session import train

pytestmark = pytest.mark.cluster

STEPS = 3200


def test_a_node_is_lost_and_its_actor_alone(cluster, monkeypatch, tmp_path):  # noqa: F811
    """The run goes on with the other node's actor to its end, and its record repeats it to the bit."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"has 2 cores and 3 actors need one each; lower actors\.n"):
        start(composed("actors=ray", "actors.n=3", f"actors.address={cluster.address}"), tmp_path / "r")
    assert not list(tmp_path.iterdir())
    two = ["actors=ray", "actors.n=2", "actors.max_lag=2", f"actors.address={cluster.address}"]
    killer = threading.Thread(target=lost, args=(cluster.nodes[-1], tmp_path / "run" / "arrivals.csv"))
    killer.start()
    start(composed(*two, f"total_steps={STEPS}"), tmp_path / "run")
    killer.join()
    arrivals = read(tmp_path / "run" / "arrivals.csv")
    assert [int(row["iteration"]) for row in arrivals] == list(range(STEPS // 32))
    assert all(0 <= int(row["lag"]) <= 2 for row in arrivals)
    assert {row["actor"] for row in arrivals} == {"0", "1"}
    assert len({row["actor"] for row in arrivals[-STEPS // 64 :]}) == 1
    assert read(tmp_path / "run" / "metrics.csv")[-1]["actors/replaced"] == "1"
    gipo(tmp_path, "--replay-arrivals", "run", "--name", "again")
    assert trained(tmp_path / "again") == trained(tmp_path / "run")


def start(config, folder):
    assert train(config, run_dir=folder, overrides=[], command=["gipo"], quiet=True) == 0


def lost(node, arrivals):
    """End a node once both actors have delivered."""
    until(lambda: arrivals.exists() and {row["actor"] for row in read(arrivals)} == {"0", "1"}, "arrivals")
    os.killpg(node.pid, signal.SIGKILL)


def test_the_command_trains_to_its_end(tmp_path):
    """On a cluster of its own, as one types it, and again from its record without Ray."""
    (tmp_path / "my_envs.py").write_text(
        "import gymnasium\ngymnasium.register('Mine-v0', 'gymnasium.envs.classic_control:PendulumEnv')\n"
    )
    own = ["env.id=Mine-v0", "env.imports=[my_envs]"]
    actors = [*own, "actors=ray", "actors.n=2", "actors.max_lag=2", "total_steps=640"]
    gipo(tmp_path, *SMALL, *actors, "--name", "run")
    assert read_status(tmp_path / "run" / "status.json").state == "done"
    arrivals = read(tmp_path / "run" / "arrivals.csv")
    assert [int(row["iteration"]) for row in arrivals] == list(range(20))
    assert all(0 <= int(row["lag"]) <= 2 for row in arrivals)
    gipo(tmp_path, "--replay-arrivals", "run", "--name", "again", "--trust")
    assert trained(tmp_path / "again") == trained(tmp_path / "run")


def gipo(root, *words):
    command = [sys.executable, "-m", "gipo_cli", "train", *words, "--runs", str(root), "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=root)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def read(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def trained(run):
    """Cells of ``metrics.csv`` that say what was learned."""
    return [
        {name: cell for name, cell in row.items() if name.startswith(("loss/", "train/"))}
        for row in read(run / "metrics.csv")
    ]
