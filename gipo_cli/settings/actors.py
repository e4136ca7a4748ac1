"""Settings of those who collect rollouts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gipo_cli.settings.agent import Record


class ActorsConfig(Record):
    """Who collects the rollouts, and how old the policy is that they act with."""

    kind: Literal["inline", "scheduled"] = Field(
        "inline",
        description="inline: the learner's process, with the newest policy; scheduled: the same with the "
        "policy of `lag` versions ago",
    )
    lag: Annotated[int, Field(ge=0)] = Field(
        0, description="scheduled: versions between the learner and the policy that collects"
    )
    lag_kind: Literal["constant", "uniform"] = Field(
        "constant", description="scheduled: every rollout has that lag, or one drawn from 0 to lag"
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> ActorsConfig:
        if self.kind != "scheduled" and (self.lag or self.lag_kind != "constant"):
            raise ValueError("lag and lag_kind go with actors=scheduled; add that, or leave them out")
        return self
