"""The learner: a Stable-Baselines3 on-policy algorithm that trains from a replay buffer."""

from __future__ import annotations

import math
import random
import warnings
from collections import deque
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from gipo_cli.core.objectives import OBJECTIVES, ObjectiveParams
from gipo_cli.data.replay import ReplayBuffer
from gipo_cli.data.rollout import Rollout
from gipo_cli.envs.spaces import clipped
from gipo_cli.learning.episodes import EpisodeWindow
from gipo_cli.learning.flat import FlatParameters
from gipo_cli.learning.policies import LayerNormPolicy, MlpPolicy, ObsNormalizer, policy_class, policy_kwargs
from gipo_cli.learning.precision import resolve
from gipo_cli.learning.schedules import lr_factor
from gipo_cli.learning.updater import Updater, UpdateStats
from gipo_cli.settings.schema import AgentConfig, PolicyConfig, RunConfig

NAMED = {
    "mlp": PolicyConfig(),
    "MlpPolicy": PolicyConfig(),
    "layernorm": PolicyConfig(kind="layernorm", hidden=[512, 512, 256]),
}


class GIPO(OnPolicyAlgorithm):
    """Policy optimisation from a replay buffer of older rollouts, with any registered objective.

    ``learn``, ``predict``, ``save``, ``load``, callbacks and ``evaluate_policy`` work as in
    Stable-Baselines3.

    Args:
        policy: a ``PolicyConfig``, ``"mlp"``, ``"layernorm"`` or a policy class; None: ``agent.policy``.
        env: environment or ``VecEnv`` with a one-dimensional ``Box`` observation and a ``Box`` or
            (binned) ``MultiDiscrete`` action space.
        objective: an objective's parameters, or its name for its defaults.
        buffer_size: newest transitions kept; None keeps exactly one rollout (on-policy).
        agent: everything else about the learner.
        reward_scale: factor on rewards wherever advantages are formed; the buffer stores them raw.
        normalize_obs: normalise observations by running statistics when they are used.
        clip_obs: bound on a normalised observation, in deviations.
        window: finished episodes over which training return and success are averaged.
        seed: of networks, action sampling, batch sampling and (through the VecEnv) environments.
        device: torch device, or ``"auto"``.
        verbose: 0 silent, 1 progress, as in Stable-Baselines3.
        tensorboard_log: folder for Stable-Baselines3's own logger.

    Raises:
        ValueError: an objective that is not known, an observation space that is not a one-dimensional Box, or
            a buffer smaller than a rollout.
    """

    policy: MlpPolicy
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "mlp": MlpPolicy,
        "layernorm": LayerNormPolicy,
        "MlpPolicy": MlpPolicy,
    }

    def __init__(
        self,
        policy: PolicyConfig | str | type[MlpPolicy] | None = None,
        env: GymEnv | str | None = None,
        *,
        objective: ObjectiveParams | str = "gipo",
        buffer_size: int | None = None,
        agent: AgentConfig | None = None,
        reward_scale: float = 1.0,
        normalize_obs: bool = False,
        clip_obs: float = 10.0,
        window: int = 100,
        seed: int | None = None,
        device: torch.device | str = "auto",
        verbose: int = 0,
        tensorboard_log: str | None = None,
        _init_setup_model: bool = True,
    ) -> None:
        agent = AgentConfig() if agent is None else agent
        policy = agent.policy if policy is None else policy
        if isinstance(policy, str) and policy in NAMED:
            policy = NAMED[policy]
        kwargs: dict[str, Any] = {}
        if isinstance(policy, PolicyConfig):
            agent = agent.model_copy(update={"policy": policy})
            kwargs = policy_kwargs(policy, normalize_obs, clip_obs)
            policy = policy_class(policy)
        elif normalize_obs:
            raise ValueError("normalize_obs goes with a named policy or a PolicyConfig, not with a class")
        self.agent = agent.model_copy(update={"precision": resolve(agent, get_device(device))})
        if isinstance(objective, str):
            if objective not in OBJECTIVES:
                raise ValueError(f"there is no objective {objective!r}; choose from {', '.join(OBJECTIVES)}")
            objective = OBJECTIVES[objective]()  # type: ignore[call-arg]
        self.objective = objective
        self.buffer_size = buffer_size
        self.reward_scale = reward_scale
        self.version = 0
        self.episodes = EpisodeWindow(window)
        self._running: list[list[NDArray[Any]]] = []
        self._unseen: list[NDArray[np.float32]] = []
        super().__init__(
            policy,
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
            policy_kwargs=kwargs,
            verbose=verbose,
            stats_window_size=window,
            tensorboard_log=tensorboard_log,
            seed=seed,
            device=device,
            supported_action_spaces=(spaces.Box, spaces.MultiDiscrete),
            _init_setup_model=_init_setup_model,
        )

    @classmethod
    def from_config(cls, config: RunConfig, env: VecEnv, device: str) -> GIPO:
        """The agent that a run's configuration describes."""
        return cls(env=env, device=device, **_arguments(config))

    @classmethod
    def without_env(
        cls,
        config: RunConfig,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: str,
    ) -> GIPO:
        """The same for acting only: no environment, and a buffer of one rollout."""
        agent = cls(device=device, **{**_arguments(config), "buffer_size": None}, _init_setup_model=False)
        agent.observation_space, agent.action_space = observation_space, action_space
        agent.n_envs = config.env.n_envs
        agent._setup_model()
        return agent

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        space = self.observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise ValueError(
                f"the observation space must be a one-dimensional Box, got {space}; flatten it first"
            )
        policy = self.policy_class(space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        self.policy = policy.to(self.device)  # type: ignore[assignment]
        actor = FlatParameters(self.policy.actor_parameters())
        critic = FlatParameters(self.policy.critic_parameters())
        self.policy.optimizer = self._optimizer(actor.flat, critic.flat)
        # Legacy stream: Stable-Baselines3 shuffles with it, and equality with its PPO is a promise.
        self._shuffle = np.random.RandomState(self.seed)
        self._draw = np.random.default_rng(self.seed)
        self.updater = Updater(
            self.policy,
            self.policy.optimizer,
            actor,
            critic,
            self.agent,
            self.objective,
            self._shuffle,
            self._draw,
        )
        self.buffer = self._empty_buffer(space)
        self.rollout_buffer = self.buffer  # type: ignore[assignment] # the name that learn() passes on

    def _optimizer(self, actor: nn.Parameter, critic: nn.Parameter) -> torch.optim.Optimizer:
        update = self.agent.update
        kind = torch.optim.AdamW if update.optimizer == "adamw" else torch.optim.Adam
        groups = [
            {"params": [actor], "lr": update.actor_lr},
            {"params": [critic], "lr": update.critic_lr},
        ]
        return kind(
            groups,
            eps=update.adam_eps,
            weight_decay=update.weight_decay,
            fused=update.fused,
            foreach=not update.fused,
        )

    def _empty_buffer(self, space: spaces.Box) -> ReplayBuffer:
        rollout = self.n_steps * self.n_envs
        size = rollout if self.buffer_size is None else self.buffer_size
        if size < rollout:
            raise ValueError(f"buffer_size={size} is smaller than one rollout of {rollout} transitions")
        head = self.policy.head
        if isinstance(self.action_space, spaces.MultiDiscrete):
            action_dtype: type = np.uint8 if self.action_space.nvec.max() <= 256 else np.uint16
        else:
            action_dtype = np.float32
        keeps_distribution = self.updater.kl_coef > 0
        return ReplayBuffer(
            size,
            space.shape[0],
            head.action_dim,
            action_dtype,
            head.distribution_dim if keeps_distribution else 0,
            self.reward_scale,
        )

    def begin(self, total_steps: int) -> None:
        """Prepare to call :meth:`collect` and :meth:`update` in turn, up to ``total_steps`` in all."""
        self._total_timesteps = total_steps
        self.ep_info_buffer = self.ep_info_buffer or deque(maxlen=self._stats_window_size)
        self.ep_success_buffer = self.ep_success_buffer or deque(maxlen=self._stats_window_size)
        if self._last_obs is None:
            self.restart_episodes()

    def restart_episodes(self) -> None:
        """End the running episodes here and begin new ones."""
        self._last_obs = self._env().reset()  # type: ignore[assignment]
        self._forget_running()

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        before = self._last_obs
        self._env()
        result = super()._setup_learn(*args, **kwargs)
        if self._last_obs is not before:
            self._forget_running()
        return result

    def _forget_running(self) -> None:
        nothing = np.zeros((0, *self.action_space.shape), self.action_space.dtype)  # type: ignore[misc]
        self._running = [[nothing] for _ in range(self._env().num_envs)]

    def collect(self, callback: BaseCallback | None = None) -> Rollout | None:
        """Step the environments for one rollout and add it to the buffer.

        Returns: the rollout, or None if ``callback`` asked to stop.
        """
        env, head = self._env(), self.policy.head
        # In float32 always: reading the weights is what one row costs, and bfloat16 gains nothing there.
        shared_pass, actor_pass, critic_pass = self.policy.acting()
        steps, envs = self.n_steps, env.num_envs
        obs = np.empty((steps, envs, *self.observation_space.shape), np.float32)  # type: ignore[misc]
        reward = np.empty((steps, envs), np.float32)
        terminated = np.zeros((steps, envs), np.bool_)
        truncated = np.zeros((steps, envs), np.bool_)
        outputs, actions, sent = [], [], []
        tails = _Tails(envs)
        last_obs: Any = self._last_obs
        with torch.inference_mode():
            for t in range(steps):
                obs[t] = last_obs
                output = actor_pass(shared_pass(self._tensor(obs[t])))
                action = head.sample(output)
                outputs.append(output)
                actions.append(action)
                sent.append(self._to_env(action))
                stepped, reward[t], done, infos = env.step(sent[-1])
                last_obs = np.asarray(stepped, np.float32)
                self.num_timesteps += envs
                if done.any():
                    for e in np.flatnonzero(done):
                        truncated[t, e] = infos[e].get("TimeLimit.truncated", False)
                        terminated[t, e] = not truncated[t, e]
                        final = infos[e]["terminal_observation"].astype(np.float32, copy=False)
                        tails.add(t, int(e), final, critic_pass(shared_pass(self._tensor(final[None]))))
                    self._update_info_buffer(infos, done)
                    self.episodes.add([infos[e] for e in np.flatnonzero(done)])
                if callback is not None:
                    # By the names under which Stable-Baselines3's own callbacks look for them.
                    seen = {"new_obs": last_obs, "rewards": reward[t], "dones": done, "infos": infos}
                    taken = {"actions": action.cpu().numpy(), "clipped_actions": sent[-1]}
                    callback.update_locals({**seen, **taken})
                    # What a callback does is its own: it may train something.
                    with torch.inference_mode(False):
                        go_on = callback.on_step()
                    if not go_on:
                        self._last_obs = last_obs
                        self._remember(np.stack(sent), (terminated | truncated)[: t + 1])
                        return None
            self._last_obs = last_obs
            self._remember(np.stack(sent), terminated | truncated)
            ended = (terminated | truncated)[-1]
            following = critic_pass(shared_pass(self._tensor(last_obs)))
            for e in np.flatnonzero(~ended):
                tails.add(steps - 1, int(e), last_obs[e], following[e : e + 1])
            output, action = torch.stack(outputs), torch.stack(actions)
            rollout = Rollout(
                obs,
                action.cpu().numpy(),
                reward,
                terminated,
                truncated,
                head.log_prob(output, action).cpu().numpy(),
                self.policy.rollout_values(self._tensor(obs)).cpu().numpy(),
                *tails.sorted(),
                self.version,
                head.distribution(output).cpu().numpy() if self.updater.kl_coef else None,
            )
        self.buffer.add(rollout, self.agent.advantage)
        self._unseen.append(obs)
        return rollout

    def _remember(self, sent: NDArray[Any], ended: NDArray[np.bool_]) -> None:
        """Keep what was done in each episode that is still running."""
        for e in range(ended.shape[1]):
            ends = np.flatnonzero(ended[:, e])
            if len(ends):
                self._running[e] = [sent[ends[-1] + 1 :, e]]
            else:
                self._running[e].append(sent[:, e])

    def running_episodes(self) -> tuple[list[int], list[NDArray[Any]], NDArray[np.float32]]:
        """What :meth:`replay_episodes` needs.

        Returns: per environment the running episode's number and what was done in it so far
        (``[steps, ...]``, as sent to the environment), and the newest observations ``[E, d]``.
        """
        numbers = [int(following) - 1 for following in self._env().get_attr("episode_index")]
        actions = [np.concatenate(parts) for parts in self._running]
        return numbers, actions, np.asarray(self._last_obs)

    def replay_episodes(
        self, numbers: list[int], actions: list[NDArray[Any]], last_obs: NDArray[np.float32]
    ) -> bool:
        """Bring fresh environments to where those of :meth:`running_episodes` were, by doing the same again.

        Returns: whether every episode still runs and every observation came out equal to the bit. If not, the
        environment does not repeat itself or has other settings, and new episodes were begun instead.
        Raises: ValueError if they were of another number of environments.
        """
        env = self._env()
        if len(numbers) != env.num_envs:
            raise ValueError(f"it is of {len(numbers)} environments and this agent has {env.num_envs}")
        env.reset()
        replayed = [
            env.env_method("replay", number, list(done), indices=[e])[0]
            for e, (number, done) in enumerate(zip(numbers, actions, strict=True))
        ]
        obs = np.stack([newest for newest, _ in replayed])
        if any(ended for _, ended in replayed) or not np.array_equal(obs, last_obs):
            self.restart_episodes()
            return False
        self._last_obs = obs
        self._running = [[done] for done in actions]
        return True

    @torch.no_grad()
    def act(self, obs: NDArray[np.float32], deterministic: bool = True) -> NDArray[Any]:
        """Actions ``[n, D]`` for raw observations ``[n, d]``: the cheapest path, nothing clipped."""
        output = self.policy.actor(self.policy.shared(self._tensor(obs))).float()
        head = self.policy.head
        actions: NDArray[Any] = (head.mode(output) if deterministic else head.sample(output)).cpu().numpy()
        return actions

    def _tensor(self, array: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def _to_env(self, action: torch.Tensor) -> NDArray[Any]:
        return clipped(action.cpu().numpy(), self.action_space)

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

    def update(self) -> UpdateStats:
        """Learn from the buffer; one more version of the policy.

        Raises: NonFinite before a NaN or infinite step would be applied.
        """
        rollout = self.n_steps * self.n_envs
        iteration = max(math.ceil(self.num_timesteps / rollout) - 1, 0)
        iterations = math.ceil(self._total_timesteps / rollout)
        self.updater.set_lr(lr_factor(self.agent.update, iteration, iterations))
        stats = self.updater.update(self.buffer, self.version)
        # Only now, so that the policy that learns from its newest rollout is the one that made it.
        if isinstance(self.policy.features_extractor, ObsNormalizer):
            for obs in self._unseen:
                self.policy.features_extractor.update(self._tensor(obs).flatten(0, 1))
        self._unseen.clear()
        self.version += 1
        self._n_updates += int(stats.numbers["update/critic_steps"])
        return stats

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: Any, n_rollout_steps: int
    ) -> bool:
        """What Stable-Baselines3's ``learn`` calls; see :meth:`collect`."""
        callback.on_rollout_start()
        if self.collect(callback) is None:
            return False
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """What Stable-Baselines3's ``learn`` calls; see :meth:`update`."""
        for name, value in self.update().numbers.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _env(self) -> VecEnv:
        if self.env is None:
            raise ValueError(
                "this agent has no environment; give it one like that of its training with set_env()"
            )
        return self.env

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "updater", "buffer", "_shuffle", "_draw"]

    def state(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, NDArray[Any]]]:
        """All that exact resuming needs but the environments: JSON-able numbers, tensors, buffer arrays."""
        key = self._shuffle.get_state(legacy=False)
        legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - third-party environments may draw from it
        version, internal, gauss = random.getstate()
        numbers, arrays = self.buffer.state()
        tensors = {
            "policy": self.policy.state_dict(),
            "optimizer": self.policy.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else [],
        }
        state = {
            "num_timesteps": self.num_timesteps,
            "version": self.version,
            "n_updates": self._n_updates,
            "episodes": self.episodes.state(),
            "buffer": numbers,
            "shuffle": _json_state(key),
            "draw": self._draw.bit_generator.state,
            "numpy_global": _json_state(legacy),
            "python_global": [version, list(internal), gauss],
        }
        return state, tensors, arrays

    def load_state(
        self, state: dict[str, Any], tensors: dict[str, Any], arrays: dict[str, NDArray[Any]] | None
    ) -> None:
        """Put back what :meth:`state` gave; ``arrays`` None leaves the buffer empty (inexact).

        Raises: ValueError, KeyError or RuntimeError if the state is of another network, optimizer or buffer.
        """
        self.policy.load_state_dict(tensors["policy"])
        # Moments are the checkpoint's; options, which torch would take from there too, this configuration's.
        saved, now = tensors["optimizer"], self.policy.optimizer.state_dict()["param_groups"]
        pairs = zip(now, saved["param_groups"], strict=True)
        groups = [{**options, "params": group["params"]} for options, group in pairs]
        self.policy.optimizer.load_state_dict({**saved, "param_groups": groups})
        torch.set_rng_state(tensors["torch_rng"])
        if self.device.type == "cuda" and tensors["cuda_rng"]:
            torch.cuda.set_rng_state(tensors["cuda_rng"][0], self.device)
        self.num_timesteps = int(state["num_timesteps"])
        self.version = int(state["version"])
        self._n_updates = int(state["n_updates"])
        self.episodes.load(state["episodes"])
        self._shuffle.set_state(_numpy_state(state["shuffle"]))
        self._draw.bit_generator.state = state["draw"]
        np.random.set_state(_numpy_state(state["numpy_global"]))  # noqa: NPY002
        version, internal, gauss = state["python_global"]
        random.setstate((version, tuple(internal), gauss))
        if arrays is not None:
            self.buffer.load(state["buffer"], arrays)


def _arguments(config: RunConfig) -> dict[str, Any]:
    return {
        "policy": config.agent.policy,
        "objective": config.objective,
        "buffer_size": config.buffer_size,
        "agent": config.agent,
        "reward_scale": config.env.reward_scale,
        "normalize_obs": config.env.normalize_obs,
        "clip_obs": config.env.clip_obs,
        "window": config.logging.window,
        "seed": config.seed,
    }


class _Tails:
    """Observations of a rollout that start no row, with their values, gathered while it runs."""

    def __init__(self, envs: int) -> None:
        self.envs = envs
        self.rows: list[int] = []
        self.obs: list[NDArray[np.float32]] = []
        self.values: list[torch.Tensor] = []

    def add(self, t: int, e: int, obs: NDArray[np.float32], value: torch.Tensor) -> None:
        self.rows.append(t * self.envs + e)
        self.obs.append(obs)
        self.values.append(value)

    def sorted(self) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Rows (ascending), observations and values."""
        order = np.argsort(self.rows)
        rows, obs = np.array(self.rows, np.int64), np.stack(self.obs)
        values: NDArray[np.float32] = torch.cat(self.values).cpu().numpy()
        return rows[order], obs[order], values[order]


def _json_state(state: Any) -> dict[str, Any]:
    inner = {"key": state["state"]["key"].tolist(), "pos": int(state["state"]["pos"])}
    return {**state, "state": inner, "has_gauss": int(state["has_gauss"]), "gauss": float(state["gauss"])}


def _numpy_state(state: dict[str, Any]) -> dict[str, Any]:
    key = np.asarray(state["state"]["key"], np.uint32)
    return {**state, "state": {"key": key, "pos": state["state"]["pos"]}}
