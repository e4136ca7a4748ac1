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
    command,
    statuses,
    tiny,
    undisturbed,
    until,
    with_trial,
    workers,
)

from gipo_cli.sweep import on_ray
from gipo_cli.sweep.manifest import StudyDir

STEPS = 6144
GRID = (*tiny(STEPS), "objective=gipo", "seed=1,2", "--name", "grid", "--backend", "ray")
SHORT = (*TINY, "objective=gipo", "seed=1,2", "--name", "grid", "--backend", "ray")
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
FAST = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
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
def brief(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short sweep's runs, done without a disturbance."""
    return undisturbed(tmp_path_factory.mktemp("brief"), "objective=gipo", "seed=1,2")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(tmp_path_factory.mktemp("reference"), "objective=gipo", "seed=1,2", steps=STEPS)


def names_of(study: Path) -> list[str]:
    return sorted(path.name for path in study.iterdir() if path.is_dir() and not path.name.startswith("."))


def attempts_of(study: Path) -> list[Path]:
    """Status files of attempts that are not published yet."""
    return list((study / ".sweep").glob("*.attempts/*/status.json"))


def test_cluster_of_this_machine(tmp_path: Path, brief: Path):
    with_trial(tmp_path, *SHORT)
    done = subprocess.run(
        command(tmp_path, *SHORT, "--jobs", "2"),
        env=os.environ | PLAIN,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_runs(tmp_path / "grid", brief, names_of(brief))
    assert not attempts_of(tmp_path / "grid")
    assert not workers(tmp_path)


@pytest.mark.cluster
def test_death_of_a_node(tmp_path: Path, reference: Path, cluster: Cluster):
    """Its run goes on elsewhere, and its process, which lives on for a while, harms nothing."""
    study = tmp_path / "grid"
    sweep = cluster.sweep(tmp_path)
    until(lambda: len(attempts_of(study)) == 2, "runs on both nodes")
    os.killpg(cluster.nodes[1].pid, signal.SIGKILL)
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    assert_same_runs(study, reference, names_of(reference))
    assert not attempts_of(study)
    until(lambda: not workers(tmp_path), "the processes' end", 30)


@pytest.mark.cluster
def test_ctrl_c_saves_and_leaves_nothing(tmp_path: Path, reference: Path, cluster: Cluster):
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
    assert_same_runs(study, reference, names_of(reference))


@pytest.mark.cluster
def test_more_than_any_node_has(tmp_path: Path, cluster: Cluster):
    output, _ = cluster.sweep(tmp_path, "--cpus", "64").communicate(timeout=120)
    assert "no node of the Ray cluster has 64 cores" in output
    assert not statuses(tmp_path / "grid")


def test_nodes_that_do_not_see_the_folder(tmp_path: Path, brief: Path):
    """The task itself, with a path that is not there: it works from what it is sent and sends it back."""
    name = names_of(brief)[0]
    manifest = (brief / "study.json").read_bytes()
    sent = on_ray.run_on_node(str(tmp_path / "elsewhere"), name, "/", manifest, None)
    assert sent is not None
    on_ray.unpack(sent, tmp_path / name)
    assert_same_runs(tmp_path, brief, [name])
    assert not (tmp_path / "elsewhere").exists()


def test_a_silent_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(on_ray, "HEALTH_SECONDS", 5.0)
    with socket.socket() as listening:
        listening.bind(("127.0.0.2", 0))
        listening.listen()
        with pytest.raises(on_ray.UserError, match=r"is silent for 5 s|not a healthy Ray cluster"):
            on_ray.check(f"127.0.0.2:{listening.getsockname()[1]}")


def test_manifest_decides_whether_a_folder_is_the_same(tmp_path: Path, brief: Path):
    """A folder of the same path that belongs to another machine is not written to."""
    name = names_of(brief)[0]
    other = StudyDir(tmp_path / "grid")
    other.private.mkdir(parents=True)
    other.manifest.write_text("of another study")
    assert on_ray.run_on_node(str(other.path), name, "/", (brief / "study.json").read_bytes(), None)
    assert not other.run(name).exists()
