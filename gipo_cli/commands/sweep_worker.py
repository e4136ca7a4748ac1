"""The process that works on one run of a study; every engine starts exactly this.

It starts a run that is not there, continues one that is unfinished, says so if it is finished, and refuses
while another process works on it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.durable import refuse_links
from gipo_cli.runs.layout import RunDir
from gipo_cli.runs.lock import run_lock
from gipo_cli.runs.manifest import peek_config
from gipo_cli.settings.compose import config_hash, validate
from gipo_cli.sweep import attempt as attempts
from gipo_cli.sweep.estimate import Trial, free_memory
from gipo_cli.sweep.folder import StudyDir, read_study
from gipo_cli.sweep.plan import PlannedRun
from gipo_cli.sweep.state import finished_in, what_is_lost

ORPHAN_SECONDS = 120.0
"""Time that a worker whose parent died has for its last checkpoint."""
TRIAL_EPISODES = 4
"""Episodes of a trial's evaluation at most."""


def work(folder: StudyDir, run: PlannedRun, *, allow_changes: bool = False) -> int:
    """Work on a run in its own folder, under a lock that holds from before the folder exists.

    Returns the exit code of training, 0 if the run is finished already.

    Raises:
        UserError: Another process works on it, or the folder holds another run.
        RunFailed: The run cannot be continued.
    """
    folder.claims.mkdir(parents=True, exist_ok=True)
    with run_lock(folder.claim(run.name)):
        final = folder.run(run.name)
        source = attempts.furthest(folder, run)
        if source is not None and source != final:
            taken = attempts.new_attempt(folder, run)
            attempts.continue_as(source, taken)
            attempts.publish(folder, run, taken)
        code = _train(folder, final, run, allow_changes)
        if finished_in(final, run):
            attempts.drop_attempts(folder, run)
        return code


def work_apart(folder: StudyDir, run: PlannedRun, *, allow_changes: bool = False) -> int:
    """Work on a run in a folder of this attempt alone, and publish it when it is finished.

    Returns the exit code of training, 0 if the run is finished already.

    Raises:
        UserError: The run's folder is being written, or holds another run.
        RunFailed: The run cannot be continued.
    """
    own = folder.run(run.name)
    if not finished_in(own, run) and not what_is_lost(own):
        own = attempts.new_attempt(folder, run)
        source = attempts.furthest(folder, run)
        if source is not None:
            attempts.continue_as(source, own)
            attempts.drop_older(folder, run, source, own)
    code = _train(folder, own, run, allow_changes)
    if finished_in(own, run):
        attempts.publish(folder, run, own)
        attempts.drop_attempts(folder, run)
    return code


def _train(folder: StudyDir, path: Path, run: PlannedRun, allow_changes: bool) -> int:
    """Begin or continue a run in this folder; returns the exit code."""
    from gipo_cli.training.session import resume, train

    if finished_in(path, run):
        sys.stdout.write(f"{run.name} is finished: {run.total_steps} steps\n")
        return 0
    if lost := what_is_lost(path):
        raise UserError(lost)
    if not RunDir(path).exists():
        command = ["gipo", "train", *run.overrides]
        return train(
            run.config,
            run_dir=path,
            overrides=run.overrides,
            command=command,
            quiet=True,
            root=folder.path.parent,
        )
    # Only looked at until it is known to be the plan's own: what it names is imported when it goes on.
    config = peek_config(RunDir(path))
    planned = config
    if run.config.agent.precision == "auto":
        # Training has put there what that came to.
        agent = config.agent.model_copy(update={"precision": "auto"})
        planned = config.model_copy(update={"agent": agent})
    if (config_hash(planned), config.seed) != run.key:
        raise UserError(
            f"{path} was continued with other settings than the study's; move it away to run it anew"
        )
    raised = [f"total_steps={run.total_steps}"] if config.total_steps != run.total_steps else []
    return resume(path, overrides=raised, allow_changes=allow_changes, quiet=True, trust=True)


def try_out(text: str) -> Trial:
    """Measure an iteration of a run with a full buffer, without writing anything.

    The text is its configuration as JSON. Memory is counted with a full buffer, of which there are two while
    it is saved.
    """
    begun = time.perf_counter()
    import psutil

    from gipo_cli.training.workshop import Workshop

    config = validate(json.loads(text))
    with Workshop(config) as workshop:
        agent, learner, source = workshop.agent, workshop.agent.learner, workshop.source
        source.begin()
        source.publish()
        start = time.perf_counter() - begun
        rollout = source.next()
        learner.take(rollout)
        # An update costs less while the buffer holds little; one without memory for it is left as it is.
        size = learner.buffer.nbytes
        filled = size < free_memory()
        if filled:
            for _ in range(learner.buffer.capacity // len(rollout)):
                learner.buffer.add(rollout, config.agent.advantage)
        learner.update(config.total_steps)  # the first is slower
        source.publish()
        before = time.perf_counter()
        learner.take(source.next())
        learner.update(config.total_steps)
        seconds = time.perf_counter() - before
        episodes = min(TRIAL_EPISODES, config.eval.episodes)
        before = time.perf_counter()
        if workshop.evaluator is not None:
            workshop.evaluator.run(agent.acting(config.eval.deterministic), episodes)
        evaluation = (time.perf_counter() - before) * config.eval.episodes / max(episodes, 1)
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        memory = (1 if filled else 2) * size + sum(process.memory_info().rss for process in processes)
    return Trial(seconds=seconds, steps=config.rollout_size, start=start, evaluation=evaluation, bytes=memory)


def watch_parent() -> None:
    """End gently when the parent's end of standard input closes, which its death does too."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def main(arguments: Sequence[str]) -> int:
    """Play the role: ``[--apart] [--lifeline] STUDY_DIR RUN``, or ``--trial`` with a configuration as input.

    With ``--apart`` the run is done in a folder of its own until it is finished; with ``--lifeline`` the
    process ends when standard input closes.

    Returns:
        Exit code: 0 finished, 1 failed, 2 refused, 130 or 143 stopped by a signal.
    """
    # A scheduler's notice goes to every process of a job; the one above this answers it.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        if "--trial" in arguments:
            sys.stdout.write(try_out(sys.stdin.read()).model_dump_json() + "\n")
            return 0
        if "--lifeline" in arguments:
            watch_parent()
        folder = StudyDir(Path(arguments[-2]))
        refuse_links(folder.path, but=folder.submitted)
        study = read_study(folder, only=arguments[-1])
        begin = work_apart if "--apart" in arguments else work
        return begin(folder, study.runs[0], allow_changes=study.allow_changes)
    except UserError as error:
        code, message = 2, str(error)
    except RunFailed as error:
        code, message = 1, str(error)
    except KeyboardInterrupt:
        code, message = 130, "stopped before it had begun"
    sys.stderr.write(f"error: {message}\n")
    return code
