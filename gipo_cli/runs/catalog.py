"""The one catalogue of what a run records: every column, its unit and what it means.

The tables take their headers from here, TensorBoard its tags, and ``docs/metrics.md`` is made from it. No torch.
"""
# A table reads best with one line per row.
# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from typing import NamedTuple

from gipo_cli.core.lags import LAG_BUCKETS


class Metric(NamedTuple):
    """One number; ``reading`` says what high and low values mean, or what to do about them.

    ``curve``: whether TensorBoard and other listeners get it; the tables hold everything.
    """

    tag: str
    unit: str
    formula: str
    reading: str = ""
    curve: bool = True


_USED = "over the samples of this iteration's actor steps, each at the moment of its use"
_LAGS = [(name, name.replace("_up", " or more").replace("_", " to ")) for name in LAG_BUCKETS]

METRICS: tuple[Metric, ...] = (
    Metric("step", "steps", "environment steps so far, over all environments", "the x axis of every figure", curve=False),
    Metric("iteration", "count", "rollouts so far, and updates", "the learner's version, in which policy lag is counted"),
    Metric("episodes", "count", "finished training episodes so far", curve=False),
    Metric("train/return", "raw reward", "mean return of the last logging.window episodes", "of the sampled, not the deterministic, policy"),
    Metric("train/success", "share", "mean success of those episodes by env.success", "1 is every episode"),
    Metric("train/success_any", "share", "of those, episodes with success at any step", "Meta-World's protocol", curve=False),
    Metric("train/success_last", "share", "of those, episodes with success at the last step", "stricter than success_any where success can be lost", curve=False),
    Metric("train/length", "steps", "mean length of those episodes"),
    Metric("loss/actor", "advantage", "minus the mean surrogate, before scaling", "its size says little; its sign flips freely"),
    Metric("loss/critic", "scaled reward^2", "mean (V - target)^2 over all critic steps", "falls as the critic fits; jumps when the policy finds new reward"),
    Metric("loss/entropy", "nats", "mean entropy; per action where the ratio is joint, else per dimension", "a fall to its floor is premature convergence"),
    Metric("loss/kl_penalty", "nats", "penalty weight times the mean exact KL(mu || pi); empty without a penalty", curve=False),
    Metric("loss/clone", "nats", "mean negative log-likelihood of demonstrated actions, before its weight; empty without agent.anchor.clone_coef"),
    Metric("loss/grad_norm", "loss / parameter", "mean global gradient norm before clipping", "far above max_grad_norm all the time: every step is clipped"),
    Metric("lr/actor", "", "learning rate of actor and encoder in this iteration"),
    Metric("lr/critic", "", "learning rate of the critic in this iteration"),
    Metric("update/actor_steps", "count", "optimizer steps that moved the actor", "0: the KL stop ended the iteration before its first step", curve=False),
    Metric("update/critic_steps", "count", "optimizer steps that moved the critic", curve=False),
    Metric("update/kl_stopped", "0 or 1", "1 if agent.update.kl_stop ended the iteration"),
    Metric("buffer/size", "transitions", "transitions held"),
    Metric("actors/arrival_lag", "versions", "learner version minus behaviour version of this iteration's rollout as it enters the buffer", "0 inline; the age that replay adds comes on top, see health/lag_mean"),
    Metric("actors/queue", "rollouts", "finished rollouts that waited as this iteration's was taken; empty without actors elsewhere, as the next four", "always 0: the learner waits; always max_lag: the actors do"),
    Metric("actors/dropped", "count", "rollouts thrown away so far, as their lag was above actors.max_lag (actors.overflow=drop)"),
    Metric("actors/masked", "count", "rollouts so far that counted and were not learned from, as their lag was above actors.max_lag (actors.overflow=mask)"),
    Metric("actors/replaced", "count", "actors so far that ended or hung and were replaced; what they had not finished is dropped"),
    Metric("actors/reuse", "samples / transition", "samples of actor steps over transitions collected, both so far", "falls where rollouts are dropped"),
    Metric("health/ess", "share", f"effective sample size, (sum g)^2 / (n sum g^2) {_USED}", "1: all samples count alike; near 0: a few samples decide the step"),
    Metric("health/utilisation", "share", f"samples with |g| > 0.01 {_USED}", "the rest are dead: collected, stored and not learned from"),
    Metric("health/log_ratio_mean", "nats", f"mean log r {_USED}", "strongly negative: the policy has moved away from the data"),
    Metric("health/log_ratio_std", "nats", f"standard deviation of log r {_USED}", "compare with sigma: far above it, the trust weight removes most samples"),
    Metric("health/log_ratio_abs_p50", "nats", f"median of |log r| {_USED}", curve=False),
    Metric("health/log_ratio_abs_p95", "nats", f"95th percentile of |log r| {_USED}", curve=False),
    Metric("health/log_ratio_abs_p99", "nats", f"99th percentile of |log r| {_USED}", "the tail that makes unclipped objectives diverge", curve=False),
    Metric("health/weight_mean", "", f"mean of g / r {_USED}", "for gipo its trust weight; 1 is no damping"),
    Metric("health/weight_p05", "", f"5th percentile of g / r {_USED}", curve=False),
    Metric("health/outside_band", "share", f"|r - 1| > 0.2 {_USED}, whatever the objective and the sign of A", "what PPO's usual clip would call outside", curve=False),
    Metric("health/kl", "nats", "KL(mu || pi), mean over the batches of this iteration's actor steps, each at the moment of its use: exact where the distribution is stored, else the mean of r - 1 - log r", "grows with policy lag and with the learning rate"),
    Metric("health/kl_initial", "nats", "exact KL(initial policy || pi), mean over the batches of this iteration's actor steps; empty without agent.anchor.kl_coef", "how far training has left the policy it began as"),
    Metric("health/chi2", "", f"mean of r^2 - 1 {_USED}: chi-square divergence of pi from mu", "the variance of the ratios; far above 1, unclipped updates rest on a few samples"),
    Metric("health/kl_k1", "nats", f"KL(mu || pi) by the mean of -log r {_USED}", "unbiased on actions drawn from mu, and noisy: may be negative", curve=False),
    Metric("health/kl_k3", "nats", f"KL(mu || pi) by the mean of r - 1 - log r {_USED}", "never negative; a steady rise is an early warning"),
    Metric("health/ratio_max", "", f"largest r {_USED}"),
    Metric("health/damped_pos", "share", f"of the samples with A > 0, those with g / r < 0.99 {_USED}", "what the objective holds back of good actions"),
    Metric("health/damped_neg", "share", f"of the samples with A <= 0, those with g / r < 0.99 {_USED}", "what it holds back of bad actions"),
    Metric("health/kl_prox", "nats", f"mean of e^y - 1 - y, y = log pi / pi_prox, {_USED}; pi_prox is the learner at the start of the iteration's updates", "how far one iteration moves; only of objectives that know pi_prox, as all of _prox and _data"),
    Metric("health/log_ratio_prox_rms", "nats", f"root mean square of y = log pi / pi_prox {_USED}", "compare with sigma_prox"),
    Metric("health/log_ratio_data_rms", "nats", f"root mean square of z = log pi_prox / mu {_USED}", "how old the data is, in nats"),
    *(Metric(f"health/damped_{part}_{sign}", "share", f"of the samples with A {words}, those that the weight on {ratio} damps below 0.99 {_USED}", curve=False) for part, ratio in (("prox", "pi / pi_prox"), ("data", "pi_prox / mu")) for sign, words in (("pos", "> 0"), ("neg", "<= 0"))),
    Metric("health/lag_mean", "versions", f"mean policy lag, learner version minus behaviour version, {_USED}", "how stale the data is, measured"),
    Metric("health/lag_max", "versions", f"largest policy lag {_USED}"),
    Metric("health/explained_variance", "share", "1 - Var(target - V) / Var(target) on the actor steps' batches, before each step", "below 0: the critic is worse than a constant"),
    *(Metric(f"health/utilisation_lag_{name}", "share", f"utilisation of the samples with policy lag {words}", "empty if there are none", curve=False) for name, words in _LAGS),
    *(Metric(f"health/ess_lag_{name}", "share", f"effective sample size of the samples with policy lag {words}", "empty if there are none", curve=False) for name, words in _LAGS),
    Metric("time/wall", "s", "time since the run's first start, without the gaps between attempts", "differs from machine to machine, as all of time/"),
    Metric("time/rollout", "s", "acting and stepping in this iteration, or the learner's wait for actors elsewhere", curve=False),
    Metric("time/learner_wait", "s", "what the learner waited for a rollout in this iteration; empty without actors elsewhere, as the next", "large: the actors are the slower side"),
    Metric("time/actors_wait", "s", "mean over the actors of the time that each was held back since the row before", "large: the learner is the slower side, or actors.max_lag is small"),
    Metric("time/update", "s", "learning in this iteration", curve=False),
    Metric("time/eval", "s", "evaluation after this iteration", curve=False),
    Metric("time/diagnostics", "s", "bias-variance measurement in this iteration, between collecting and updating", "its sum over time/wall is the measurement's cost", curve=False),
)

EVALUATION: tuple[Metric, ...] = (
    Metric("step", "steps", "environment steps trained", curve=False),
    Metric("episodes", "count", "episodes played", curve=False),
    Metric("return_mean", "raw reward", "mean return"),
    Metric("return_std", "raw reward", "standard deviation of the return over episodes", "of one policy over starts; says nothing of seeds", curve=False),
    Metric("return_min", "raw reward", "smallest return", curve=False),
    Metric("return_max", "raw reward", "largest return", curve=False),
    Metric("success", "share", "episodes that succeeded by env.success"),
    Metric("success_any", "share", "episodes with success at any step"),
    Metric("success_last", "share", "episodes with success at the last step"),
    Metric("length_mean", "steps", "mean length"),
    Metric("first_success", "steps", "mean step of the first success over the episodes that have one; empty where none has", "near the time limit: success comes late, and once", curve=False),
    Metric("time/wall", "s", "as in metrics.csv"),
)

CURVES = frozenset(
    [metric.tag for metric in METRICS if metric.curve]
    + [metric.tag if "/" in metric.tag else f"eval/{metric.tag}" for metric in EVALUATION if metric.curve]
)
"""Tags of what listeners get, beside ``DIAGNOSTIC_CURVES``."""
ARRIVAL_COLUMNS: tuple[str, ...] = ("iteration", "actor", "version", "lag", "size", "fate")
"""Of a rollout: the learner's version as it arrived, who made it with which version, and what became of it."""
METRIC_COLUMNS: tuple[str, ...] = tuple(metric.tag for metric in METRICS)
EVALUATION_COLUMNS: tuple[str, ...] = tuple(metric.tag for metric in EVALUATION)
DIAGNOSTIC_KEYS: tuple[str, ...] = ("step", "reference", "family", "knob", "value", "trained", "n", "batch_size")
"""What a row of ``diagnostics.csv`` measured; docs/diagnostics.md explains every column."""
DIAGNOSTIC_COLUMNS: tuple[str, ...] = (
    *DIAGNOSTIC_KEYS,
    "bias2", "bias2_se", "variance", "variance_se", "mse", "mse_se", "cosine", "norm", "reference_norm", "utilisation", "ess",
)
DIAGNOSTIC_CURVES = ("bias2", "variance", "mse", "cosine")
"""Of those, what listeners get of the trained objective."""
