"""The SLURM engine: a job array through submitit, saved and requeued at its time limit and when preempted.

SLURM may start a job again while the process of the time before still lives on a node that stopped
answering, so every attempt works in a folder of its own. Whether a job is over is read from the queue, and
what became of its run from the run's folder: submitit alone cannot tell without an accounting data base.
"""

from __future__ import annotations

import importlib.util
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.durable import read_sealed, write_sealed
from gipo_cli.sweep.engine import Engine
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.worker import Worker

ANSWER_SECONDS = 15.0
QUEUE_SECONDS = 5.0
"""Time between two looks at the queue: every one costs the controller of the whole cluster."""
STOP = ("scancel",)
KILL = ("scancel", "--signal=KILL", "--full")
REFUSALS = 4
"""Times that SLURM may refuse to end jobs at once, or not answer, before the sweep leaves without them."""
DEFAULTS: dict[str, Any] = {"timeout_min": 240, "signal_delay_s": 120, "name": "gipo"}
"""Time limit of a job, after which it saves and queues again, and the notice that it gets before."""
REQUEUES = 1000
"""Times that a job may run into its time limit: long runs are made of many short jobs."""


class RunTask:
    """What a job does: work on one run. submitit asks it for a checkpoint before time is up."""

    def __init__(self, study: str, name: str, directory: str) -> None:
        self._arguments = (study, name, directory)
        self._worker: Worker | None = None

    def __call__(self) -> None:
        """Work until the run is finished, or until the job has to make room and is queued again.

        Raises:
            RunFailed: The run did not finish.
        """
        study, name, directory = self._arguments
        self._worker = Worker(StudyDir(Path(study)), name, apart=True, directory=directory)
        try:
            self._worker.wait()
        except RunFailed:
            if self._worker.code == 128 + signal.SIGTERM and _makes_room():
                # A job that ends by itself in its grace period is over for SLURM; submitit queues it again.
                signal.raise_signal(signal.SIGUSR2)
            raise

    def checkpoint(self) -> Any:
        """Let the worker save and end; the job that follows goes on from there."""
        from submitit.helpers import DelayedSubmission

        if self._worker is not None:
            self._worker.end()
        return DelayedSubmission(RunTask(*self._arguments))


class SlurmEngine(Engine[str]):
    """Runs as SLURM jobs, in arrays; every node must see the study's folder under the same path.

    Jobs of an earlier sweep that was broken off and that are still in the queue are followed, not submitted
    again. A run takes ``cpus`` cores and ``gpus`` GPUs; ``options`` are in submitit's words, such as
    ``timeout_min=60`` or ``slurm_partition=short``.
    """

    def __init__(
        self, folder: StudyDir, jobs: int | None, *, cpus: int, gpus: int, options: Sequence[str]
    ) -> None:
        super().__init__(folder, jobs)
        self._record = folder.private / "jobs.json"
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _slurm("scontrol", "show", "config"), re.MULTILINE)
        self._largest_array = max(int(found.group(1)), 1) if found else 1
        self._looked = 0.0
        self._told: set[str] = set()
        self._ending: tuple[str, ...] = ()
        self._refused = 0
        self._executor = _executor(
            folder.submitted / secrets.token_hex(6), cpus=cpus, gpus=gpus, jobs=jobs, options=options
        )

    def submit(self, names: Sequence[str]) -> None:
        """Hand all runs over, except those that are in SLURM's queue already.

        Raises:
            UserError: SLURM refuses the jobs.
        """
        queued = _queued()
        try:
            before = dict(read_sealed(self._record)["jobs"])
        except (UserError, KeyError, TypeError, ValueError):
            before = {}
        self.tasks = {name: before[name] for name in names if before.get(name) in queued}
        if self.tasks:
            self.notes.append(f"{len(self.tasks)} runs are in SLURM's queue already and are followed")
        super().submit([name for name in names if name not in self.tasks])
        self._hand_over()

    def poll(self) -> dict[str, str]:
        """Jobs that have left SLURM's queue; also the moment to submit a further array, or to cancel."""
        if not self.tasks:
            self._hand_over()
        if not self.tasks or time.monotonic() - self._looked < QUEUE_SECONDS:
            return {}
        self._looked = time.monotonic()
        with self._noted():
            if self._ending:
                _slurm(*self._ending, *self.tasks.values())
                # Heard once is enough: a job asked again while it saves may be ended at once.
                if self._ending == STOP:
                    self._ending = ()
        over: dict[str, str] = {}
        with self._noted():
            queued = _queued()
            over = {name: job for name, job in self.tasks.items() if job not in queued}
        return {name: self._how(self.tasks.pop(name)) for name in over}

    def stop(self) -> None:
        """Cancel the jobs: SLURM asks their processes to end, which save first."""
        self._cancel(STOP)

    def kill(self) -> None:
        """Cancel the jobs at once."""
        self._cancel(KILL)

    def _hand_over(self) -> None:
        """Submit what is left; where only so many may run at a time, one array after the other."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        study, directory = str(self.folder.path.resolve()), str(Path.cwd())
        while self.queue and not (self.tasks and self.jobs is not None):
            names = self.queue[: self._largest_array]
            del self.queue[: self._largest_array]
            try:
                with self._executor.batch():
                    jobs = [self._executor.submit(RunTask(study, name, directory)) for name in names]
            except (FailedJobError, FailedSubmissionError) as error:
                raise UserError(f"SLURM refuses the jobs: {str(error).strip().splitlines()[-1]}") from error
            self.tasks |= {name: job.job_id for name, job in zip(names, jobs, strict=True)}
            write_sealed(self._record, {"jobs": self.tasks})

    def _cancel(self, command: tuple[str, ...]) -> None:
        """Send this to the jobs at the next look at SLURM's queue, which is due now."""
        if command != self._ending:
            self.queue, self._ending, self._looked, self._refused = [], command, 0.0, 0

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """What SLURM leaves unanswered or refuses becomes a note: it is asked again at the next look."""
        try:
            yield
        except RunFailed as error:
            self._refused += 1
            if self._ending == KILL and self._refused >= REFUSALS:
                raise RunFailed(f"{error}; its jobs stay, and the same command follows them") from error
            if str(error) not in self._told:
                self._told.add(str(error))
                self.notes.append(str(error))

    def _how(self, job: str) -> str:
        logs = sorted(self.folder.submitted.rglob(f"{job}_*_log.err"))
        lines = logs[-1].read_text(errors="replace").strip().splitlines() if logs else []
        return f"its SLURM job {job} ended{f': {lines[-1]}' if lines else ''}"


def check(options: Sequence[str]) -> None:
    """Refuse what cannot work, before anything is planned or written.

    Raises:
        UserError: submitit or SLURM is missing, SLURM does not answer, or an option is not one of submitit's.
    """
    if importlib.util.find_spec("submitit") is None:
        raise UserError("submitit is not installed; type: pip install submitit")
    if shutil.which("sbatch") is None:
        raise UserError(
            "there is no sbatch here; run this where SLURM's commands are, or use --print-commands"
        )
    with tempfile.TemporaryDirectory() as logs:
        _executor(Path(logs), cpus=1, gpus=0, jobs=None, options=options)
    try:
        _queued()
    except RunFailed as error:
        raise UserError(f"{error}; is this a machine of the cluster?") from error


def parse(options: Sequence[str]) -> dict[str, Any]:
    """``key=value`` options, numbers as numbers.

    Raises:
        UserError: One is no ``key=value``.
    """
    parsed: dict[str, Any] = {}
    for option in options:
        key, sign, value = option.partition("=")
        if not sign or not key.isidentifier():
            raise UserError(f"--slurm {option!r} is no option; write key=value, as in timeout_min=60")
        parsed[key] = int(value) if value.isdecimal() else value
    return parsed


def _executor(logs: Path, *, cpus: int, gpus: int, jobs: int | None, options: Sequence[str]) -> Any:
    import submitit

    given = DEFAULTS | {"cpus_per_task": cpus} | ({"gpus_per_node": gpus} if gpus else {})
    given |= {"slurm_array_parallelism": jobs} if jobs is not None else {}
    given |= parse(options)
    given["slurm_signal_delay_s"] = given.pop("signal_delay_s")
    try:
        executor = submitit.AutoExecutor(
            logs.resolve(),
            cluster="slurm",
            slurm_max_num_timeout=REQUEUES,
            slurm_python=f"{shlex.quote(sys.executable)} -P",
        )
        executor.update_parameters(**given)
    except (NameError, TypeError, ValueError, AssertionError) as error:
        raise UserError(f"--slurm: {str(error).splitlines()[0]}") from error
    return executor


def _makes_room() -> bool:
    """Whether SLURM asked this job to end without having decided that it is over, as it is when cancelled."""
    import submitit

    job = submitit.JobEnvironment().job_id
    return _slurm("squeue", "--noheader", "--format=%T", f"--jobs={job}").strip() == "RUNNING"


def _queued() -> set[str]:
    """Identifiers of this user's jobs that wait or run, array tasks one by one."""
    return set(_slurm("squeue", "--me", "--noheader", "--array", "--format=%i").split())


def _slurm(*command: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunFailed(f"SLURM does not answer {command[0]} ({type(error).__name__})") from error
    if result.returncode != 0:
        said = ["no reason", *result.stderr.strip().splitlines()]
        raise RunFailed(f"SLURM refuses {command[0]}: {said[-1]}")
    return result.stdout
