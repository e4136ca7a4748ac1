"""Settings of those who collect rollouts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gipo_cli.settings.agent import Changes, Count, Record


class ActorsConfig(Record):
    """Who collects the rollouts, and how old the policy is that they act with."""

    kind: Literal["inline", "scheduled", "processes", "ray", "replayed"] = Field(
        "inline",
        description="inline: the learner's process, with the newest policy; scheduled: the same with the "
        "policy of `lag` versions ago; processes: `n` processes that collect while the learner learns; "
        "ray: the same on Ray; replayed: what --replay-arrivals makes",
    )
    lag: Annotated[int, Field(ge=0)] = Field(
        0, description="scheduled: versions between the learner and the policy that collects"
    )
    lag_kind: Literal["constant", "uniform"] = Field(
        "constant", description="scheduled: every rollout has that lag, or one drawn from 0 to lag"
    )

    n: Count = Field(1, description="processes and ray: actors, each with environments of its own")
    max_lag: Annotated[int, Field(ge=0)] = Field(
        1, description="processes and ray: bound on the lag with which a rollout is taken, in versions"
    )
    overflow: Literal["pace", "drop", "mask"] = Field(
        "pace",
        description="processes and ray: pace: no rollout is begun that could exceed the bound; drop: one "
        "that does is thrown away; mask: it counts, and nothing is learned from its rows",
    )

    address: Annotated[str | None, Changes("nothing")] = Field(
        None, description="ray: host:port of the cluster; null: one of this machine for the run alone"
    )

    @property
    def elsewhere(self) -> bool:
        """Whether they run in other processes."""
        return self.kind in ("processes", "ray")

    @property
    def in_agent(self) -> bool:
        """Whether the agent has the environments."""
        return self.kind in ("inline", "scheduled")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> ActorsConfig:
        elsewhere = ("processes", "ray", "replayed")
        own: dict[str, tuple[str, ...]] = {
            **dict.fromkeys(("lag", "lag_kind"), ("scheduled",)),
            **dict.fromkeys(("n", "max_lag", "overflow"), elsewhere),
            "address": ("ray",),
        }
        for name, kinds in own.items():
            if getattr(self, name) != type(self).model_fields[name].default and self.kind not in kinds:
                one = " or ".join(f"actors={kind}" for kind in kinds if kind != "replayed")
                raise ValueError(f"{name} goes with {one}; add that, or leave it out")
        return self
