"""The one update, for every objective and every schedule. It returns numbers and logs nothing."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from gipo_cli.core.health import explained_variance, health, kl_k3, proximal_health
from gipo_cli.core.objectives import ObjectiveParams, ObjectiveTerms, evaluate
from gipo_cli.data.replay import ReplayBuffer
from gipo_cli.data.rollout import Observation
from gipo_cli.learning.anchor import Anchor
from gipo_cli.learning.batches import Batch, Sampler
from gipo_cli.learning.flat import FlatParameters
from gipo_cli.learning.normalizer import ValueHead
from gipo_cli.learning.optimizers import Adam
from gipo_cli.learning.policies import MlpPolicy
from gipo_cli.learning.precision import autocast
from gipo_cli.learning.proximal import ProximalPolicy
from gipo_cli.learning.schedules import adapted
from gipo_cli.learning.tally import Tally, UpdateStats
from gipo_cli.settings.schema import AgentConfig, UpdateConfig


class NonFinite(ArithmeticError):  # noqa: N818 - names the state, as RunFailed does
    """A loss or a gradient is NaN or infinite; the step was not applied. The message names it."""


class Updater:
    """Turns the contents of a replay buffer into optimizer steps.

    Args:
        policy: networks to train.
        config: the agent's settings.
        objective: which policy objective, and its parameters.
        sampler: draws the batches.
    """

    def __init__(
        self, policy: MlpPolicy, config: AgentConfig, objective: ObjectiveParams, sampler: Sampler
    ) -> None:
        self.policy, self.config, self.objective, self.sampler = policy, config, objective, sampler
        self.actor = FlatParameters(policy.actor_parameters())
        self.critic = FlatParameters(policy.critic_parameters())
        self.optimizer = policy.optimizer = _optimizer(config.update, self.actor.flat, self.critic.flat)
        self.kl_coef = kl_coef(config, objective)
        self.parameters = list(policy.parameters())
        self.anchor: Anchor | None = None
        self.critic_only = False
        measures = objective.proximal or config.update.kl_step is not None
        self.proximal = ProximalPolicy(policy, self.actor, self.autocast) if measures else None
        self.values = policy.value_net if isinstance(policy.value_net, ValueHead) else None
        self.actor_scale = self.lr_factor = 1.0

    def set_lr(self, factor: float) -> None:
        """Set both learning rates to ``factor`` times their peaks, the actor's adapted by ``kl_step``."""
        update = self.config.update
        self.lr_factor = factor
        peaks = (update.actor_lr * self.actor_scale, update.critic_lr)
        for group, peak in zip(self.optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor

    def update(self, buffer: ReplayBuffer, version: int) -> UpdateStats:
        """Run one iteration's updates on ``buffer``; ``version`` is the learner's, in iterations.

        Raises: NonFinite before a NaN or infinite step would be applied.
        """
        self.refresh_advantages(buffer)
        self.critic_only = version < self.config.critic_warmup
        if self.values is not None:
            targets = torch.from_numpy(buffer.value_target[: len(buffer)])
            self.values.rescale(targets.to(self.policy.device))
        if self.proximal is not None:
            self.proximal.begin()
        tally = Tally()
        for batch in self.sampler.batches(buffer, version):
            self._learn(batch, tally)
            if tally.stopped:
                break
        stats = self._reduce(tally)
        if (goal := self.config.update.kl_step) is not None:
            # KL goes with the square of the step, so the schedule decays both alike.
            goal *= self.lr_factor**2
            self.actor_scale = adapted(self.actor_scale, goal, stats.numbers.get("health/kl_prox"))
        return stats

    def skip(self) -> UpdateStats:
        """What an iteration without an optimizer step did: nothing."""
        return self._reduce(Tally())

    def refresh_advantages(self, buffer: ReplayBuffer) -> None:
        """Form the buffer's advantages with today's networks, unless those of collection are kept."""
        advantage = self.config.advantage
        if advantage.kind != "stored":
            off_policy = advantage.kind == "vtrace"
            for held in (buffer, self.sampler.demos):
                if held is not None:
                    held.recompute(self._values, advantage, self._log_ratio if off_policy else None)

    def _learn(self, batch: Batch, tally: Tally) -> None:
        """All reuses of one batch: actor and critic at reuse 0, k, 2k, ..., the critic alone otherwise."""
        update = self.config.update
        shared: Tensor | None = None
        for reuse in range(update.reuse):
            if reuse % update.actor_every == 0 and not self.critic_only:
                scale = 1.0 / math.sqrt(reuse + 1) if update.actor_reuse_scaling else 1.0
                self._step_both(batch, scale, tally)
                shared = None
                if tally.stopped:
                    return
            else:
                if shared is None:
                    # Only the actor's step moves the shared features: one pass serves all critic steps.
                    with torch.no_grad(), self.autocast():
                        shared = self.policy.shared(batch.obs)
                self._step_critic(shared, batch.value_target, tally)

    def _step_both(self, batch: Batch, scale: float, tally: Tally) -> None:
        update, policy = self.config.update, self.policy
        with self.autocast():
            shared = policy.shared(batch.obs)
            output = policy.actor(shared).float()
            value = policy.critic(shared)
        action = policy.head.terms(output, batch.action, batch.distribution if self.kl_coef else None)
        terms = self._objective_terms(action.log_prob, batch)
        # Estimated from the ratios where no distribution is stored to have it exactly.
        kl = kl_k3(terms.log_ratio) if action.kl is None else self._per_action(action.kl).mean()
        if update.kl_stop is not None and float(kl.detach()) > update.kl_stop:
            tally.stopped = True
            return
        actor_loss = -terms.surrogate.mean()
        critic_loss = self._value_error(value, batch.value_target)
        loss = scale * actor_loss + update.value_coef * critic_loss
        entropy = self._per_action(action.entropy).mean()
        if update.entropy_coef:
            loss = loss - update.entropy_coef * entropy
        if action.kl is not None:
            loss = loss + self.kl_coef * kl
            tally.kl_penalty.append(self.kl_coef * kl.detach())
        if self.anchor is not None:
            loss = loss + self.anchor(batch, output)
        self._apply(loss, (self.actor, self.critic), tally)
        tally.log_ratio.append(terms.log_ratio)
        tally.coefficient.append(terms.coefficient)
        tally.lag.append(batch.lag)
        tally.advantage.append(terms.samples.advantage)
        if self.proximal is not None:
            tally.step.append(terms.samples.log_prob - terms.samples.proximal_log_prob)
            tally.parts.append(self.objective.parts(terms.samples))
        tally.kl.append(kl.detach())
        tally.value.append(value.detach())
        tally.value_target.append(batch.value_target)
        tally.actor_loss.append(actor_loss.detach())
        tally.critic_loss.append(critic_loss.detach())
        tally.entropy.append(entropy.detach())

    def _step_critic(self, shared: Tensor, value_target: Tensor, tally: Tally) -> None:
        with self.autocast():
            value = self.policy.critic(shared)
        critic_loss = self._value_error(value, value_target)
        self._apply(self.config.update.value_coef * critic_loss, (self.critic,), tally)
        tally.critic_loss.append(critic_loss.detach())

    def _apply(self, loss: Tensor, moved: tuple[FlatParameters, ...], tally: Tally) -> None:
        """One optimizer step on what ``loss`` depends on, unless anything in it is not finite."""
        for parameter in (self.actor.flat, self.critic.flat, *self.parameters):
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        total = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        norm = float(total)
        if not math.isfinite(norm):
            value = float(loss.detach())
            broken = ("the gradient norm", norm) if math.isfinite(value) else ("the loss", value)
            raise NonFinite(f"{broken[0]} is {broken[1]}")
        for group in moved:
            group.take_gradients()
        if self.config.update.max_grad_norm is not None:
            clip_grads_with_norm_([group.flat for group in moved], self.config.update.max_grad_norm, total)
        self.optimizer.step()
        tally.grad_norm.append(norm)
        tally.critic_steps += 1

    def _objective_terms(self, log_prob: Tensor, batch: Batch) -> ObjectiveTerms:
        behaviour = batch.log_prob
        proximal = self.proximal.log_prob(batch, log_prob) if self.proximal else None
        if self.config.ratio == "joint":
            log_prob, behaviour = log_prob.sum(-1), behaviour.sum(-1)
            proximal = None if proximal is None else proximal.sum(-1)
        return evaluate(self.objective, log_prob, behaviour, batch.advantage, proximal)

    def _value_error(self, value: Tensor, target: Tensor) -> Tensor:
        if self.values is None:
            return mse_loss(value, target)
        return mse_loss(value / self.values.std, target / self.values.std)

    def _per_action(self, values: Tensor) -> Tensor:
        """``[B, D]`` summed over the action where the ratio is joint, kept per dimension otherwise."""
        return values.sum(-1) if self.config.ratio == "joint" else values

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which the networks run while learning; a rollout acts in float32 always."""
        return autocast(self.config.precision, self.policy.device)

    @torch.no_grad()
    def _values(self, obs: Observation) -> NDArray[np.float32]:
        with self.autocast():
            shared = self.policy.shared(self.policy.tensors(obs))
            values: NDArray[np.float32] = self.policy.critic(shared).cpu().numpy()
        return values

    @torch.no_grad()
    def _log_ratio(
        self, obs: Observation, action: NDArray[np.generic], behaviour: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        with self.autocast():
            output = self.policy.actor(self.policy.shared(self.policy.tensors(obs))).float()
        log_prob = self.policy.head.log_prob(output, torch.from_numpy(action).to(self.policy.device))
        ratio: NDArray[np.float32] = (log_prob.cpu() - torch.from_numpy(behaviour)).sum(-1).numpy()
        return ratio

    def _reduce(self, tally: Tally) -> UpdateStats:
        def mean(values: list[Tensor]) -> float:
            return float(torch.stack(values).mean()) if values else math.nan

        groups = self.optimizer.param_groups
        numbers = {
            "loss/actor": mean(tally.actor_loss),
            "loss/critic": mean(tally.critic_loss),
            "loss/entropy": mean(tally.entropy),
            "loss/kl_penalty": mean(tally.kl_penalty),
            "loss/grad_norm": float(np.mean(tally.grad_norm)) if tally.grad_norm else math.nan,
            "lr/actor": groups[0]["lr"],
            "lr/critic": groups[1]["lr"],
            "update/actor_steps": len(tally.actor_loss),
            "update/critic_steps": tally.critic_steps,
            "update/kl_stopped": int(tally.stopped),
            "health/kl": mean(tally.kl),
            **(self.anchor.numbers() if self.anchor else {}),
        }
        if not tally.log_ratio:
            empty = torch.empty(0)
            return UpdateStats(numbers, empty, empty, empty)
        log_ratio, coefficient = torch.cat(tally.log_ratio).cpu(), torch.cat(tally.coefficient).cpu()
        lag, advantage = torch.cat(tally.lag).cpu(), torch.cat(tally.advantage).cpu()
        value, target = torch.cat(tally.value).cpu(), torch.cat(tally.value_target).cpu()
        numbers["health/explained_variance"] = explained_variance(value, target)
        numbers |= health(log_ratio, coefficient, lag, advantage)
        if tally.step:
            parts = {name: torch.cat([one[name] for one in tally.parts]).cpu() for name in tally.parts[0]}
            numbers |= proximal_health(log_ratio, torch.cat(tally.step).cpu(), parts, advantage)
        return UpdateStats(numbers, log_ratio, coefficient, lag)


def kl_coef(config: AgentConfig, objective: ObjectiveParams) -> float:
    """Weight of the KL(mu || pi) penalty: the agent's and the objective's together."""
    return config.update.kl_coef + objective.kl_coef


def _optimizer(update: UpdateConfig, actor: nn.Parameter, critic: nn.Parameter) -> torch.optim.Optimizer:
    return Adam(
        [{"params": [actor], "lr": update.actor_lr}, {"params": [critic], "lr": update.critic_lr}],
        eps=update.adam_eps,
        weight_decay=update.weight_decay,
        decoupled_weight_decay=update.optimizer == "adamw",
        fused=update.fused,
        foreach=not update.fused,
    )
