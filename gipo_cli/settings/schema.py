"""The one configuration type that the rest of the package sees, and the only place of its defaults.

Hydra composes YAML; these frozen records check it. Every field states its unit, range and effect, and
the configuration reference in ``docs/`` is generated from here. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from gipo_cli.core.objectives import OBJECTIVES, ObjectiveParams, Positive
from gipo_cli.settings.actors import ActorsConfig as ActorsConfig
from gipo_cli.settings.agent import AdvantageConfig as AdvantageConfig
from gipo_cli.settings.agent import AgentConfig as AgentConfig
from gipo_cli.settings.agent import Changed, Changes, Count, Interval, Record
from gipo_cli.settings.agent import PolicyConfig as PolicyConfig
from gipo_cli.settings.agent import UpdateConfig as UpdateConfig
from gipo_cli.settings.machine import CheckpointConfig as CheckpointConfig
from gipo_cli.settings.machine import LoggingConfig as LoggingConfig
from gipo_cli.settings.machine import RuntimeConfig as RuntimeConfig
from gipo_cli.settings.posttrain import CloneConfig as CloneConfig
from gipo_cli.settings.posttrain import DemosConfig as DemosConfig


class ActionConfig(Record):
    """How the policy's action reaches the environment."""

    kind: Literal["continuous", "binned"] = Field(
        "continuous",
        description="continuous: Gaussian, clipped at the bounds; binned: one categorical per dimension",
    )
    bins: Annotated[int, Field(ge=2, le=65_536)] = Field(
        256, description="bins per action dimension when kind is binned, evenly spaced over the bounds"
    )
    scale: bool = Field(
        False,
        description="continuous: map -1 to 1 of the policy to the bounds, where these lie far from that",
    )
    repeat: Count = Field(
        1,
        description="simulator steps per action, their rewards added up; every other number of steps counts "
        "actions, except time limits",
    )


class EnvConfig(Record):
    """Which task is trained on, and what the agent sees of it."""

    name: str = Field(description="name of the environment; `gipo list envs` prints them all")
    id: str | None = Field(None, description="Gymnasium id; needed by env=gymnasium, else implied")
    task: str | None = Field(None, description="task within a family, such as a Meta-World task name")
    reward: Literal["dense", "sparse", "released", "success", "shifted"] | None = Field(
        None,
        description="dense or sparse where the task has both; released: the upstream dense reward of "
        "Adroit as published, sign fault included; success: 1 at a successful step, else 0; shifted: "
        "Meta-World's dense reward less its highest, 10, so that ending early pays; null: dense where there "
        "is one, else the only reward",
    )
    kwargs: dict[str, Any] = Field({}, description="further arguments of the environment's constructor")
    imports: Annotated[list[str], Changes("origin")] = Field(
        [], description="modules imported first, which register your own environments"
    )
    n_envs: Count = Field(1, description="environments stepped as one vector")
    vector: Annotated[Literal["dummy", "subproc"], Changes("nothing")] = Field(
        "dummy", description="dummy: one process, best for fast simulators; subproc: one process each"
    )
    max_episode_steps: Count | None = Field(
        None, description="time limit in simulator steps, a truncation; null keeps the task's own"
    )
    success: Literal["any", "last"] = Field(
        "any", description="episode succeeds if at any step (Meta-World's protocol) or at its last step"
    )
    success_key: str | None = Field(
        None, description="info key that holds the step's success; null: is_success, then success"
    )
    end_on_success: bool = Field(False, description="end an episode at its first successful step")
    action: ActionConfig = ActionConfig()
    reward_scale: Positive = Field(1.0, description="factor on the reward that the agent learns from")
    normalize_obs: bool = Field(
        False, description="running mean and variance, applied when used; raw observations are stored"
    )
    clip_obs: Positive = Field(10.0, description="bound on a normalised observation, in deviations")

    @property
    def names(self) -> tuple[str, ...]:
        """Its name, and its task or id if it has one."""
        detail = self.task or self.id
        return (self.name, detail) if detail else (self.name,)

    @property
    def subject(self) -> str:
        """The most telling of its names."""
        return self.names[-1]


class BufferConfig(Record):
    """How stale the data may be."""

    size: Annotated[int, Field(ge=1, le=10**10)] | None = Field(
        10_000, description="newest transitions kept; at least one rollout; null: exactly one rollout"
    )
    demos: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="share of each batch that comes from the demonstrations, which stay in the buffer with "
        "the initial policy's log-probabilities; needs init",
    )


class EvalConfig(Record):
    """Evaluation during and after training, on its own environments and seeds."""

    interval: Interval = Field(
        10_000, description="environment steps between evaluations; null: only at the end"
    )
    episodes: Annotated[int, Field(ge=0)] = Field(
        20,
        description="episodes per evaluation; 20 tell success within 20 points or so; 0: none",
    )
    env: Literal["own", "training"] = Field(
        "own",
        description="own: environments of its own; training: the first training environment, where only one "
        "can be open (a robot); the running training episodes end there",
    )
    deterministic: bool = Field(True, description="take the mode of the policy rather than a sample")
    seed: Annotated[int, Field(ge=0)] = Field(10_000, description="of the episodes, the same for all runs")


class _Diagnostics(Record):
    """Live bias-variance measurement, for every objective at once."""

    interval: Interval = Field(10_000, description="environment steps between measurements; null: never")
    probe_size: Annotated[int, Field(ge=64)] = Field(1536, description="transitions of the probe batch")
    chunks: Annotated[int, Field(ge=4)] = Field(32, description="disjoint chunks of the probe batch")

    def grid(self, objective: type[ObjectiveParams]) -> Sequence[float]:
        """Knob values at which an objective is measured whatever is trained."""
        values: Sequence[float] = getattr(self, objective.grid_key or "-", objective.grid)
        return values


def _grid(name: str, objective: type[ObjectiveParams]) -> Any:
    """The field for the grid of an objective's knob."""
    kind: Any = Annotated[(float, *objective.model_fields[objective.knob].metadata)]
    about = f"values of {objective.knob} at which {name} is measured"
    return list[kind], Field(list(objective.grid), description=about)


if TYPE_CHECKING:
    DiagnosticsConfig = _Diagnostics
else:
    DiagnosticsConfig = create_model(
        "DiagnosticsConfig",
        __base__=_Diagnostics,
        __doc__=_Diagnostics.__doc__,
        __module__=__name__,
        **{kind.grid_key: _grid(name, kind) for name, kind in OBJECTIVES.items() if kind.grid_key},
    )


class UnregisteredObjective(ObjectiveParams):
    """Of an objective whose module was not imported: to look at, not to train with."""

    model_config = ConfigDict(extra="allow")

    name: str


UNREGISTERED = {"objective": "unregistered"}
"""Validation context in which an objective need not be registered."""


class RunConfig(Record):
    """Everything that defines a run."""

    seed: Annotated[int, Field(ge=0, lt=2**31), Changes("draw")] = Field(
        1, description="of networks, sampling and environments"
    )
    total_steps: Annotated[Count, Changes("budget")] = Field(
        100_000, description="environment steps to train for, over all environments together"
    )
    preset: Annotated[str, Changes("origin")] = Field(
        "default", description="which preset the values came from"
    )
    imports: Annotated[list[str], Changes("origin")] = Field(
        [], description="modules imported first, which register your own objectives"
    )
    init: str | None = Field(
        None,
        description="what the policy begins as: null: new networks; clone: the demonstrations, cloned; else "
        "a run's folder or name, or a clone's",
    )
    env: EnvConfig
    objective: SerializeAsAny[ObjectiveParams]
    buffer: BufferConfig = BufferConfig()
    actors: ActorsConfig = ActorsConfig()
    agent: AgentConfig = AgentConfig()
    demos: DemosConfig = DemosConfig()
    clone: CloneConfig = CloneConfig()
    eval: Annotated[EvalConfig, Changes("scores")] = EvalConfig()
    checkpoint: Annotated[CheckpointConfig, Changes("nothing")] = CheckpointConfig()
    diagnostics: Annotated[DiagnosticsConfig, Changes("nothing")] = DiagnosticsConfig()
    logging: Annotated[LoggingConfig, Changes("nothing")] = LoggingConfig()
    runtime: Annotated[RuntimeConfig, Changes("nothing")] = RuntimeConfig()

    @field_validator("objective", mode="before")
    @classmethod
    def _pick_objective(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, ObjectiveParams):
            return value
        name = value.get("name") if isinstance(value, dict) else None
        if name not in OBJECTIVES and info.context is UNREGISTERED:
            return UnregisteredObjective.model_validate(value)
        if name not in OBJECTIVES:
            raise ValueError(f"unknown objective {name!r}; known: {', '.join(OBJECTIVES)}")
        return OBJECTIVES[name].model_validate(value)

    @model_validator(mode="after")
    def _buffer_holds_a_rollout(self) -> RunConfig:
        if self.buffer.size is not None and self.buffer.size < self.rollout_size:
            raise ValueError(
                f"buffer.size={self.buffer.size} is smaller than one rollout of {self.rollout_size} "
                f"transitions (agent.rollout_steps={self.agent.rollout_steps} x env.n_envs={self.env.n_envs})"
            )
        if self.agent.policy.kind == "layernorm" and len(self.agent.policy.hidden) != 3:
            raise ValueError(
                "agent.policy.hidden needs three widths [encoder, actor, critic] with kind=layernorm"
            )
        return self

    @model_validator(mode="after")
    def _there_is_an_initial_policy(self) -> RunConfig:
        needs = {"agent.anchor": self.agent.anchor.active, "buffer.demos": self.buffer.demos > 0}
        for key, asked in needs.items():
            if asked and self.init is None:
                raise ValueError(f"{key} holds on to an initial policy, which needs init=clone or init=RUN")
        return self

    @model_validator(mode="after")
    def _arguments_are_read_back(self) -> RunConfig:
        if self.env.kwargs:
            import yaml

            plain = self.model_dump(mode="json")["env"]["kwargs"]
            for name, value in self.env.kwargs.items():
                if yaml.safe_load(yaml.safe_dump(plain[name])) != value:
                    raise ValueError(
                        f"env.kwargs.{name}={value} would not be read back from config.yaml as it is; give a "
                        "number that is not NaN, true, false, null, text, or a list or mapping of these"
                    )
        return self

    @property
    def rollout_size(self) -> int:
        """Transitions collected per iteration, over all environments."""
        return self.agent.rollout_steps * self.env.n_envs

    @property
    def buffer_size(self) -> int:
        """Transitions the buffer holds."""
        return self.rollout_size if self.buffer.size is None else self.buffer.size


def keys_that_change(*what: Changed, model: type[BaseModel] = RunConfig, prefix: str = "") -> tuple[str, ...]:
    """Dotted keys of the settings and whole sections marked with one of these :class:`Changes`."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        mark = next((mark for mark in field.metadata if isinstance(mark, Changes)), None)
        kind = field.annotation
        if mark is not None:
            keys += [f"{prefix}{name}"] if mark.what in what else []
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += keys_that_change(*what, model=kind, prefix=f"{prefix}{name}.")
    return tuple(keys)
