"""Experiment trackers that listen to a run: Weights & Biases, offline, and MLflow.

They are extras, off by default. A tracker never fails a run: at its first error it is left out, and the log
says so. Neither needs an account or a network.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gipo_cli.runs.logs import LOGGER

if TYPE_CHECKING:
    import numpy as np

    from gipo_cli.settings.schema import LoggingConfig

PROJECT = "gipo"
PACKAGES = {"wandb": "wandb", "mlflow": "mlflow-skinny sqlalchemy alembic"}


def missing(config: LoggingConfig) -> str | None:
    """What to install for these settings, in one sentence; None if nothing is missing."""
    asked = {"wandb": config.wandb, "mlflow": config.mlflow is not None}
    lacking = [name for name in asked if asked[name] and find_spec(name) is None]
    if not lacking:
        return None
    packages = " ".join(PACKAGES[name] for name in lacking)
    return f"logging.{lacking[0]} needs a package that is not installed; type: pip install {packages}"


class Tracker(ABC):
    """What both have in common: a first error ends it."""

    name = ""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._open = True
        self._try(begin)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`gipo_cli.loggers.base.Writer`."""
        self._try(lambda: self._log(values, step))

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:  # noqa: B027 - a tracker has none
        """Nothing: TensorBoard has the histograms."""

    def close(self) -> None:
        """See :class:`gipo_cli.loggers.base.Writer`."""
        self._try(self._end)

    @abstractmethod
    def _log(self, values: Mapping[str, float], step: int) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...

    def _try(self, action: Callable[[], None]) -> None:
        if not self._open:
            return
        try:
            action()
        except Exception as error:  # whatever a tracker's many parts raise
            self._open = False
            logging.getLogger(LOGGER).warning("%s ends here: %s: %s", self.name, type(error).__name__, error)


class Wandb(Tracker):
    """Writes one offline run of Weights & Biases per attempt; all attempts at a run share its id.

    Args:
        folder: The run's folder, whose name W&B's gets. W&B writes to ``WANDB_DIR``, or ./wandb.
        run_id: The same for every attempt.
        settings: The run's flat configuration.
    """

    name = "wandb"

    def __init__(self, folder: Path, run_id: str, settings: Mapping[str, Any]) -> None:
        self._run: Any = None

        def begin() -> None:
            import wandb

            quiet = wandb.Settings(
                console="off", silent=True, disable_git=True, disable_code=True, disable_job_creation=True
            )
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=run_id,
                name=folder.name,
                dir=os.environ.get("WANDB_DIR"),
                mode="offline",
                resume="allow",
                config=dict(settings),
                settings=quiet,
            )

        super().__init__(begin)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def _end(self) -> None:
        self._run.finish()


class MLflow(Tracker):
    """Adds a run to an MLflow store, or continues the one with the same id.

    Args:
        store: Tracking URI, such as ``sqlite:///mlflow.db``.
        folder: The run's folder, whose name the MLflow run gets.
        run_id: The same for every attempt.
        settings: The run's flat configuration.
        resumed: Whether earlier attempts may have begun it.
    """

    name = "mlflow"

    def __init__(
        self, store: str, folder: Path, run_id: str, settings: Mapping[str, Any], *, resumed: bool
    ) -> None:
        self._client: Any = None
        self._run_id = ""

        def begin() -> None:
            logging.getLogger("alembic").setLevel(logging.WARNING)
            from mlflow.tracking import MlflowClient

            self._client = client = MlflowClient(store)
            found = client.get_experiment_by_name(PROJECT)
            experiment = found.experiment_id if found else client.create_experiment(PROJECT)
            known = client.search_runs([experiment], f"tags.gipo_id = '{run_id}'") if resumed else []
            run = (
                known[0]
                if known
                else client.create_run(experiment, run_name=folder.name, tags={"gipo_id": run_id})
            )
            self._run_id = run.info.run_id
            if not known:
                from mlflow.entities import Param

                client.log_batch(
                    self._run_id, params=[Param(key, str(value)) for key, value in settings.items()]
                )

        super().__init__(begin)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        import time

        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(tag.replace("=", "_"), value, now, step) for tag, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _end(self) -> None:
        self._client.set_terminated(self._run_id)
