"""The training loop: collect, learn, record, evaluate, save."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

import psutil
import torch

from gipo_cli.core.health import trust_weight
from gipo_cli.envs.make import make_vec_env
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.learning.updater import NonFinite, UpdateStats
from gipo_cli.runs.checkpoint import Checkpoint, Tree
from gipo_cli.settings.schema import RunConfig
from gipo_cli.training.attempt import Attempt
from gipo_cli.training.evaluate import Evaluator


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


class Loop:
    """Collect, learn, record, evaluate, save: until the budget is used or somebody says stop."""

    def __init__(self, attempt: Attempt, workshop: Workshop) -> None:
        self.config, self.agent, self.evaluator = workshop.config, workshop.agent, workshop.evaluator
        self.attempt, self.log, self.stop = attempt, attempt.log, attempt.stop
        self.recorder, self.status, self.store = attempt.record, attempt.status, attempt.run.checkpoints
        self.best: tuple[float, float] | None = None
        self.evaluated = 0
        self.saved = 0
        self.before = 0.0
        self.started = time.perf_counter()

    def start(self, saved: Checkpoint | None, remarks: Sequence[str]) -> None:
        """Begin at step 0, or where a checkpoint left off."""
        for remark in remarks:
            self.attempt.say(remark)
        if saved is None:
            self.agent.begin(self.config.total_steps)
            self.log.info("started")
            return
        state = saved.state
        exact = "buffer" in state
        try:
            running = [saved.arrays["running"][str(e)] for e in range(len(state["running"]))]
            repeats = self.agent.replay_episodes(state["running"], running, saved.arrays["last_obs"])
            self.agent.load_state(state["agent"], saved.tensors, saved.arrays["buffer"] if exact else None)
        except (LookupError, ValueError, RuntimeError) as error:
            raise RunFailed(f"checkpoint {saved.path} does not fit this configuration: {error}") from error
        self.agent.begin(self.config.total_steps)
        self.best = None if state["best"] is None else tuple(state["best"])
        self.evaluated, self.saved, self.before = state["evaluated"], saved.step, state["wall"]
        if not repeats:
            self.attempt.say(
                "the running episodes did not repeat themselves (a random environment, or changed settings): "
                "new ones begin here, and the run is not exact"
            )
        if not exact:
            self.attempt.say(
                "the checkpoint holds no buffer (checkpoint.buffer=false), so the run is not exact"
            )
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
        self.status.beat(
            agent.num_timesteps,
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
            self.attempt.say(f"step {agent.num_timesteps}: nothing measured: {error}")
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
        running = {str(e): done for e, done in enumerate(actions)}
        tree = Tree(
            state={
                "agent": state,
                "running": numbers,
                "best": self.best,
                "evaluated": self.evaluated,
                "wall": self._wall(),
                "recorder": self.recorder.position(),
            },
            tensors=tensors,
            arrays={"running": running, "last_obs": last_obs},
        )
        if self.config.checkpoint.buffer:
            tree.state["buffer"] = True
            tree.arrays["buffer"] = buffer
        self.store.save(step, tree, score=self.score if self.evaluated == step else None)
        self.saved = step
        self.log.info("step %d: saved", step)
