"""Settings of demonstrations and of cloning them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gipo_cli.core.objectives import NonNegative, Positive
from gipo_cli.settings.agent import Count, Record


class DemosConfig(Record):
    """Which demonstrations are cloned, and kept in the buffer."""

    path: str | None = Field(
        None,
        description="an .npz file, a dataset of Minari or robomimic's .hdf5; null: the task's scripted "
        "policy is recorded (Meta-World)",
    )
    episodes: Count | None = Field(
        None, description="how many: the first ones of the file; null: all of the file, or 5 recorded"
    )
    noise: NonNegative = Field(0.0, description="deviation of Gaussian noise on each recorded action")
    successful: bool = Field(True, description="use only episodes that succeed")


class CloneConfig(Record):
    """How demonstrations are cloned: by maximum likelihood, into the actor."""

    steps: Count = Field(2000, description="optimizer steps at most")
    batch: Count = Field(256, description="steps of demonstrations per batch")
    lr: Positive = Field(1e-3, description="Adam's learning rate")
    validation: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2,
        description="share of episodes on which the number of steps is chosen, after which all are cloned; "
        "0, or a single episode: all steps are taken",
    )
    patience: Count = Field(
        500, description="steps without a better likelihood of the validation episodes before stopping"
    )
    learn_std: bool = Field(
        False,
        description="fit the deviation of Gaussian actions too; false keeps agent.policy.log_std_init, with "
        "which training goes on to explore",
    )
    min_deviation: Positive = Field(
        0.1,
        description="least deviation by which observations are normalised: parts that hardly vary in few "
        "demonstrations (goals) would otherwise explode on others",
    )
