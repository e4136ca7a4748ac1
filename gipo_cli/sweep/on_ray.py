"""The Ray engine: one task per run on an existing cluster, or on one of this machine for the sweep alone.

Ray may start a task again on another node while the first still computes, so every attempt works in a folder
of its own. Nodes that see the study's folder write there and go on from each other's checkpoints; a node that
does not works in a temporary folder and sends the run back when it ends.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import secrets
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gipo_cli.children import environment
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.sweep import attempt as attempts
from gipo_cli.sweep.child import SAVE_SECONDS, Child
from gipo_cli.sweep.engine import Ended
from gipo_cli.sweep.manifest import StudyDir, read_study
from gipo_cli.sweep.plan import PlannedRun
from gipo_cli.sweep.state import observe

CONNECT_SECONDS = 3.0
HEALTH_SECONDS = 20.0
RETRIES = 5
"""Times that a run is started again after its node or its process was lost."""
_OBJECT_STORE = 100 * 2**20


class RayEngine:
    """Runs as Ray tasks.

    Args:
        folder: The study's folder.
        address: ``host:port`` of a cluster; None: a cluster of this machine, ended with the sweep.
        cpus: Cores that a run takes.
        gpus: GPUs that a run takes.
        jobs: Runs at a time at most; None: as many as the cluster has room for.

    Raises:
        UserError: No node is large enough.
    """

    def __init__(
        self, folder: StudyDir, *, address: str | None, cpus: int, gpus: int, jobs: int | None
    ) -> None:
        self._folder = folder
        self._jobs = jobs
        self._ray = _connect(address, jobs, cpus)
        self._check_room(cpus, gpus)
        manifest = folder.manifest.read_bytes()
        self._manifest = self._ray.put(manifest)
        self._task = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(run_on_node)
        self._runs = {run.name: run for run in read_study(folder).runs}
        self._queue: deque[str] = deque()
        self._tasks: dict[str, Any] = {}
        self._stopped: float | None = None

    def submit(self, names: Sequence[str]) -> None:
        """Queue runs."""
        self._queue.extend(names)

    def poll(self) -> list[Ended]:
        """Collect what has ended, then hand over more."""
        while self._queue and (self._jobs is None or len(self._tasks) < self._jobs):
            name = self._queue.popleft()
            state = _pack_newest(self._folder, self._runs[name])
            self._tasks[name] = self._task.remote(
                str(self._folder.path.resolve()), name, str(Path.cwd()), self._manifest, state
            )
        ended = []
        references = list(self._tasks.values())
        ready, _ = (
            self._ray.wait(references, num_returns=len(references), timeout=0) if references else ([], [])
        )
        for name in [name for name, reference in self._tasks.items() if reference in ready]:
            if self._still_saving(name):
                continue
            ended.append(Ended(name, self._collect(name, self._tasks.pop(name))))
        return ended

    def active(self) -> list[str]:
        """Runs handed over, and those that wait here."""
        return [*self._tasks, *self._queue]

    def notes(self) -> list[str]:
        """Nothing that the table does not show."""
        return []

    def stop(self) -> None:
        """Cancel all tasks; each lets its process save first."""
        self._queue.clear()
        self._stopped = time.monotonic()
        for reference in self._tasks.values():
            self._ray.cancel(reference, force=False)

    def kill(self) -> None:
        """Cancel all tasks at once."""
        self._queue.clear()
        self._stopped = float("-inf")
        for reference in self._tasks.values():
            self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster; one of this machine ends with its processes."""
        self._ray.shutdown()

    def _still_saving(self, name: str) -> bool:
        """A cancelled task is told as over while its process still saves."""
        if self._stopped is None or time.monotonic() - self._stopped > SAVE_SECONDS:
            return False
        return observe(self._folder, self._runs[name]).state == "running"

    def _collect(self, name: str, reference: Any) -> str | None:
        """Take a run's result back; returns what went wrong."""
        try:
            sent = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            lines = str(cause).strip().splitlines()
            return f"its task ended: {lines[-1] if lines else type(cause).__name__}"
        if sent is not None:
            run = self._runs[name]
            own = attempts.new_attempt(self._folder, run)
            try:
                unpack(sent, own)
                attempts.publish(self._folder, run, own)
            except (OSError, tarfile.TarError, RunFailed, UserError) as error:
                return f"its result could not be taken back: {error}"
            attempts.drop_attempts(self._folder, run)
        return None

    def _check_room(self, cpus: int, gpus: int) -> None:
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            empty: dict[str, float] = {}
            largest = max(nodes, key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)), default=empty)
            self.close()
            raise UserError(
                f"no node of the Ray cluster has {cpus} cores and {gpus} GPUs; the largest has "
                f"{largest.get('CPU', 0):.0f} and {largest.get('GPU', 0):.0f}: lower --cpus or --gpus"
            )


def run_on_node(study: str, name: str, directory: str, manifest: bytes, state: bytes | None) -> bytes | None:
    """The task: work on a run, here.

    Args:
        study: The study's folder as the sweep's machine sees it.
        name: The run.
        directory: Where the sweep was typed.
        manifest: The study's plan.
        state: What the run has so far, for a node that does not see the folder.

    Returns:
        The finished run, packed, from a node that does not see the folder; else None.

    Raises:
        RunFailed: The run did not finish.
    """
    folder = StudyDir(Path(study))
    if _sees(folder, manifest):
        Child(folder, name, directory).wait()
        return None
    with tempfile.TemporaryDirectory(prefix="gipo-") as own:
        folder = StudyDir(Path(own) / "study")
        folder.private.mkdir(parents=True)
        folder.manifest.write_bytes(manifest)
        if state is not None:
            unpack(state, folder.run(name))
        Child(folder, name, directory).wait()
        return pack(folder.run(name))


def pack(path: Path) -> bytes:
    """A run's folder as one archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for file in sorted(path.iterdir()):
            if file.name != ".lock":
                archive.add(file, arcname=file.name)
    return stream.getvalue()


def unpack(archive: bytes, path: Path) -> None:
    """Write an archive into a new folder; no name in it can lead out of there."""
    path.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(path, filter="data")


def _pack_newest(folder: StudyDir, run: PlannedRun) -> bytes | None:
    source = attempts.furthest(folder, run)
    if source is None:
        return None
    with tempfile.TemporaryDirectory(prefix="gipo-") as own:
        copy = Path(own) / "run"
        attempts.continue_as(source, copy)
        return pack(copy)


def _sees(folder: StudyDir, manifest: bytes) -> bool:
    try:
        own = folder.manifest.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(own).digest() == hashlib.sha256(manifest).digest()


def check(address: str | None) -> None:
    """Refuse what cannot work, before anything is planned or written.

    Raises:
        UserError: Ray is not installed, or nothing answers at the address.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("Ray is not installed; type: pip install 'gipo-cli[ray]'")
    if address is not None:
        _check_answer(address)


def _connect(address: str | None, jobs: int | None, cpus: int) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # Ray's ports are open to the network: without the token anybody there could run code here.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    common: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is not None:
        ray.init(address=address, **common)
    else:
        cores = cpus * jobs if jobs is not None else len(os.sched_getaffinity(0))
        ray.init(
            num_cpus=max(cores, cpus),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE,
            _node_ip_address="127.0.0.2",
            **common,
        )
    return ray


def _check_answer(address: str) -> None:
    """Ask before Ray does: it would wait for minutes.

    Raises:
        UserError: Nothing answers there, or something other than a Ray cluster.
    """
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
            command, capture_output=True, timeout=HEALTH_SECONDS, env=environment(), check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{address} accepts connections and is silent for {HEALTH_SECONDS:.0f} s; is that a Ray cluster?"
        ) from None
    if result.returncode != 0:
        said = result.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(
            f"{address} is not a healthy Ray cluster: {said[-1] if said else 'no reason was given'}; "
            f"a cluster with a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here too"
        )
