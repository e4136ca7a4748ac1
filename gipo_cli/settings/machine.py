"""Settings of what is kept and written, and on what machine: none of them changes how a run learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gipo_cli.core.objectives import Positive
from gipo_cli.settings.agent import Count, Interval, Record


class CheckpointConfig(Record):
    """What is kept on disk to go on from. Saving changes nothing about the run."""

    interval: Interval = Field(
        25_000,
        description="environment steps between checkpoints beside those of best; null: only at the end",
    )
    keep_last: Count = Field(2, description="newest checkpoints kept")
    every: Interval = Field(None, description="keep one checkpoint each so many steps for good; null: none")
    best: bool = Field(
        True, description="also save at each evaluation that is the best so far; keep the last"
    )
    buffer: bool = Field(True, description="store the replay buffer; without it resuming is inexact")


class LoggingConfig(Record):
    """What is written beside the CSV files, which are always written."""

    tensorboard: bool = Field(True, description="TensorBoard events with hyperparameters")
    histograms: Interval = Field(
        10_000, description="environment steps between histograms of log-ratio, weight and lag; null: none"
    )
    wandb: bool = Field(False, description="an offline run of Weights & Biases, where WANDB_DIR says")
    mlflow: str | None = Field(None, description="tracking URI of an MLflow store; null: none")
    window: Count = Field(20, description="episodes over which training return and success are averaged")


class RuntimeConfig(Record):
    """Where it runs."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda if there is one")
    torch_threads: Count = Field(1, description="threads of one matrix product; small networks want 1")
    env_timeout_s: Positive | None = Field(
        600.0, description="seconds that one reset or step may take before the run fails; null: any"
    )
