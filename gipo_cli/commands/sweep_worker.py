"""One run of a study, whatever its state: the child process ``sweep-worker STUDY_DIR RUN``.

Starts a run that is not there, continues one that is unfinished, says so if it is finished, and refuses while
another process works on it. Every engine runs exactly this.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.lock import RunLock
from gipo_cli.runs.manifest import peek_config
from gipo_cli.settings.compose import config_hash, validate
from gipo_cli.settings.schema import RunConfig
from gipo_cli.sweep import attempt as attempts
from gipo_cli.sweep.estimate import free_memory
from gipo_cli.sweep.manifest import StudyDir, read_study
from gipo_cli.sweep.plan import PlannedRun
from gipo_cli.sweep.state import finished_in

ORPHAN_SECONDS = 120.0
"""Time that a worker whose parent died has for its last checkpoint."""
TRIAL_EPISODES = 4
"""Episodes of a trial's evaluation at most."""


def work(folder: StudyDir, run: PlannedRun, *, allow_changes: bool = False) -> int:
    """Work on a run in its own folder, under a lock that holds from before the folder exists.

    Returns:
        Exit code of training, 0 if the run is finished already.

    Raises:
        UserError: Another process works on it, or the folder holds another run.
        RunFailed: The run cannot go on.
    """
    folder.claims.mkdir(parents=True, exist_ok=True)
    with RunLock(folder.claim(run.name)):
        final = folder.run(run.name)
        source = attempts.furthest(folder, run)
        if source is not None and source != final:
            taken = attempts.new_attempt(folder, run)
            attempts.continue_as(source, taken)
            attempts.publish(folder, run, taken)
        if _already(final, run):
            return 0
        if final.is_dir() and not RunDir(final).exists():
            # A process was killed before it had written the run's configuration.
            shutil.rmtree(final)
        code = _go_on(final, run, allow_changes) if final.is_dir() else _begin(final, run)
        if finished_in(final, run):
            attempts.drop_attempts(folder, run)
        return code


def work_apart(folder: StudyDir, run: PlannedRun, *, allow_changes: bool = False) -> int:
    """Work on a run in a folder of this attempt alone, and publish it when it is finished.

    Returns:
        Exit code of training, 0 if the run is finished already.

    Raises:
        UserError: The run's folder is being written, or holds another run.
        RunFailed: The run cannot go on.
    """
    final = folder.run(run.name)
    if _already(final, run):
        attempts.drop_attempts(folder, run)
        return 0
    source = attempts.furthest(folder, run)
    own = attempts.new_attempt(folder, run)
    if source is None:
        code = _begin(own, run)
    else:
        attempts.continue_as(source, own)
        attempts.drop_older(folder, run, source, own)
        code = 0 if finished_in(own, run) else _go_on(own, run, allow_changes)
    if finished_in(own, run):
        attempts.publish(folder, run, own)
        attempts.drop_attempts(folder, run)
    return code


def _already(path: Path, run: PlannedRun) -> bool:
    if not finished_in(path, run):
        return False
    sys.stdout.write(f"{run.name} is finished: {run.total_steps} steps\n")
    return True


def _begin(path: Path, run: PlannedRun) -> int:
    from gipo_cli.training.session import train

    command = ["gipo", "train", *run.overrides]
    return train(run.config, run_dir=path, overrides=run.overrides, command=command, quiet=True)


def _go_on(path: Path, run: PlannedRun, allow_changes: bool) -> int:
    from gipo_cli.training.session import resume

    # Only looked at until it is known to be the plan's own: what it names is imported when it goes on.
    config = peek_config(RunDir(path))
    if (config_hash(_as_planned(config, run)), config.seed) != run.key:
        raise UserError(
            f"{path} was continued with other settings than the study's; move it away to run it anew"
        )
    raised = [f"total_steps={run.total_steps}"] if config.total_steps != run.total_steps else []
    return resume(path, overrides=raised, allow_changes=allow_changes, quiet=True, trust=True)


def _as_planned(config: RunConfig, run: PlannedRun) -> RunConfig:
    """A run's configuration with a precision of ``auto`` where training has put what that came to."""
    if run.config.agent.precision != "auto":
        return config
    agent = config.agent.model_copy(update={"precision": "auto"})
    return config.model_copy(update={"agent": agent})


def calibrate(text: str) -> dict[str, float]:
    """Measure an iteration of a run with a full buffer, without writing anything.

    Args:
        text: Its configuration as JSON.

    Returns:
        ``seconds`` and ``steps`` of an iteration, ``start`` (seconds until the first step), ``evaluation``
        (seconds of one) and ``bytes`` of memory with a full buffer, of which there are two while it is saved.
    """
    begun = time.perf_counter()
    import psutil

    from gipo_cli.training.trainer import Workshop

    config = validate(json.loads(text))
    with Workshop(config) as workshop:
        agent = workshop.agent
        agent.begin(config.total_steps)
        start = time.perf_counter() - begun
        rollout = agent.collect()  # this iteration also warms up caches
        agent.update()
        # An update costs less while the buffer holds little; one without memory for it is left as it is.
        size = agent.buffer.nbytes
        filled = rollout is not None and size < free_memory()
        if rollout is not None and filled:
            for _ in range(agent.buffer.capacity // len(rollout)):
                agent.buffer.add(rollout, config.agent.advantage)
        before = time.perf_counter()
        agent.collect()
        agent.update()
        seconds = time.perf_counter() - before
        episodes = min(TRIAL_EPISODES, config.eval.episodes)
        before = time.perf_counter()
        workshop.evaluator.run(lambda obs: agent.act(obs, config.eval.deterministic), episodes)
        evaluation = (time.perf_counter() - before) * config.eval.episodes / episodes
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        memory = (1 if filled else 2) * size + sum(process.memory_info().rss for process in processes)
    return {
        "seconds": seconds,
        "steps": config.rollout_size,
        "start": start,
        "evaluation": evaluation,
        "bytes": memory,
    }


def watch_parent() -> None:
    """End gently when the parent's end of standard input closes, which its death does too."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker's command line.

    Returns:
        Exit code: 0 finished, 1 failed, 2 refused, 130 or 143 stopped by a signal.
    """
    parser = argparse.ArgumentParser(prog="sweep-worker", description=__doc__)
    parser.add_argument("study", type=Path, nargs="?", help="the study's folder")
    parser.add_argument("run", nargs="?", help="name of the run")
    parser.add_argument("--apart", action="store_true", help="in a folder of its own until it is finished")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input closes")
    parser.add_argument("--calibrate", action="store_true", help="measure a configuration given as JSON")
    given = parser.parse_args(arguments)
    # A scheduler's notice goes to every process of a job; the one above this answers it.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        if given.calibrate:
            sys.stdout.write(json.dumps(calibrate(sys.stdin.read())) + "\n")
            return 0
        if given.study is None or given.run is None:
            parser.error("name the study's folder and the run")
        if given.lifeline:
            watch_parent()
        folder = StudyDir(given.study)
        study = read_study(folder, only=given.run)
        begin = work_apart if given.apart else work
        return begin(folder, study.runs[0], allow_changes=study.allow_changes)
    except UserError as error:
        code, message = 2, str(error)
    except RunFailed as error:
        code, message = 1, str(error)
    except KeyboardInterrupt:
        code, message = 130, "stopped before it had begun"
    sys.stderr.write(f"error: {message}\n")
    return code
