"""One process's share of a run: its folder, lock, signals and status around the training loop."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from gipo_cli.actors.replayed import Row, read_arrivals
from gipo_cli.errors import StoppedError, UserError
from gipo_cli.loggers.terminal import Display, print_summary
from gipo_cli.runs.checkpoint import Checkpoint
from gipo_cli.runs.durable import refuse_links, write_bytes
from gipo_cli.runs.layout import RunDir, create
from gipo_cli.runs.lock import run_lock
from gipo_cli.runs.logs import log_to
from gipo_cli.runs.machine import typed_command
from gipo_cli.runs.manifest import Manifest, trust_flag, write_config, write_inputs
from gipo_cli.runs.run import Run, open_run
from gipo_cli.runs.signals import stop_signals
from gipo_cli.runs.status import read_status, status_or_none
from gipo_cli.runs.tables import last_row, last_step
from gipo_cli.runs.watchdog import watched
from gipo_cli.settings.schema import RunConfig
from gipo_cli.training.attempt import Stop, attempt
from gipo_cli.training.changes import changed
from gipo_cli.training.initial import keep, load, prepare, write_success
from gipo_cli.training.trainer import Trainer
from gipo_cli.training.workshop import Workshop


def train(
    config: RunConfig,
    *,
    run_dir: Path,
    overrides: Sequence[str],
    command: Sequence[str],
    quiet: bool,
    unique: bool = False,
    arrivals: Path | None = None,
    root: Path | None = None,
) -> int:
    """Train a new run.

    Args:
        config: What to train.
        run_dir: Its folder, which must not exist.
        overrides: As typed, for the record.
        command: The command line, for the record.
        quiet: Show nothing but errors.
        unique: Append a number to the folder's name where it is taken; for names that nobody chose.
        arrivals: The record of another run's arrivals, to repeat.
        root: Folder of runs, in which ``init`` is looked up and clones are shared; None: the run's parent.

    Returns:
        Exit code: 0 finished, 1 failed, 128 and a signal's number if stopped by that.

    Raises:
        UserError: The run cannot be started; nothing was written.
    """
    rows = read_arrivals(arrivals, config.total_steps) if arrivals else ()
    folder = create(run_dir.parent, run_dir.name, unique=unique)
    with run_lock(folder.lock):
        try:
            watch = watched(folder, config.runtime.env_timeout_s)
            where, repeated = root or run_dir.parent, RunDir(arrivals.parent) if arrivals else None
            with stop_signals(_end), watch, _opened(config, folder, where, rows, repeated) as workshop:
                config, device = workshop.config, workshop.device
                if arrivals:
                    write_bytes(folder.arrivals, arrivals.read_bytes())
                write_inputs(folder, config, overrides=overrides, command=command, device=device)
                return _train(Run(folder, config), workshop, None, None, (), quiet)
        except BaseException:
            if not folder.exists():
                shutil.rmtree(folder.path)
            raise


def _opened(
    config: RunConfig, folder: RunDir, root: Path, arrivals: Sequence[Row], repeated: RunDir | None
) -> Workshop:
    """The workshop of a new run, which has its own copy of what it begins as from here on."""
    if config.init is None:
        return Workshop(config, arrivals)
    if repeated is None:
        prepare(config, folder, root)
    else:
        keep(folder, load(repeated))
    return Workshop(config, arrivals, load(folder))


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
    folder = RunDir(run_dir)
    refuse_links(run_dir)
    if folder.clone.is_file():
        raise UserError(f"{run_dir} is a clone and has no training to resume; type gipo train init={run_dir}")
    with run_lock(folder.lock):
        before = open_run(run_dir, trust=trust)
        config, changes = changed(before.config, overrides, allow=allow_changes)
        manifest = Manifest(folder)
        # First: a checkpoint of another format is not helped by --allow-changes.
        saved = _newest(Run(folder, config))
        moved = manifest.moved_versions()
        if moved and not allow_changes:
            raise UserError(
                f"{run_dir} went on with other versions so far ({', '.join(moved)}), so that its numbers "
                "would be others from here on; install those, or add --allow-changes"
            )
        replayed = config.actors.kind == "replayed"
        rows = read_arrivals(folder.arrivals, config.total_steps) if replayed else ()
        initial = None if config.init is None else load(folder)
        with watched(folder, config.runtime.env_timeout_s), Workshop(config, rows, initial) as workshop:
            then, now = manifest.device, workshop.device
            if then not in (None, now) and not allow_changes:
                raise UserError(
                    f"{run_dir} was trained on {then} so far, and on {now} its numbers would be others from "
                    f"here on; go on where there is {then}, or add --allow-changes"
                )
            return _train(Run(folder, workshop.config), workshop, saved, manifest, changes, quiet)


def _newest(run: Run) -> Checkpoint | None:
    """The checkpoint to go on from; None if the run was killed before its first.

    Raises: UserError where the run is finished, or its checkpoints are gone: beginning again would overwrite
        its results.
    """
    folder, config, store = run.folder, run.config, run.checkpoints
    store.recover()
    saved = store.load("last", needs=("policy", "optimizer")) if store.steps() else None
    status = status_or_none(folder.status)
    done = status is not None and status.state == "done"
    due = min(config.checkpoint.interval or config.total_steps, config.total_steps)
    if saved is None and (done or last_step(last_row(folder.metrics)) >= due + config.rollout_size):
        raise UserError(
            f"{folder.path} has results and its checkpoints are gone, so it cannot go on; restore "
            f"{folder.checkpoints}, or start a new run"
        )
    # A process killed after its last checkpoint still owes the last evaluation and its final word.
    if saved and saved.step >= config.total_steps and done:
        raise UserError(
            f"{folder.path} has finished its {config.total_steps} steps; to go on, raise them with "
            f"total_steps={2 * config.total_steps}"
        )
    return saved


def _remarks(run: Run, saved: Checkpoint | None, manifest: Manifest) -> list[str]:
    """What the user should know about a run that is resumed."""
    remarks = list(saved.notes) if saved else []
    if saved is None and run.folder.metrics.exists():
        remarks.append("there is no checkpoint, so the run begins again at step 0")
    try:
        read_status(run.folder.status)
    except UserError as error:
        remarks.append(f"{error}; it is written anew")
    texts = manifest.changed_texts()
    remarks += [f"{name} is not as it was written; nothing depends on it" for name in texts]
    moved = [*manifest.moved_versions(), *manifest.moved_processor()]
    return remarks + [f"{move}: from here on the run may differ in the last digits" for move in moved]


def _train(
    run: Run,
    workshop: Workshop,
    saved: Checkpoint | None,
    manifest: Manifest | None,
    changes: Sequence[str],
    quiet: bool,
) -> int:
    """Work on a run whose lock the caller holds; ``manifest`` is that of a run to be continued."""
    config, step = run.config, saved.step if saved else 0
    title = f"{config.objective.name} on {config.env.subject}, seed {config.seed}"
    name, size = run.folder.name, config.buffer_size
    display = Display(title, config.total_steps, name=name, capacity=size, step=step, quiet=quiet)
    stop = Stop(display.note)
    with log_to(run.folder.log) as log, suppress(StoppedError):
        remarks = _remarks(run, saved, manifest) if manifest else []
        with attempt(run, log, saved, display, stop) as opened:
            trainer = Trainer(opened, workshop)
            trainer.start(saved, remarks)
            if manifest:
                # Only now: values that the checkpoint does not fit must not become the run's own.
                manifest.add_update(
                    attempt=opened.status.status.attempt,
                    step=step,
                    command=typed_command(),
                    changes=changes,
                    device=workshop.device,
                )
                if changes:
                    write_config(run.folder, run.config)
            trainer.run()
            if workshop.initial is not None and stop.signal is None:
                write_success(run.folder, workshop.initial, workshop.agent, config)
    if stop.signal is not None:
        again = f"gipo train --resume {shlex.quote(str(run.folder.path))}{trust_flag(run.folder)}"
        text = f"stopped at step {workshop.agent.learner.steps}; go on with: {again}"
        display.console.print(text, markup=False, highlight=False, soft_wrap=True)
        return 128 + stop.signal
    if not quiet:
        print_summary(display.console, run.folder, tensorboard=config.logging.tensorboard)
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    """Until the loop takes signals over, each unwinds as Ctrl-C does: a half-made run is cleaned up."""
    sys.exit(128 + number)
