"""The training loop: collect, learn, and what happens every so many steps."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from gipo_cli.core.health import trust_weight
from gipo_cli.errors import RunFailed, StoppedError
from gipo_cli.learning.actor import Position
from gipo_cli.learning.tally import UpdateStats
from gipo_cli.learning.updater import NonFinite
from gipo_cli.runs.checkpoint import Checkpoint, Tree
from gipo_cli.training.attempt import Attempt
from gipo_cli.training.hooks import Every
from gipo_cli.training.workshop import Workshop

Score = tuple[float, float]


class Trainer:
    """Trains until the budget is used or somebody asks to stop.

    A rollout or an evaluation that is under way then is dropped, and done again when the run is resumed.

    Args:
        attempt: Where everything is recorded.
        workshop: What trains.
    """

    def __init__(self, attempt: Attempt, workshop: Workshop) -> None:
        config = workshop.config
        self.config, self.agent, self.evaluator = config, workshop.agent, workshop.evaluator
        self.learner, self.source = self.agent.learner, workshop.source
        self.attempt, self.record, self.status = attempt, attempt.record, attempt.status
        self.store = attempt.run.checkpoints
        self.collected = [Every(config.diagnostics.interval, self._probe)]
        self.learned = [
            Every(config.diagnostics.interval, self._probe_updated),
            Every(config.eval.interval, self._evaluate),
        ]
        self.recorded = [
            Every(config.logging.histograms, self._histograms),
            Every(config.checkpoint.interval, self._save),
        ]
        self.stats: UpdateStats | None = None
        self.arrival_lag = 0
        self.best: Score | None = None
        self.newest: Score | None = None
        self.evaluated = self.saved = 0
        self.begins = True
        self.owes_evaluation = False
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.wall_before, self.started = 0.0, time.perf_counter()

    def stopping(self) -> bool:
        """Whether somebody asked to stop."""
        return self.attempt.stop.signal is not None

    def start(self, saved: Checkpoint | None, remarks: Sequence[str]) -> None:
        """Begin at step 0, or where a checkpoint left off.

        Raises: RunFailed if the checkpoint is of another configuration.
        """
        for remark in remarks:
            self.attempt.say(remark)
        self.begins = saved is None
        if saved is None:
            self.source.begin()
            self.attempt.log.info("started")
        else:
            self._continue(saved)
        self.position = self.source.position()
        if self.config.objective.proximal:
            self.attempt.log.info("diagnostics see %s only after updates", self.config.objective.knob)
        self.attempt.log.info("the agent sees %s", self.source.sees)
        for note in self.source.notes:
            self.attempt.say(note)
        self.source.publish()

    def _continue(self, saved: Checkpoint) -> None:
        state, arrays = saved.state, saved.arrays
        exact = "buffer" in arrays
        with saved.reading(RunFailed):
            running = [arrays["running"][str(e)] for e in range(len(state["running"]))]
            position = Position(state["running"], running, arrays["last_obs"], saved.tensors["generator"])
            repeats = self.source.go_on(position, saved.tensors, dict(state["source"]))
            self.learner.load_state(state["learner"], saved.tensors, arrays["buffer"] if exact else None)
            if state["best"] is not None:
                self.best = (float(state["best"][0]), float(state["best"][1]))
            self.evaluated = int(state["evaluated"])
            self.owes_evaluation = bool(int(state["owes_evaluation"]))
            self.saved, self.wall_before = saved.step, float(state["wall"])
        if not repeats:
            self.attempt.say(
                "the running episodes did not repeat themselves (a random environment, or changed settings): "
                "new ones begin here, and the run is not exact"
            )
        if not exact:
            self.attempt.say(
                "the checkpoint holds no buffer (checkpoint.buffer=false), so the run is not exact"
            )
        self.attempt.log.info("continued at step %d", saved.step)

    def run(self) -> None:
        """Iterate, evaluate at the end, and save."""
        learner = self.learner
        # What training with init starts from is part of the record, and a checkpoint to return to.
        if self.owes_evaluation or (self.begins and self.config.init is not None):
            self._evaluate()
            self._save()
        while learner.steps < self.config.total_steps and not self.stopping():
            self._iterate()
        if self.evaluator and not self.stopping() and self.evaluated < learner.steps:
            self._evaluate()
            # Also where this step is saved already: only a checkpoint with a score can be the best.
            self._save()
        elif self.saved < learner.steps:
            self._save()

    def _iterate(self) -> None:
        learner, before = self.learner, self.learner.steps
        self.seconds.clear()
        with self._timed("rollout"):
            try:
                rollout = self.source.next(self.stopping)
            except StoppedError:
                return
        self.arrival_lag = learner.version - rollout.policy_version
        learner.take(rollout)
        now = learner.steps
        self.position = self.source.position()
        self.record.arrivals(self.source.arrivals())
        for hook in self.collected:
            hook(before, now)
        with self._timed("update"):
            stats = self._update()
        for hook in self.learned:
            hook(before, now)
        row = self._row(stats)
        self.record.metrics(row)
        self.status.beat(now, latest={"return": row.get("train/return"), "success": row.get("train/success")})
        for hook in self.recorded:
            hook(before, now)
        if self.evaluated == now:
            self._save_if_best()

    def _update(self) -> UpdateStats:
        try:
            self.stats = self.learner.update(self.config.total_steps)
        except NonFinite as error:
            raise RunFailed(
                f"at step {self.learner.steps}: {error}; that update was not applied and the last good "
                f"checkpoint is of step {self.saved}; a bounded objective, a smaller learning rate or a KL "
                "penalty may help"
            ) from error
        self.source.publish()
        return self.stats

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - begun

    def _wall(self) -> float:
        return self.wall_before + time.perf_counter() - self.started

    def _row(self, stats: UpdateStats) -> dict[str, Any]:
        learner = self.learner
        row: dict[str, Any] = {
            "step": learner.steps,
            "iteration": learner.version,
            "episodes": learner.episodes.count,
            "buffer/size": len(learner.buffer),
            "actors/arrival_lag": self.arrival_lag,
            **{f"train/{name}": mean for name, mean in learner.episodes.means().items()},
            **stats.numbers,
            **self.source.report(len(stats.lag)),
            **{f"time/{name}": self.seconds[name] for name in ("rollout", "update", "diagnostics", "eval")},
            "time/wall": self._wall(),
        }
        return {name: None if math.isnan(value) else value for name, value in row.items()}

    def _probe(self) -> None:
        """Measure bias and variance while the newest rollout is the policy's own."""
        from gipo_cli.analysis.live import measure_buffer

        self._measure(measure_buffer, refresh=True)

    def _probe_updated(self) -> None:
        """Measure on the same rows what the trained objective does away from the proximal policy."""
        from gipo_cli.analysis.live import measure_updated

        proximal = self.learner.updater.proximal
        if self.config.objective.proximal and proximal is not None and proximal.moved:
            self._measure(partial(measure_updated, proximal=proximal.at_start))

    def _measure(self, measure: Callable[..., Sequence[Any]], *, refresh: bool = False) -> None:
        learner, policy = self.learner, self.learner.policy
        with self._timed("diagnostics"):
            if refresh:
                learner.updater.refresh_advantages(learner.buffer)
            try:
                rows = measure(policy, learner.buffer, self.config, learner.steps, policy.device)
            except ValueError as error:
                self.attempt.say(f"step {learner.steps}: nothing measured: {error}")
                return
            self.record.diagnostics([row.record(learner.steps) for row in rows])

    def _histograms(self) -> None:
        if self.stats is None:
            return
        samples = {
            "histogram/log_ratio": self.stats.log_ratio,
            "histogram/trust_weight": trust_weight(self.stats.coefficient, self.stats.log_ratio),
            "histogram/lag": self.stats.lag,
        }
        for tag, values in samples.items():
            self.record.histogram(tag, values.numpy(), self.learner.steps)

    def _evaluate(self) -> None:
        if self.evaluator is None:
            return
        config, step = self.config.eval, self.learner.steps
        generator = torch.Generator(self.agent.device).manual_seed(config.seed)
        self.owes_evaluation = True
        with self._timed("eval"):
            try:
                result = self.evaluator.run(
                    self.agent.acting(config.deterministic, generator),
                    config.episodes,
                    stop=self.stopping,
                )
            except StoppedError:
                return
            if config.env == "training":
                self.source.begin()
                self.position = self.source.position()
        self.owes_evaluation = False
        row = {"step": step, **result.row(), "time/wall": self._wall()}
        self.record.evaluation(row)
        self.status.beat(
            step, latest={"eval_return": row["return_mean"], "eval_success": row["success"]}, force=True
        )
        success = "none reported" if row["success"] is None else f"{row['success']:.3f}"
        self.attempt.log.info("step %d: success %s, return %.6g", step, success, row["return_mean"])
        self.evaluated = step
        # Where no success is reported the return alone decides.
        self.newest = (float(row["success"] or 0.0), float(result.returns.mean()))

    def _save_if_best(self) -> None:
        """Keep the policy of an evaluation that is the best so far."""
        if self.newest is None or (self.best is not None and self.newest <= self.best):
            return
        self.best = self.newest
        if self.config.checkpoint.best and self.saved < self.learner.steps:
            self._save()

    def _save(self) -> None:
        step = self.learner.steps
        state, tensors, buffer = self.learner.state()
        score = self.newest if self.evaluated == step else None
        if score is not None and (self.best is None or score > self.best):
            self.best = score
        tree = Tree(
            state={
                "learner": state,
                "running": self.position.episodes,
                "source": self.source.state(),
                "best": self.best,
                "evaluated": self.evaluated,
                "owes_evaluation": self.owes_evaluation,
                "wall": self._wall(),
                "recorder": self.record.position(),
            },
            tensors={**tensors, **self.source.tensors(), "generator": self.position.generator},
            arrays={
                "running": {str(e): done for e, done in enumerate(self.position.actions)},
                "last_obs": self.position.last_obs,
            },
        )
        if self.config.checkpoint.buffer:
            tree.arrays["buffer"] = buffer
        self.store.save(step, tree, score=score)
        self.saved = step
        self.attempt.log.info("step %d: saved", step)
