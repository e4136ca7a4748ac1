"""The agent as Stable-Baselines3's users know it: a learner and an actor behind its interface."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Self

import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv

from gipo_cli.core.objectives import ObjectiveParams, known
from gipo_cli.data.demos import Demonstrations
from gipo_cli.data.rollout import Observation, each
from gipo_cli.learning.actor import Actor
from gipo_cli.learning.arguments import unknown_argument
from gipo_cli.learning.cloning import clone
from gipo_cli.learning.learner import Learner
from gipo_cli.learning.policies import NAMED, MlpPolicy, networks
from gipo_cli.learning.precision import resolve
from gipo_cli.learning.source import Inline, Past, stream
from gipo_cli.settings.posttrain import CloneConfig
from gipo_cli.settings.schema import ActorsConfig, AgentConfig, BufferConfig, PolicyConfig, RunConfig


class GIPO(OnPolicyAlgorithm):
    """Policy optimisation from a replay buffer of older rollouts, with any registered objective.

    ``learn``, ``predict``, ``save``, ``load``, callbacks and ``evaluate_policy`` work as in
    Stable-Baselines3. ``clone`` begins with demonstrations. ``learner`` and ``actor``
    are what does the work.

    Defaults are those of ``gipo train``, except for ``window``, which is Stable-Baselines3's.

    Args:
        policy: a ``PolicyConfig``, ``"mlp"``, ``"layernorm"`` or a policy class; None: ``agent.policy``.
        env: with a one-dimensional ``Box`` observation and a ``Box`` or (binned) ``MultiDiscrete`` action.
        objective: an objective's parameters, or its name for its defaults.
        buffer_size: newest transitions kept; None keeps exactly one rollout (on-policy).
        agent: everything else about the learner.
        actors: how old a policy collects; only those of this process.
        reward_scale, normalize_obs, clip_obs: as in the ``env`` section; the buffer holds raw numbers.
        window: finished episodes over which training return and success are averaged.
        seed: of networks, action sampling, batch sampling and (through the VecEnv) environments.
        device, verbose, tensorboard_log: as in Stable-Baselines3.

    Raises:
        TypeError: an argument that it does not take; the message says where that setting is.
        ValueError: an unknown objective, an observation space that is not a one-dimensional Box, or a buffer
            smaller than a rollout.
    """

    policy: MlpPolicy

    def __init__(
        self,
        policy: PolicyConfig | str | type[MlpPolicy] | None = None,
        env: GymEnv | str | None = None,
        *,
        objective: ObjectiveParams | str = "gipo",
        buffer_size: int | None = BufferConfig().size,
        agent: AgentConfig | None = None,
        actors: ActorsConfig | None = None,
        reward_scale: float = 1.0,
        normalize_obs: bool = False,
        clip_obs: float = 10.0,
        window: int = 100,
        seed: int | None = None,
        device: torch.device | str = "auto",
        verbose: int = 0,
        tensorboard_log: str | None = None,
        _init_setup_model: bool = True,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(unknown_argument(next(iter(unknown))))
        chosen, agent = _chosen(policy, agent or AgentConfig())
        self.agent = agent.model_copy(update={"precision": resolve(agent, get_device(device))})
        self.objective, self.actors = known(objective), actors or ActorsConfig()
        self.buffer_size, self.reward_scale = buffer_size, reward_scale
        network, arguments = networks(chosen, normalize_obs, clip_obs)
        super().__init__(
            network,
            env,  # type: ignore[arg-type]
            learning_rate=agent.update.actor_lr,
            n_steps=agent.rollout_steps,
            gamma=agent.advantage.gamma,
            gae_lambda=agent.advantage.gae_lambda,
            ent_coef=agent.update.entropy_coef,
            vf_coef=agent.update.value_coef,
            max_grad_norm=agent.update.max_grad_norm or math.inf,
            use_sde=False,
            sde_sample_freq=-1,
            policy_kwargs=arguments,
            verbose=verbose,
            stats_window_size=window,
            tensorboard_log=tensorboard_log,
            seed=seed,
            device=device,
            supported_action_spaces=(spaces.Box, spaces.MultiDiscrete),
            _init_setup_model=_init_setup_model,
        )

    @classmethod
    def from_config(cls, config: RunConfig, env: VecEnv | None, device: str, **changes: Any) -> GIPO:
        """The agent that a run's configuration describes."""
        arguments = {
            "policy": config.agent.policy,
            "objective": config.objective,
            "buffer_size": config.buffer.size,
            "agent": config.agent,
            "actors": config.actors if config.actors.in_agent else ActorsConfig(),
            "reward_scale": config.env.reward_scale,
            "normalize_obs": config.env.normalize_obs,
            "clip_obs": config.env.clip_obs,
            "window": config.logging.window,
            "seed": config.seed,
        }
        return cls(env=env, device=device, **{**arguments, **changes})

    @classmethod
    def without_env(
        cls,
        config: RunConfig,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: str,
        *,
        learns: bool = False,
    ) -> GIPO:
        """The same without an environment, and unless it ``learns`` with a buffer of one rollout."""
        changes = {} if learns else {"buffer_size": None}
        agent = cls.from_config(config, None, device, _init_setup_model=False, **changes)
        agent.observation_space, agent.action_space = observation_space, action_space
        agent.n_envs = config.env.n_envs
        agent._setup_model()
        return agent

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        space = self.observation_space
        policy = self.policy_class(space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        self.policy = policy.to(self.device)  # type: ignore[assignment]
        self.learner = Learner(
            self.policy,
            self.agent,
            self.objective,
            capacity=self.buffer_size,
            rollout_size=self.n_steps * self.n_envs,
            reward_scale=self.reward_scale,
            window=self._stats_window_size,
            seed=self.seed,
        )
        self.past = Past(self.learner, self.actors, self.seed)
        self.generator = stream(self.device)
        self.rollout_buffer = self.buffer  # the name that learn() passes on
        self._actor: Actor | None = None

    @property
    def buffer(self) -> Any:
        """The learner's replay buffer."""
        return self.learner.buffer

    @property
    def actor(self) -> Actor:
        """Steps this agent's environments.

        Raises: ValueError if it has none.
        """
        if self.env is None:
            raise ValueError(
                "this agent has no environment; give it one like that of its training with set_env()"
            )
        if self._actor is None or self._actor.env is not self.env:
            keeps = self.learner.keeps_distribution
            self._actor = Actor(self.env, self.n_steps, self.generator, keeps_distribution=keeps)
        return self._actor

    @property
    def source(self) -> Inline:
        """Rollouts of this agent's own environments, with its newest policy or an older one."""
        return Inline(self.actor, self.past)

    def act(
        self, obs: Observation, deterministic: bool = True, generator: torch.Generator | None = None
    ) -> NDArray[Any]:
        """Actions ``[n, D]`` for raw observations ``[n, ...]``, nothing clipped."""
        return self.acting(deterministic, generator)(obs)

    def acting(
        self, deterministic: bool = True, generator: torch.Generator | None = None
    ) -> Callable[[Observation], NDArray[Any]]:
        """What :meth:`act` does, prepared for many observations; the policy must not learn meanwhile."""
        policy, passes = self.policy, self.policy.acting()

        @torch.inference_mode()
        def act(obs: Observation) -> NDArray[Any]:
            output = passes.actor(passes.shared(policy.tensors(obs)))
            action = policy.head.mode(output) if deterministic else policy.head.sample(output, generator)
            numbers: NDArray[Any] = action.cpu().numpy()
            return numbers

        return act

    def clone(self, demos: Demonstrations, how: CloneConfig | None = None) -> Self:
        """Become the clone of demonstrations, from which ``learn`` trains on.

        The observation statistics are theirs from here on. Actions count as those of ``action_space``, a Box.

        Raises: ValueError if observations or actions are of another shape.
        """
        spaces_of = {"observations": self.observation_space, "actions": self.action_space}
        for (name, space), given in zip(spaces_of.items(), (demos.obs, demos.action), strict=True):
            theirs = each(lambda part: part.shape[1:], given)
            if not isinstance(space, spaces.Box) or space.shape != theirs:
                raise ValueError(
                    f"the demonstrations have {name} of shape {theirs}, and the agent's are {space}"
                )
        clone(
            self.policy, demos.obs, demos.action, demos.length.tolist(), how or CloneConfig(), self.seed or 0
        )
        self.learner.begin_from()
        return self

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        _ = self.actor  # whose error says what is missing, before Stable-Baselines3's assertion
        return super()._setup_learn(*args, **kwargs)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: Any, n_rollout_steps: int
    ) -> bool:
        """Collect one rollout; called by Stable-Baselines3's ``learn``."""

        def on_step(seen: dict[str, Any]) -> bool:
            self.num_timesteps += env.num_envs
            self._update_info_buffer(seen["infos"], seen["dones"])
            callback.update_locals(seen)
            return callback.on_step()

        actor = self.actor
        if self._last_obs is not actor.last_obs:
            actor.begin(self._last_obs)
        callback.on_rollout_start()
        rollout = actor.collect(self.past.snapshot(), on_step)
        self._last_obs = actor.last_obs
        if rollout is None:
            return False
        self.learner.take(rollout)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Learn from the buffer; called by Stable-Baselines3's ``learn``."""
        self.learner.steps = self.num_timesteps
        for name, value in self.learner.update(self._total_timesteps).numbers.items():
            self.logger.record(f"train/{name}", value)
        self._n_updates = self.learner.optimizer_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    @classmethod
    def load(cls, *args: Any, **kwargs: Any) -> Self:
        """Stable-Baselines3's ``load`` of the file that ``save`` wrote, with a warning first.

        The format is unpickled, so a file from someone else can run any code. ``gipo_cli.load_run`` opens a
        run folder without that.
        """
        warnings.warn(
            "Stable-Baselines3's file format can run code when it is loaded: load only files that you trust "
            "(run folders, by gipo_cli.load_run, cannot)",
            UserWarning,
            stacklevel=2,
        )
        return super().load(*args, **kwargs)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "learner", "past", "generator", "_actor"]


def _chosen(
    policy: PolicyConfig | str | type[MlpPolicy] | None, agent: AgentConfig
) -> tuple[PolicyConfig | str | type[MlpPolicy], AgentConfig]:
    """The policy that is meant, and the settings with it."""
    chosen = NAMED.get(policy, policy) if isinstance(policy, str) else policy or agent.policy
    if isinstance(chosen, PolicyConfig):
        agent = agent.model_copy(update={"policy": chosen})
    return chosen, agent
