"""Sweeps on real Ray clusters of this machine."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from sweep_harness import (
    PLAIN,
    TINY,
    assert_same_runs,
    attempts_of,
    command,
    names_of,
    planned,
    plant,
    statuses,
    tiny,
    undisturbed,
    until,
    with_trial,
    workers,
)

from gipo_cli.errors import RunFailed
from gipo_cli.sweep import on_ray

STEPS = 6144
GRID = (*tiny(STEPS), "objective=gipo", "seed=1,2", "--name", "grid", "--backend", "ray")
SHORT = (*TINY, "objective=gipo", "seed=1,2", "--name", "grid", "--backend", "ray")
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
FAST = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_worker_niceness": "0",
}


@dataclass
class Cluster:
    """A head without room for runs and nodes of one core each, on loopback addresses of their own."""

    folder: Path
    environment: dict[str, str]
    address: str
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add(self, *words: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"node{len(self.nodes)}.log").open("wb")
        node = subprocess.Popen(
            [*RAY, "start", "--block", "--object-store-memory=100000000", "--disable-usage-stats", *words],
            env=self.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=self.folder,
        )
        self.nodes.append(node)
        return node

    def join(self, host: str) -> None:
        """Add a node of one core; on a busy machine its first try may time out."""
        for _ in range(3):
            node = self.add(f"--address={self.address}", f"--node-ip-address={host}", "--num-cpus=1")
            log = self.folder / f"node{len(self.nodes) - 1}.log"
            until(lambda: node.poll() is not None or "runtime started" in log.read_text(), "a node", 60)  # noqa: B023
            if node.poll() is None:
                return
            self.nodes.remove(node)
        raise AssertionError(log.read_text())

    def sweep(self, root: Path, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(root, *GRID, "--address", self.address, *arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def healthy(self) -> bool:
        check = [*RAY, "health-check", "--address", self.address]
        return subprocess.run(check, env=self.environment, capture_output=True, timeout=60).returncode == 0

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.terminate()
        for node in reversed(self.nodes):
            try:
                node.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)
                node.wait()
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.folder) in word for word in process.info["cmdline"] or []):
                process.kill()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    # Short: paths of sockets below it may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        port = probe.getsockname()[1]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "HOME": str(folder)}
    made = Cluster(folder, os.environ | PLAIN | FAST | token | quiet, f"127.0.0.2:{port}")
    try:
        made.add(
            "--head", "--node-ip-address=127.0.0.2", f"--port={port}", "--num-cpus=0",
            "--include-dashboard=false", f"--temp-dir={folder}",
        )  # fmt: skip
        until(made.healthy, "the head's health", 60)
        for last in (3, 4):
            made.join(f"127.0.0.{last}")
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cluster's sweep, done without a disturbance."""
    return undisturbed(tmp_path_factory.mktemp("longer"), "objective=gipo", "seed=1,2", steps=STEPS)


def test_cluster_of_this_machine(tmp_path: Path, reference: Path, tmp_path_factory: pytest.TempPathFactory):
    """And no process of Ray's runs a file of the current directory."""
    here = tmp_path_factory.mktemp("here")
    mark = plant(here)
    with_trial(tmp_path, *SHORT)
    done = subprocess.run(
        command(tmp_path, *SHORT, "--jobs", "2"),
        env=os.environ | PLAIN,
        cwd=here,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not mark.exists()
    assert_same_runs(tmp_path / "grid", reference / "grid", names_of(tmp_path / "grid"))
    assert len(names_of(tmp_path / "grid")) == 2
    assert not attempts_of(tmp_path / "grid")
    assert not workers(tmp_path)


@pytest.mark.cluster
def test_death_of_a_node(tmp_path: Path, longer: Path, cluster: Cluster):
    """Its run goes on elsewhere, and its process, which lives on for a while, harms nothing."""
    study = tmp_path / "grid"
    sweep = cluster.sweep(tmp_path)
    until(lambda: len(attempts_of(study)) == 2, "runs on both nodes")
    os.killpg(cluster.nodes[1].pid, signal.SIGKILL)
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    assert_same_runs(study, longer, names_of(longer))
    assert not attempts_of(study)
    until(lambda: not workers(tmp_path), "the processes' end", 30)


@pytest.mark.cluster
def test_ctrl_c_saves_and_leaves_nothing(tmp_path: Path, longer: Path, cluster: Cluster):
    study = tmp_path / "grid"
    sweep = cluster.sweep(tmp_path)
    until(lambda: len(attempts_of(study)) == 2, "runs on both nodes")
    sweep.send_signal(signal.SIGINT)
    output, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, output
    until(lambda: not workers(tmp_path), "the processes' end", 30)
    sweep = cluster.sweep(tmp_path)
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    assert_same_runs(study, longer, names_of(longer))


@pytest.mark.cluster
def test_more_than_any_node_has(tmp_path: Path, cluster: Cluster):
    output, _ = cluster.sweep(tmp_path, "--cpus", "64").communicate(timeout=120)
    assert "no node of the Ray cluster has 64 cores" in output
    assert not statuses(tmp_path / "grid")


def test_a_silent_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(on_ray, "HEALTH_SECONDS", 2.0)
    with socket.socket() as listening:
        listening.bind(("127.0.0.2", 0))
        listening.listen()
        with pytest.raises(on_ray.UserError, match=r"is silent for 2 s|not a healthy Ray cluster"):
            on_ray.check(f"127.0.0.2:{listening.getsockname()[1]}")


def test_a_node_that_does_not_see_the_folder_refuses(tmp_path: Path):
    """Nor does one where another study lies under the same path."""
    folder, study = planned(tmp_path, "objective=gipo", "seed=1")
    digest = on_ray._digest(folder)
    folder.manifest.write_text("of another study")
    for path in (folder.path, tmp_path / "nowhere"):
        with pytest.raises(RunFailed, match=r"does not see .*; all nodes must share the runs folder"):
            on_ray.run_on_node(str(path), study.runs[0].name, "/", digest)
    assert not names_of(folder.path)
    assert not (tmp_path / "nowhere").exists()
