"""``gipo train``: configuration, environment, agent and run folder wired into one loop."""

from __future__ import annotations

import csv
import logging
import math
import shlex
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import torch

from gipo_cli.core.health import trust_weight
from gipo_cli.envs.make import make_vec_env
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.learning.updater import NonFinite, UpdateStats
from gipo_cli.loggers.terminal import Display, print_summary
from gipo_cli.runs.catalog import DIAGNOSTIC_COLUMNS, EVALUATION_COLUMNS, METRIC_COLUMNS
from gipo_cli.runs.checkpoint import Checkpoint, CheckpointPayload, CheckpointStore
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
from gipo_cli.training.evaluate import Evaluator

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
        store = _store(run, config)
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


class Workshop(ExitStack):
    """Environments and agent of a run, opened before anything is written."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        try:
            self._open(config)
        except BaseException:
            self.close()
            raise

    def _open(self, config: RunConfig) -> None:
        device = config.runtime.device
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("device cuda was asked for and there is no usable GPU; use --device cpu or auto")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = device
        torch.set_num_threads(config.runtime.torch_threads)
        self.env = self.enter_context(closing(make_vec_env(config.env, config.seed)))
        self.evaluator = self.enter_context(
            closing(Evaluator(config.env, seed=config.eval.seed, task_seed=config.seed))
        )
        too_large = (
            f"buffer.size={config.buffer_size} needs more memory than this machine has; choose a smaller one"
        )
        try:
            self.agent = GIPO.from_config(config, self.env, device)
        except MemoryError as error:
            raise UserError(too_large) from error
        # Untouched pages cost nothing yet, so that an allocation may succeed and the process die later.
        if self.agent.buffer.nbytes > psutil.virtual_memory().total:
            raise UserError(too_large)
        # What "auto" came to on this machine is part of the record, and of the run from here on.
        self.config = config.model_copy(update={"agent": self.agent.agent})


def _newest_evaluation(run: RunDir) -> dict[str, float]:
    """What a resumed run shows until its next evaluation; empty where none was made."""
    with run.evaluations.open(newline="", encoding="utf-8") as file:
        last = deque(csv.DictReader(file), maxlen=1)
    return {name: float(row[name]) for row in last for name in ("return_mean", "success") if row[name]}


def _store(run: RunDir, config: RunConfig) -> CheckpointStore:
    keep = config.checkpoint
    return CheckpointStore(run.checkpoints, keep_last=keep.keep_last, every=keep.every, best=keep.best)


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
        task = config.env.task or config.env.id or config.env.name
        title = f"{config.objective.name} on {task}, seed {config.seed}"
        display = stack.enter_context(Display(title, config.total_steps, step=step, quiet=quiet))
        stop = _Stop()
        stack.enter_context(stop_signals(stop))
        loop = _Loop(run, workshop, recorder, status, display, log, stop)
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


@dataclass
class _Stop:
    """Which signal asked to stop, at the end of the iteration, if any; the second stops at once."""

    signal: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number


class _Loop:
    """Collect, learn, record, evaluate, save: until the budget is used or somebody says stop."""

    def __init__(
        self,
        run: RunDir,
        workshop: Workshop,
        recorder: Recorder,
        status: StatusFile,
        display: Display,
        log: logging.Logger,
        stop: _Stop,
    ) -> None:
        self.config, self.agent, self.evaluator = workshop.config, workshop.agent, workshop.evaluator
        self.folder = run
        self.recorder, self.status, self.display, self.log, self.stop = recorder, status, display, log, stop
        self.store = _store(run, self.config)
        self.best: tuple[float, float] | None = None
        self.evaluated = 0
        self.saved = 0
        self.before = 0.0
        self.started = time.perf_counter()

    def start(self, saved: Checkpoint | None, remarks: Sequence[str]) -> None:
        """Begin at step 0, or where a checkpoint left off."""
        for remark in remarks:
            self._say(remark)
        if saved is None:
            self.agent.begin(self.config.total_steps)
            self.log.info("started")
            return
        state = saved.state
        exact = "buffer" in state
        buffer = {
            name.removeprefix("buffer_"): array
            for name, array in saved.arrays.items()
            if name.startswith("buffer_")
        }
        try:
            running = [saved.arrays[f"running_{e}"] for e in range(len(state["running"]))]
            repeats = self.agent.replay_episodes(state["running"], running, saved.arrays["last_obs"])
            self.agent.load_state(state["agent"], saved.tensors, buffer if exact else None)
        except (LookupError, ValueError, RuntimeError) as error:
            raise RunFailed(f"checkpoint {saved.path} does not fit this configuration: {error}") from error
        self.agent.begin(self.config.total_steps)
        self.best = None if state["best"] is None else tuple(state["best"])
        self.evaluated, self.saved, self.before = state["evaluated"], saved.step, state["wall"]
        self.display.evaluation(_newest_evaluation(self.folder))
        if not repeats:
            self._say(
                "the running episodes did not repeat themselves (a random environment, or changed settings): "
                "new ones begin here, and the run is not exact"
            )
        if not exact:
            self._say("the checkpoint holds no buffer (checkpoint.buffer=false), so the run is not exact")
        self.log.info("continued at step %d", saved.step)

    def run(self) -> None:
        """Iterate."""
        while self.agent.num_timesteps < self.config.total_steps and self.stop.signal is None:
            self._iterate()
        if self.stop.signal is None and self.evaluated < self.agent.num_timesteps:
            self._evaluate()
            # Also where this step is saved already: only a checkpoint with a score can be the best.
            self._save()
        elif self.saved < self.agent.num_timesteps:
            self._save()

    def _iterate(self) -> None:
        agent, before, clock = self.agent, self.agent.num_timesteps, time.perf_counter
        begun = clock()
        agent.collect()
        collected = clock()
        measured = self._measure() if self._due(self.config.diagnostics.interval, before) else 0.0
        try:
            stats = agent.update()
        except NonFinite as error:
            raise RunFailed(
                f"at step {agent.num_timesteps}: {error}; that update was not applied and the last good "
                f"checkpoint is of step {self.saved}; a bounded objective, a smaller learning rate or a KL "
                "penalty may help"
            ) from error
        row = self._row(stats) | {
            "time/rollout": collected - begun,
            "time/update": clock() - collected - measured,
            "time/diagnostics": measured,
        }
        begun = clock()
        improved = self._due(self.config.eval.interval, before) and self._evaluate()
        row["time/eval"] = clock() - begun
        row["time/wall"] = self._wall()
        self.recorder.metrics(row)
        if self._due(self.config.logging.histograms, before):
            self._histograms(stats)
        self.display.update(row)
        self.status.beat(
            agent.num_timesteps,
            steps_per_second=self.display.steps_per_second,
            latest={"return": row.get("train/return"), "success": row.get("train/success")},
        )
        if self._due(self.config.checkpoint.interval, before) or (improved and self.config.checkpoint.best):
            self._save()

    def _due(self, interval: int | None, before: int) -> bool:
        return interval is not None and self.agent.num_timesteps // interval > before // interval

    def _wall(self) -> float:
        return self.before + time.perf_counter() - self.started

    def _row(self, stats: UpdateStats) -> dict[str, Any]:
        agent = self.agent
        row: dict[str, Any] = {
            "step": agent.num_timesteps,
            "iteration": agent.version,
            "episodes": agent.episodes.count,
            "buffer/size": len(agent.buffer),
            **{f"train/{name}": mean for name, mean in agent.episodes.means().items()},
            **stats.numbers,
        }
        return {name: None if math.isnan(value) else value for name, value in row.items()}

    def _measure(self) -> float:
        """Measure bias and variance while the newest rollout is the policy's own; returns the seconds."""
        from gipo_cli.analysis.live import measure_buffer

        agent, begun = self.agent, time.perf_counter()
        agent.updater.refresh_advantages(agent.buffer)
        try:
            rows = measure_buffer(agent.policy, agent.buffer, self.config, agent.num_timesteps, agent.device)
        except ValueError as error:
            self._say(f"step {agent.num_timesteps}: nothing measured: {error}")
            return time.perf_counter() - begun
        self.recorder.diagnostics([row.record(agent.num_timesteps) for row in rows])
        return time.perf_counter() - begun

    def _histograms(self, stats: UpdateStats) -> None:
        samples = {
            "histogram/log_ratio": stats.log_ratio,
            "histogram/trust_weight": trust_weight(stats.coefficient, stats.log_ratio),
            "histogram/lag": stats.lag,
        }
        for tag, values in samples.items():
            self.recorder.histogram(tag, values.numpy(), self.agent.num_timesteps)

    def _evaluate(self) -> bool:
        """Evaluate now; returns whether it is the best so far."""
        config, step = self.config.eval, self.agent.num_timesteps
        with torch.random.fork_rng(enabled=not config.deterministic):
            if not config.deterministic:
                torch.manual_seed(config.seed)
            result = self.evaluator.run(
                lambda obs: self.agent.act(obs, config.deterministic), config.episodes
            )
        row = {"step": step, **result.row(), "time/wall": self._wall()}
        self.recorder.evaluation(row)
        self.display.evaluation(row)
        self.status.beat(
            step, latest={"eval_return": row["return_mean"], "eval_success": row["success"]}, force=True
        )
        success = "none reported" if row["success"] is None else f"{row['success']:.3f}"
        self.log.info("step %d: success %s, return %.6g", step, success, row["return_mean"])
        self.evaluated = step
        # Where no success is reported the return alone decides.
        self.score = (float(row["success"] or 0.0), float(result.returns.mean()))
        improved = self.best is None or self.score > self.best
        if improved:
            self.best = self.score
        return improved

    def _save(self) -> None:
        step = self.agent.num_timesteps
        state, tensors, buffer = self.agent.state()
        numbers, actions, last_obs = self.agent.running_episodes()
        arrays = {f"running_{e}": done for e, done in enumerate(actions)} | {"last_obs": last_obs}
        payload = CheckpointPayload(
            state={
                "agent": state,
                "running": numbers,
                "best": self.best,
                "evaluated": self.evaluated,
                "wall": self._wall(),
                "recorder": self.recorder.position(),
            },
            tensors=tensors,
            arrays=arrays,
        )
        if self.config.checkpoint.buffer:
            payload.state["buffer"] = True
            arrays |= {f"buffer_{name}": array for name, array in buffer.items()}
        self.store.save(step, payload, score=self.score if self.evaluated == step else None)
        self.saved = step
        self.log.info("step %d: saved", step)

    def _say(self, text: str) -> None:
        self.log.warning("%s", text)
        self.display.note(text)
