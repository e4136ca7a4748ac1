"""The Ray engine: one task per run on an existing cluster, or on one of this machine for the sweep alone.

Ray may start a task again on another node while the first still computes, so every attempt works in a folder
of its own. All nodes must see the study's folder; they go on from each other's checkpoints.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

from gipo_cli import children
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.sweep.engine import Engine
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.plan import Study
from gipo_cli.sweep.state import observe
from gipo_cli.sweep.worker import SAVE_SECONDS, Worker

CONNECT_SECONDS = 3.0
HEALTH_SECONDS = 60.0
RETRIES = 5
"""Times that a run is started again after its node or its process was lost."""
_OBJECT_STORE = 100 * 2**20


class RayEngine(Engine[Any]):
    """Runs as Ray tasks of ``cpus`` cores and ``gpus`` GPUs each.

    Without an address (``host:port``) a cluster of this machine is started, which ends with the sweep.

    Raises:
        UserError: No node is large enough.
    """

    def __init__(
        self, folder: StudyDir, study: Study, jobs: int | None, *, address: str | None, cpus: int, gpus: int
    ) -> None:
        super().__init__(folder, jobs)
        cores = cpus * jobs if jobs is not None else len(os.sched_getaffinity(0))
        self._ray = connect(address, max(cores, cpus))
        self._check_room(cpus, gpus)
        self._task = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(run_on_node)
        self._digest = _digest(folder)
        self._runs = {run.name: run for run in study.runs}
        self._saving_until = 0.0

    def _start(self, name: str) -> Any:
        return self._task.remote(str(self.folder.path.resolve()), name, str(Path.cwd()), self._digest)

    def _ended(self, name: str, task: Any) -> str | None:
        if not self._ray.wait([task], timeout=0)[0]:
            return None
        # Ray tells a cancelled task as over while its worker still saves.
        saving = time.monotonic() < self._saving_until
        if saving and observe(self.folder, self._runs[name]).state == "running":
            return None
        try:
            self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            lines = [type(cause).__name__, *str(cause).strip().splitlines()]
            return f"its task ended: {lines[-1]}"
        return ""

    def _end(self, task: Any, *, at_once: bool) -> None:
        self._saving_until = 0.0 if at_once else time.monotonic() + SAVE_SECONDS
        self._ray.cancel(task, force=at_once)

    def close(self) -> None:
        """Leave the cluster; one of this machine ends with its processes."""
        self._ray.shutdown()

    def _check_room(self, cpus: int, gpus: int) -> None:
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        sizes = [(node.get("GPU", 0), node.get("CPU", 0)) for node in nodes]
        if not any(cores >= cpus and own >= gpus for own, cores in sizes):
            own, cores = max(sizes, default=(0, 0))
            self.close()
            raise UserError(
                f"no node of the Ray cluster has {cpus} cores and {gpus} GPUs; the largest has "
                f"{cores:.0f} and {own:.0f}: lower --cpus or --gpus"
            )


def run_on_node(study: str, name: str, directory: str, digest: str) -> None:
    """The task: work on a run, here.

    The digest is of the study's plan, since a folder of the same path may be another one here.

    Raises:
        RunFailed: The run did not finish, or this node does not see the folder.
    """
    folder = StudyDir(Path(study))
    if _digest(folder) != digest:
        raise RunFailed(f"{socket.gethostname()} does not see {study}; all nodes must share the runs folder")
    Worker(folder, name, apart=True, directory=directory).wait()


def _digest(folder: StudyDir) -> str | None:
    try:
        return hashlib.sha256(folder.manifest.read_bytes()).hexdigest()
    except OSError:
        return None


def check(address: str | None) -> None:
    """Refuse what cannot work, before anything is planned or written.

    Raises:
        UserError: Ray is not installed, or no healthy cluster answers at the address.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("Ray is not installed; type: pip install ray")
    if address is not None:
        _check_answer(address)


def connect(address: str | None, cores: int) -> Any:
    """Ray, connected to a cluster or, without an address, to one of this machine with so many cores.

    Raises:
        UserError: Ray could not be started, or the cluster refuses.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["PYTHONSAFEPATH"] = "1"  # Ray's own processes inherit it
    if address is None:
        # Ray's ports are open to the network: without the token anybody there could run code here.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # By default Ray's processes have priority 15, and starve on a machine that others use.
        os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    options: dict[str, Any] = {"address": address, "logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        options |= {
            "num_cpus": cores,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
            "_node_ip_address": "127.0.0.2",
        }
    # Workers get this process's directory as the first place that modules are looked up in.
    try:
        with chdir("/"):
            ray.init(**options)
    except Exception as error:
        ray.shutdown()
        what = (
            f"the Ray cluster at {address} refuses" if address else "Ray could not be started on this machine"
        )
        raise UserError(f"{what}: {' '.join(str(error).split())}") from error
    return ray


def _check_answer(address: str) -> None:
    """Ask before Ray does, which would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(
            f"{address!r} is not an address of a Ray cluster; write host:port, as in 10.0.0.1:6379"
        )
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"nothing answers at {address} ({error}); start the cluster with: ray start --head --port={port}"
        ) from error
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        result = subprocess.run(
            command, capture_output=True, timeout=HEALTH_SECONDS, env=children.environment(), check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{address} accepts connections and is silent for {HEALTH_SECONDS:.0f} s; is that a Ray cluster?"
        ) from None
    if result.returncode != 0:
        said = ["no reason was given", *result.stderr.decode(errors="replace").strip().splitlines()]
        raise UserError(
            f"{address} is not a healthy Ray cluster: {said[-1]}; "
            f"a cluster with a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here too"
        )
