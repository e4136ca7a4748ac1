"""One process's share of a run: its folder, lock, signals and status around the training loop."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import FrameType

from gipo_cli.errors import RunFailed, UserError
from gipo_cli.loggers.terminal import Display, print_summary
from gipo_cli.runs.catalog import DIAGNOSTIC_COLUMNS, EVALUATION_COLUMNS, METRIC_COLUMNS
from gipo_cli.runs.checkpoint import Checkpoint
from gipo_cli.runs.layout import RunDir, create
from gipo_cli.runs.lock import RunLock
from gipo_cli.runs.logs import log_to
from gipo_cli.runs.manifest import (
    changed_texts,
    moved_processor,
    moved_versions,
    note_update,
    read_config,
    trained_on,
    typed_command,
    write_config,
    write_inputs,
)
from gipo_cli.runs.recorder import Recorder, flatten, last_row, last_step
from gipo_cli.runs.signals import stop_signals
from gipo_cli.runs.status import StatusFile, read_status
from gipo_cli.runs.trust import trust_flag
from gipo_cli.runs.watchdog import Watchdog
from gipo_cli.settings.schema import RunConfig
from gipo_cli.training.trainer import Loop, Stop, Workshop, checkpoint_store

TABLES = {
    "columns": METRIC_COLUMNS,
    "eval_columns": EVALUATION_COLUMNS,
    "diagnostics_columns": DIAGNOSTIC_COLUMNS,
}
HPARAM_METRICS = ("eval/success", "eval/return_mean", "train/return")


def train(
    config: RunConfig,
    *,
    run_dir: Path,
    overrides: Sequence[str],
    command: Sequence[str],
    quiet: bool,
    unique: bool = False,
) -> int:
    """Train a new run.

    Args:
        config: What to train.
        run_dir: Its folder, which must not exist.
        overrides: As typed, for the record.
        command: The command line, for the record.
        quiet: Show nothing but errors.
        unique: Append a number to the folder's name where it is taken; for names that nobody chose.

    Returns:
        Exit code: 0 finished, 1 failed, 128 and a signal's number if stopped by that.

    Raises:
        UserError: The run cannot be started; nothing was written.
    """
    run = create(run_dir.parent, run_dir.name, unique=unique)
    with RunLock(run.lock):
        try:
            watchdog = Watchdog(run, config.runtime.env_timeout_s)
            with stop_signals(_end), watchdog, Workshop(config) as workshop:
                write_inputs(
                    run, workshop.config, overrides=overrides, command=command, device=workshop.device
                )
                return _attempt(run, workshop, None, quiet)
        except BaseException:
            if not run.exists():
                shutil.rmtree(run.path)
            raise


def resume(
    run_dir: Path, *, overrides: Sequence[str], allow_changes: bool, quiet: bool, trust: bool = False
) -> int:
    """Continue a run from its newest good checkpoint, exactly as if it had never stopped.

    Args:
        run_dir: The run's folder.
        overrides: Changes to its configuration; a larger ``total_steps`` is free.
        allow_changes: Accept other changes, and other versions of libraries, which make the run another one
            from here on.
        quiet: Show nothing but errors.
        trust: Import the modules that its configuration names.

    Returns:
        Exit code, as :func:`train`.

    Raises:
        UserError: The run cannot be continued as asked; nothing was changed.
    """
    from gipo_cli.training.changes import changed

    run = RunDir(run_dir)
    with RunLock(run.lock):
        config, changes = changed(read_config(run, trust=trust), overrides, allow=allow_changes)
        moved = moved_versions(run)
        if moved and not allow_changes:
            raise UserError(
                f"{run.path} went on with other versions so far ({', '.join(moved)}), so that its numbers "
                "would be others from here on; install those, or add --allow-changes"
            )
        store = checkpoint_store(run, config)
        store.recover()
        saved = store.load("last", needs=("policy", "optimizer")) if store.steps() else None
        if saved is None:
            _check_begun(run, config)
        # A process killed after its last checkpoint still owes the last evaluation and its final word.
        if saved and saved.state["agent"]["num_timesteps"] >= config.total_steps and _says_done(run):
            raise UserError(
                f"{run.path} has finished its {config.total_steps} steps; to go on, raise them with "
                f"total_steps={2 * config.total_steps}"
            )
        with Watchdog(run, config.runtime.env_timeout_s), Workshop(config) as workshop:
            before = trained_on(run)
            if before not in (None, workshop.device) and not allow_changes:
                raise UserError(
                    f"{run.path} was trained on {before} so far, and on {workshop.device} its numbers would "
                    f"be others from here on; go on where there is {before}, or add --allow-changes"
                )
            return _attempt(run, workshop, saved, quiet, changes)


def _remarks(run: RunDir, saved: Checkpoint | None) -> list[str]:
    """What the user should know about a run that is resumed."""
    remarks = list(saved.notes) if saved else []
    if saved is None and run.metrics.exists():
        remarks.append("there is no checkpoint, so the run begins again at step 0")
    try:
        read_status(run.status)
    except UserError as error:
        remarks.append(f"{error}; it is written anew")
    remarks += [f"{name} is not as it was written; nothing depends on it" for name in changed_texts(run)]
    moved = [*moved_versions(run), *filter(None, [moved_processor(run)])]
    remarks += [f"{move}: from here on the run may differ in the last digits" for move in moved]
    return remarks


def _check_begun(run: RunDir, config: RunConfig) -> None:
    """Refuse a run whose checkpoints are gone: beginning again would overwrite its results.

    One that was killed before its first checkpoint makes the same rows again.
    """
    due = min(config.checkpoint.interval or config.total_steps, config.total_steps)
    if _says_done(run) or last_step(last_row(run.metrics)) >= due + config.rollout_size:
        raise UserError(
            f"{run.path} has results and its checkpoints are gone, so it cannot go on; restore "
            f"{run.checkpoints}, or start a new run"
        )


def _says_done(run: RunDir) -> bool:
    try:
        return read_status(run.status).state == "done"
    except UserError:
        return False


def _attempt(
    run: RunDir,
    workshop: Workshop,
    saved: Checkpoint | None,
    quiet: bool,
    changes: Sequence[str] | None = None,
) -> int:
    """One process's share of a run, whose lock the caller holds; its status is told truly come what may."""
    config = workshop.config
    with ExitStack() as stack:
        log = stack.enter_context(log_to(run.log))
        step = saved.step if saved else 0
        remarks = [] if changes is None else _remarks(run, saved)
        recorder = stack.enter_context(closing(_recorder(run, config, saved)))
        status = StatusFile(run.status, total_steps=config.total_steps, step=step)
        title = f"{config.objective.name} on {config.env.subject}, seed {config.seed}"
        display = stack.enter_context(Display(title, config.total_steps, step=step, quiet=quiet))
        stop = Stop()
        stack.enter_context(stop_signals(stop))
        loop = Loop(run, workshop, recorder, status, display, log, stop)
        try:
            loop.start(saved, remarks)
            if changes is not None:
                # Only now: values that the checkpoint does not fit must not become the run's own.
                attempt = status.status.attempt
                note_update(
                    run,
                    attempt=attempt,
                    step=step,
                    command=typed_command(),
                    changes=changes,
                    device=workshop.device,
                )
                if changes:
                    write_config(run, config)
            loop.run()
        except (RunFailed, UserError) as error:
            log.error("%s", error)
            status.finish("failed", str(error))
            raise
        except KeyboardInterrupt:
            status.finish("interrupted", "stopped at once by a second signal")
            return 128 + (stop.signal or signal.SIGINT)
        except BaseException as error:
            log.exception("unexpected")
            status.finish("failed", f"{type(error).__name__}: {error}")
            raise
        if stop.signal is not None:
            status.finish("interrupted", f"stopped by {signal.Signals(stop.signal).name}; resume it to go on")
            code = 128 + stop.signal
        else:
            status.finish("done")
            code = 0
    if code:
        again = f"gipo train --resume {shlex.quote(str(run.path))}{trust_flag(run)}"
        display.console.print(
            f"stopped at step {loop.agent.num_timesteps}; go on with: {again}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    elif not quiet:
        print_summary(display.console, run, tensorboard=config.logging.tensorboard)
    return code


def _recorder(run: RunDir, config: RunConfig, saved: Checkpoint | None) -> Recorder:
    tensorboard = config.logging.tensorboard
    if saved is not None:
        return Recorder.resume(run, saved.state["recorder"], tensorboard=tensorboard, **TABLES)
    fresh = not run.metrics.exists()
    make = Recorder.start if fresh else (lambda run, **tables: Recorder.resume(run, None, **tables))
    recorder = make(run, tensorboard=tensorboard, **TABLES)
    recorder.hparams(flatten(config.model_dump(mode="json")), HPARAM_METRICS)
    return recorder


def _end(number: int, frame: FrameType | None) -> None:
    """Until the loop takes signals over, each unwinds as Ctrl-C does: a half-made run is cleaned up."""
    sys.exit(128 + number)
