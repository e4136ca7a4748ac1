"""Sweeps on a real SLURM of this machine: two nodes on loopback, without accounting."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
    plant,
    statuses,
    tiny,
    undisturbed,
    until,
    with_trial,
    workers,
)

STEPS = 6144
GRID = (*tiny(STEPS), "objective=gipo", "seed=1,2", "--name", "grid", "--backend", "slurm")
SHORT = (*TINY, "objective=gipo", "seed=1,2,3", "--name", "grid", "--backend", "slurm")
NEEDED = ("slurmctld", "slurmd", "squeue", "scancel", "scontrol", "sbatch", "srun")

pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or any(shutil.which(name) is None for name in NEEDED),
        reason="as root: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge",
    ),
]


def config(folder: Path, host: str, ports: list[int]) -> str:
    """One controller and two nodes of one core, on loopback only."""
    lines = f"""
        ClusterName=test
        SlurmctldHost={host}(127.0.0.1)
        SlurmctldPort={ports[0]}
        SlurmUser=root
        SlurmdUser=root
        AuthType=auth/none
        CredType=cred/none
        AuthInfo=cred_expire=5
        StateSaveLocation={folder}/state
        SlurmdSpoolDir={folder}/spool/%n
        SlurmctldPidFile={folder}/ctld.pid
        SlurmdPidFile={folder}/slurmd-%n.pid
        SlurmctldLogFile={folder}/ctld.log
        SlurmdLogFile={folder}/slurmd-%n.log
        ProctrackType=proctrack/linuxproc
        TaskPlugin=task/none
        JobAcctGatherType=jobacct_gather/none
        SelectType=select/cons_tres
        SelectTypeParameters=CR_Core
        SwitchType=switch/none
        MpiDefault=none
        ReturnToService=2
        KillWait=15
        SlurmdTimeout=10
        MailProg=/bin/true
        SchedulerParameters=sched_interval=1,bf_interval=5
        CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
        NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=2000
        NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=2000
        MaxArraySize=2
        PreemptType=preempt/partition_prio
        PreemptMode=REQUEUE
        PartitionName=debug Nodes=ALL Default=YES PriorityTier=1 GraceTime=30 MaxTime=INFINITE State=UP
        PartitionName=urgent Nodes=ALL PriorityTier=9 PreemptMode=OFF MaxTime=INFINITE State=UP
    """
    return "\n".join(line.strip() for line in lines.strip().splitlines()) + "\n"


@dataclass
class Slurm:
    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *words: str) -> None:
        log = (self.folder / f"{name}.out").open("wb")
        self.daemons[name] = subprocess.Popen(
            words, env=self.environment, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
        )

    def ask(self, *words: str) -> str:
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=30, check=False
        ).stdout

    def idle(self) -> bool:
        return self.ask("sinfo", "-h", "-N", "-p", "debug", "-o", "%T").split() == ["idle", "idle"]

    def sweep(self, root: Path, *arguments: str, grid: Sequence[str] = GRID) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(root, *grid, *arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd=root,
        )

    def stop(self) -> None:
        self.ask("scancel", "--user=root")
        with suppress(AssertionError):
            until(lambda: not self.ask("squeue", "-h"), "an empty queue", 20)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in psutil.process_iter(["cmdline", "name"]):
            words = process.info["cmdline"] or []
            if self._started(process) or any(str(self.folder) in word for word in words):
                process.kill()

    def _started(self, process: psutil.Process) -> bool:
        """Whether this is what a job of these nodes left, and not of another SLURM on this machine."""
        with suppress(psutil.Error):
            own = self.environment["SLURM_CONF"]
            return process.name() == "slurmstepd" and process.environ().get("SLURM_CONF") == own
        return False


@contextmanager
def started(folder: Path) -> Iterator[Slurm]:
    for name in ("state", "spool/n1", "spool/n2"):
        (folder / name).mkdir(parents=True)
    probes = [socket.socket() for _ in range(3)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    host = socket.gethostname().split(".")[0]
    (folder / "slurm.conf").write_text(config(folder, host, ports))
    made = Slurm(folder, os.environ | PLAIN | {"SLURM_CONF": str(folder / "slurm.conf")})
    try:
        made.start("ctld", "slurmctld", "-c", "-D")
        for node in ("n1", "n2"):
            made.start(node, "slurmd", "-D", "-N", node)
        until(made.idle, "idle nodes", 30)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with started(tmp_path_factory.mktemp("slurm")) as made:
        yield made


@pytest.fixture
def mortal_slurm(tmp_path: Path) -> Iterator[Slurm]:
    """One whose nodes may be killed."""
    with started(tmp_path / "slurm") as made:
        yield made


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(tmp_path_factory.mktemp("longer"), "objective=gipo", "seed=1,2", steps=STEPS)


def test_arrays_one_after_the_other(tmp_path: Path, slurm: Slurm, reference: Path):
    """Three runs, two at a time, where an array may have two jobs; no job runs a file of the directory."""
    whole = reference / "grid"
    with_trial(tmp_path, *SHORT)
    mark = plant(tmp_path)
    sweep = slurm.sweep(tmp_path, "--jobs", "2", grid=SHORT)
    output, _ = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, output
    assert not mark.exists()
    assert_same_runs(tmp_path / "grid", whole, names_of(whole))
    assert not attempts_of(tmp_path / "grid")
    logs = (tmp_path / "grid" / ".sweep" / "slurm").rglob("*_log.out")
    assert len({log.name.partition("_")[0] for log in logs}) == 2, "as many arrays"


@pytest.mark.parametrize(
    ("option", "refusal"),
    [
        ("slurm_partition=nowhere", "SLURM refuses the jobs: sbatch: error: "),
        ("slurm_partitoin=debug", "Unknown argument 'partitoin'"),
        ("60", "'60' is no option; write key=value"),
    ],
)
def test_what_slurm_refuses_is_one_sentence(
    tmp_path: Path, slurm: Slurm, sweep, monkeypatch: pytest.MonkeyPatch, option: str, refusal: str
):
    with_trial(tmp_path, *SHORT)
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    said = sweep(*SHORT, "--slurm", option)
    assert said.code == 2
    assert refusal in said.err.splitlines()[-1]
    assert not slurm.ask("squeue", "-h")


@pytest.mark.cluster
def test_cancel_saves(tmp_path: Path, longer: Path, slurm: Slurm):
    study = tmp_path / "grid"
    sweep = slurm.sweep(tmp_path)
    until(lambda: len(attempts_of(study)) == 2, "runs on both nodes")
    sweep.send_signal(signal.SIGINT)
    output, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, output
    until(lambda: not workers(tmp_path), "the processes' end", 30)
    assert not slurm.ask("squeue", "-h")
    sweep = slurm.sweep(tmp_path)
    output, _ = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, output
    assert_same_runs(study, longer, names_of(longer))


@pytest.mark.cluster
def test_killed_sweep_leaves_its_jobs_and_the_next_follows_them(tmp_path: Path, longer: Path, slurm: Slurm):
    study = tmp_path / "grid"
    sweep = slurm.sweep(tmp_path)
    until(lambda: attempts_of(study), "a first run")
    sweep.kill()
    sweep.wait()
    assert slurm.ask("squeue", "-h")
    sweep = slurm.sweep(tmp_path)
    output, _ = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, output
    assert "in SLURM's queue already and are followed" in output
    assert_same_runs(study, longer, names_of(longer))


@pytest.mark.cluster
def test_death_of_a_node(tmp_path: Path, longer: Path, mortal_slurm: Slurm):
    """The node's daemon dies and its job lives on, writing, while SLURM starts the job again elsewhere."""
    study = tmp_path / "grid"
    sweep = mortal_slurm.sweep(tmp_path)
    until(lambda: len(attempts_of(study)) == 2, "runs on both nodes")
    mortal_slurm.daemons["n2"].kill()
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    assert_same_runs(study, longer, names_of(longer))
    assert all(status.state == "done" for status in statuses(study).values())


@pytest.mark.cluster
def test_time_limit_saves_and_requeues(tmp_path: Path, slurm: Slurm):
    whole = undisturbed(tmp_path / "whole", "objective=gipo", "seed=1", steps=40960)
    limits = ("--slurm=timeout_min=1", "--slurm=signal_delay_s=30")
    grid = (*tiny(40960), "objective=gipo", "seed=1", "--name", "grid", "--backend", "slurm")
    sweep = slurm.sweep(tmp_path, *limits, grid=grid)
    output, _ = sweep.communicate(timeout=500)
    assert sweep.returncode == 0, output
    name = names_of(whole)[0]
    assert statuses(tmp_path / "grid")[name].attempt > 1, "it was over before the time limit"
    assert_same_runs(tmp_path / "grid", whole, [name])


@pytest.mark.cluster
def test_preempted_jobs_save_and_go_on_later(tmp_path: Path, longer: Path, slurm: Slurm):
    study = tmp_path / "grid"
    sweep = slurm.sweep(tmp_path)
    until(lambda: len(attempts_of(study)) == 2, "runs on both nodes")
    urgent = slurm.ask(
        "sbatch", "--parsable", "-p", "urgent", "-N", "2", "-o", "/dev/null", "--wrap", "sleep 3"
    )
    state = ("squeue", "-h", "-j", urgent.strip(), "-o", "%T")
    until(lambda: slurm.ask(*state).strip() == "RUNNING", "the urgent job", 90)
    until(lambda: not workers(tmp_path), "the preempted processes' end", 30)
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    assert_same_runs(study, longer, names_of(longer))
    assert all(status.attempt > 1 for status in statuses(study).values())
