"""Settings of the learner, and what every section of a configuration is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gipo_cli.core.objectives import NonNegative, Positive

Count = Annotated[int, Field(ge=1)]
Interval = Annotated[int, Field(ge=1)] | None
Unit = Annotated[float, Field(ge=0, le=1)]
Changed = Literal["draw", "budget", "scores", "origin", "nothing"]


@dataclass(frozen=True)
class Changes:
    """Mark of a setting or section that does not change how a run learns.

    draw: which random numbers it gets; budget: how long it trains; scores: how it is evaluated; origin: where
    settings and code came from; nothing: what is written, and on what machine it runs.
    """

    what: Changed


class Record(BaseModel):
    """Base of every section: unknown keys and wrong types are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, ser_json_inf_nan="constants")


class PolicyConfig(Record):
    """Actor and critic networks."""

    kind: Literal["mlp", "layernorm"] = Field(
        "mlp",
        description="mlp: Stable-Baselines3's MlpPolicy; layernorm: shared LayerNorm encoder with a "
        "critic on detached features (the authors')",
    )
    hidden: list[Annotated[int, Field(ge=1, le=65_536)]] = Field(
        [64, 64],
        description="mlp: layer widths of actor and of critic; layernorm: [encoder, actor, critic]",
        min_length=1,
    )
    activation: Literal["tanh", "relu", "elu", "silu"] = Field("tanh", description="of the mlp policy")
    ortho_init: bool = Field(True, description="orthogonal initialisation of the mlp policy")
    log_std_init: Annotated[float, Field(ge=-20, le=2)] = Field(
        0.0, description="initial log standard deviation of a Gaussian action, in action units"
    )
    value_norm: bool = Field(
        False,
        description="critic learns values in units of the buffer's targets, rescaled as they change (PopArt)",
    )


class AdvantageConfig(Record):
    """How returns and advantages are formed over replayed segments."""

    kind: Literal["stored", "recompute", "vtrace"] = Field(
        "recompute",
        description="stored: GAE with the critic at collection; recompute: GAE with today's critic; "
        "vtrace: off-policy corrected targets",
    )
    gamma: Unit = Field(0.99, description="discount factor per step; the horizon is 1 / (1 - gamma) steps")
    gae_lambda: Unit = Field(0.95, description="0: one-step errors (bias); 1: full returns (variance)")
    rho_bar: Positive = Field(1.0, description="vtrace: bound on the ratio in the temporal difference")
    c_bar: Positive = Field(1.0, description="vtrace: bound on the trace coefficient")
    bootstrap_truncated: bool = Field(
        True, description="value of the true final observation at a time limit; false: treat as terminal"
    )
    normalize: Literal["none", "batch", "buffer"] = Field(
        "batch", description="zero mean and unit deviation over each sampled batch, or over the buffer"
    )


class UpdateConfig(Record):
    """What happens between two rollouts."""

    sampling: Literal["epochs", "rounds"] = Field(
        "rounds",
        description="epochs: shuffled passes over the whole buffer (PPO); rounds: independent batches "
        "drawn without replacement (the authors')",
    )
    epochs: Count = Field(10, description="passes over the buffer when sampling is epochs")
    rounds: Count = Field(20, description="batches per iteration when sampling is rounds")
    batch_size: Count = Field(512, description="transitions per batch; never more than the buffer holds")
    reuse: Count = Field(1, description="critic steps on each sampled batch")
    actor_every: Count = Field(1, description="actor steps at reuse 0, k, 2k, ... of each batch")
    actor_reuse_scaling: bool = Field(
        False, description="scale the actor loss by 1/sqrt(reuse index + 1), as the authors do"
    )
    optimizer: Literal["adam", "adamw"] = Field("adam", description="from torch.optim")
    fused: bool = Field(
        True, description="torch's fused optimizer: faster; false rounds as Stable-Baselines3's does"
    )
    adam_eps: Positive = Field(1e-5, description="Adam's denominator offset")
    weight_decay: NonNegative = Field(0.0, description="decoupled with adamw, L2 with adam")
    actor_lr: Positive = Field(3e-4, description="peak learning rate of actor and encoder")
    critic_lr: Positive = Field(1e-3, description="peak learning rate of the critic")
    lr_schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="decay to 0 over total_steps, by iteration"
    )
    lr_warmup: Annotated[int, Field(ge=0)] = Field(0, description="iterations of linear warm-up from 0")
    max_grad_norm: Positive | None = Field(0.5, description="bound on the global gradient norm; null: none")
    value_coef: NonNegative = Field(0.5, description="weight of the mean squared value error")
    entropy_coef: NonNegative = Field(0.0, description="weight of the entropy bonus")
    kl_coef: NonNegative = Field(0.0, description="weight of the KL(mu || pi) penalty")
    kl_stop: Positive | None = Field(
        None, description="end an iteration's updates once a batch's KL(mu || pi) exceeds this; null: never"
    )
    kl_step: Positive | None = Field(
        None,
        description="KL that an iteration's updates should move the policy by: actor_lr is divided by 1.5 "
        "after one of more than twice that, multiplied by it after one of less than half; lr_schedule's "
        "factor counts squared; null: fixed",
    )

    @property
    def decays(self) -> bool:
        """Whether the learning rate depends on ``total_steps``."""
        return self.lr_schedule != "constant"


class AnchorConfig(Record):
    """What holds the policy near the initial one, in a run with init."""

    kl_coef: NonNegative = Field(0.0, description="weight of the exact KL(initial policy || pi)")
    clone_coef: NonNegative = Field(
        0.0, description="weight of the demonstrations' negative log-likelihood per action"
    )
    decay: Literal["constant", "linear"] = Field(
        "linear", description="both weights over the run: constant, or down to 0 at its end"
    )

    @property
    def active(self) -> bool:
        """Whether anything holds it."""
        return bool(self.kl_coef or self.clone_coef)


class AgentConfig(Record):
    """The learner."""

    rollout_steps: Count = Field(
        512, description="steps of each environment per iteration; fewer new steps mean more policy lag"
    )
    ratio: Literal["joint", "per_dimension"] = Field(
        "joint",
        description="joint: one ratio per action (PPO); per_dimension: one per action dimension (the "
        "authors). sigma, eps and tau do not carry over between the two",
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32",
        description="arithmetic of the matrix products of updates (acting is float32); auto: bfloat16 where "
        "it is faster",
    )
    critic_warmup: Annotated[int, Field(ge=0)] = Field(
        0, description="first iterations in which only the critic learns, with init usually"
    )
    policy: PolicyConfig = PolicyConfig()
    advantage: AdvantageConfig = AdvantageConfig()
    update: UpdateConfig = UpdateConfig()
    anchor: AnchorConfig = AnchorConfig()

    @property
    def decays(self) -> bool:
        """Whether anything depends on ``total_steps``, so that a longer run is another one."""
        return self.update.decays or (self.anchor.active and self.anchor.decay == "linear")
