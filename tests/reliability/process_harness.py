"""Real ``gipo`` processes: started, killed, and looked at afterwards."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from warm import Warm

from gipo_cli.runs.checkpoint import CheckpointStore

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
PATIENCE = 180.0


def start(*arguments, cwd, **kwargs):
    """A process that leads a session of its own, by which what it leaves behind is found.

    One that starts with an environment or limits of its own starts cold.
    """
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    given = {"env": ENVIRONMENT, **streams, **kwargs}
    if kwargs.keys() & {"env", "preexec_fn"}:
        command = [sys.executable, "-m", "gipo_cli", *map(str, arguments)]
        return subprocess.Popen(command, cwd=cwd, start_new_session=True, **given)
    return Warm(arguments, cwd=cwd, start_new_session=True, **given)


@dataclass
class Ended:
    """How a process ended, what it said, and which processes it left behind."""

    code: int
    output: str
    orphans: list[str] = field(default_factory=list)


def finish(process, patience=PATIENCE):
    output = process.communicate(timeout=patience)[0]
    return Ended(process.returncode, output, orphans(process.pid))


def gipo(*arguments, cwd, **kwargs):
    return finish(start(*arguments, cwd=cwd, **kwargs))


def in_session(leader):
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.Error):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def orphans(leader):
    """What is left of a process's session some seconds after its end."""
    deadline = time.monotonic() + 15
    while (left := in_session(leader)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [" ".join(process.cmdline()) for process in left]


def wait_until(condition, process, seconds=PATIENCE):
    """Wait while the process lives; whether the condition came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.004)
    return True


def begun(run):
    """How often a run's loop has begun."""
    log = run / "log.txt"
    text = log.read_text(errors="replace") if log.exists() else ""
    return sum(line.endswith(" started") or " continued at step " in line for line in text.splitlines())


def stop_somewhere(process, run, number, dice, *, loop=1.0, startup=0.5):
    """Send a signal at a random moment: mostly within the first seconds of the loop, else while it starts.

    Returns: ``loop`` or ``startup``, or None if the process was faster.
    """
    where = "startup" if dice.random() < 0.2 else "loop"
    if where == "startup":
        moment = time.monotonic() + dice.uniform(0, startup)
    else:
        before = begun(run)
        if not wait_until(lambda: begun(run) > before, process):
            return None
        moment = time.monotonic() + dice.uniform(0, loop)
    wait_until(lambda: time.monotonic() >= moment, process)
    if process.poll() is not None:
        return None
    process.send_signal(number)
    return where


def rows(path):
    """The text of a table's cells, the columns that measure time aside."""
    with path.open(newline="") as file:
        return [
            {key: cell for key, cell in row.items() if not key.startswith("time/")}
            for row in csv.DictReader(file)
        ]


def curves(run):
    """Every point of TensorBoard's curves, in the order in which it shows them."""
    events = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith("time/")]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def assert_plain_equal(one, other, where="state"):
    """Equal to the bit, through nested containers of tensors."""
    if isinstance(other, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(other, np.ndarray):
        np.testing.assert_array_equal(one, other, where)
    elif isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for key in other:
            assert_plain_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(other, list | tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_plain_equal(*pair, f"{where}[{index}]")
    else:
        assert one == other, where


def assert_same_run(run: Path, expected: Path):
    """Everything a run recorded and everything it would go on with is equal, to the bit."""
    for table in ("metrics.csv", "eval.csv"):
        assert rows(run / table) == rows(expected / table), table
    assert curves(run) == curves(expected)
    one, other = (CheckpointStore(path / "checkpoints").load("last") for path in (run, expected))
    assert one.notes == []
    assert one.step == other.step
    assert_plain_equal(one.tensors, other.tensors, "tensors")
    for part in ("learner", "running", "best", "evaluated"):
        assert_plain_equal(one.state[part], other.state[part], part)
    assert_plain_equal(one.arrays, other.arrays, "arrays")


def dice_of(*names):
    """Random numbers that are the same each time for the same names."""
    return random.Random(":".join(map(str, names)))
