"""Policies: Stable-Baselines3's own network, and the authors' LayerNorm network, behind one interface.

Both are ``ActorCriticPolicy`` subclasses, so ``predict``, ``save`` and everything else of Stable-Baselines3
work. What training uses beside that is three passes, kept apart so that a critic step never runs the actor:
``shared`` (observation to features), ``actor`` (features to output) and ``critic`` (features to values).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor, nn

from gipo_cli.data.rollout import Observation, each
from gipo_cli.learning.heads import BinnedHead, GaussianHead, Head
from gipo_cli.learning.normalizer import ObsNormalizer, ValueHead, normalised
from gipo_cli.learning.optimizers import leave_out_compiler
from gipo_cli.settings.schema import PolicyConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
}
NAMED = {
    "mlp": PolicyConfig(),
    "MlpPolicy": PolicyConfig(),
    "layernorm": PolicyConfig(kind="layernorm", hidden=[512, 512, 256]),
}
"""What the façade's names of policies mean."""

Pass = Callable[[Tensor], Tensor]
ROWS_A_PASS = 16_384
"""Bounds the memory of a forward pass over a whole rollout."""


class ActingPasses(NamedTuple):
    """A policy's three passes for acting: the same numbers as its methods, to the bit, in half the time."""

    shared: Pass
    actor: Pass
    critic: Pass


def _plain(*modules: nn.Module) -> Pass:
    """Modules one after another, as the functions they call: a small layer costs less than calling it."""
    layers: list[tuple[Callable[..., Tensor], tuple[Any, ...]]] = []
    for module in modules:
        for layer in module if isinstance(module, nn.Sequential) else [module]:
            if type(layer) is nn.Linear:
                layers.append((F.linear, (layer.weight, layer.bias)))
            elif isinstance(layer, nn.LayerNorm):
                shape = list(layer.normalized_shape)
                layers.append((torch.layer_norm, (shape, layer.weight, layer.bias, layer.eps)))
            elif isinstance(layer, nn.ReLU):
                layers.append((torch.relu, ()))
            elif isinstance(layer, nn.Tanh):
                layers.append((torch.tanh, ()))
            elif isinstance(layer, ObsNormalizer):
                layers.append((normalised, layer.scaling()))
            elif not isinstance(layer, FlattenExtractor):  # observations are flat already
                layers.append((layer, ()))

    def run(x: Tensor) -> Tensor:
        for function, arguments in layers:
            x = function(x, *arguments)
        return x

    return run


class LayerNormTorso(nn.Module):
    """The authors' torso: a shared encoder, an actor on it, a critic on its *detached* features.

    Shapes: ``[B, d]`` to actor features ``[B, actor]`` and critic features ``[B, critic]``.
    Gradient: the critic's stops at the encoder. Source: settings of the authors' Meta-World script.
    """

    def __init__(self, features: int, encoder: int, actor: int, critic: int) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = actor, critic
        self.encoder = _block(features, encoder)
        self.policy_net = _block(encoder, actor)
        self.value_net = _block(encoder, critic)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Actor and critic features."""
        shared = self.encoder(features)
        return self.policy_net(shared), self.value_net(shared.detach())

    def forward_actor(self, features: Tensor) -> Tensor:
        """Actor features."""
        out: Tensor = self.policy_net(self.encoder(features))
        return out

    def forward_critic(self, features: Tensor) -> Tensor:
        """Critic features."""
        out: Tensor = self.value_net(self.encoder(features).detach())
        return out


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.LayerNorm(outputs))


class MlpPolicy(ActorCriticPolicy):
    """Stable-Baselines3's ``MlpPolicy`` (separate actor and critic), plus the passes training uses."""

    head: Head

    def __init__(
        self, observation_space: spaces.Space[Any], *args: Any, value_norm: bool = False, **kwargs: Any
    ) -> None:
        if not isinstance(observation_space, spaces.Box) or len(observation_space.shape) != 1:
            raise ValueError(
                f"the observation space must be a one-dimensional Box, got {observation_space}; "
                "flatten it first"
            )
        self.value_norm = value_norm
        super().__init__(observation_space, *args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "value_norm": self.value_norm}

    def _build(self, lr_schedule: Any) -> None:
        leave_out_compiler()
        super()._build(lr_schedule)
        if self.value_norm:
            self.value_net = ValueHead(self.value_net)
        if isinstance(self.action_space, spaces.MultiDiscrete):
            bins = self.action_space.nvec
            if len(set(bins.tolist())) != 1:
                raise ValueError(f"every action dimension needs the same number of bins, got {bins.tolist()}")
            self.head = BinnedHead(len(bins), int(bins[0]))
        else:
            self.head = GaussianHead(self.log_std)

    def tensors(self, obs: Observation) -> Any:
        """Observations of NumPy as those that this policy takes, on its device."""
        return each(lambda part: torch.from_numpy(part).to(self.device), obs)

    def shared(self, obs: Tensor) -> Tensor:
        """Features that actor and critic both start from, ``[B, f]``."""
        features: Tensor = self.extract_features(obs)  # type: ignore[assignment]
        return features

    def actor(self, shared: Tensor) -> Tensor:
        """Output of the actor, ``[B, P]``; see :mod:`gipo_cli.learning.heads`."""
        out: Tensor = self.action_net(self.mlp_extractor.policy_net(shared))
        return out

    def critic(self, shared: Tensor) -> Tensor:
        """Values ``[B]``, in units of scaled reward."""
        out: Tensor = self.value_net(self.mlp_extractor.value_net(shared)).squeeze(-1)
        return out.float()

    def acting(self) -> ActingPasses:
        """What a rollout runs: in float32 and without module calls.

        It follows the weights as they learn; statistics of observations are those of now.
        """
        critic = _plain(self.mlp_extractor.value_net, self.value_net)
        return ActingPasses(
            _plain(*self._shared_modules()),
            _plain(self.mlp_extractor.policy_net, self.action_net),
            lambda shared: critic(shared).squeeze(-1),
        )

    def actor_modules(self) -> nn.Sequential:
        """From observations ``[B, d]`` to the actor's output ``[B, P]``, as one module."""
        return nn.Sequential(*self._shared_modules(), self.mlp_extractor.policy_net, self.action_net)

    def rollout_values(self, obs: Tensor) -> Tensor:
        """Values ``[T, E]`` of a rollout's observations ``[T, E, d]``, in float32.

        Step by step, as Stable-Baselines3 forms them while acting: one pass over all rows rounds differently.
        """
        passes = self.acting()
        return torch.stack([passes.critic(rows) for rows in passes.shared(obs)])

    def _shared_modules(self) -> list[nn.Module]:
        return [self.features_extractor]

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """Log-probabilities per action dimension, ``[B, D]``. Gradient: through the actor."""
        return self.head.log_prob(self.actor(self.shared(obs)), action)

    def critic_parameters(self) -> list[nn.Parameter]:
        """Parameters that only the value loss moves."""
        return [*self.mlp_extractor.value_net.parameters(), *self.value_net.parameters()]

    def actor_parameters(self) -> list[nn.Parameter]:
        """All other parameters."""
        critic = {id(p) for p in self.critic_parameters()}
        return [p for p in self.parameters() if id(p) not in critic]


class LayerNormPolicy(MlpPolicy):
    """The authors' network (see :class:`LayerNormTorso`), initialised as PyTorch does by default."""

    def __init__(self, *args: Any, hidden: list[int], **kwargs: Any) -> None:
        self.hidden = hidden
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = LayerNormTorso(self.features_dim, *self.hidden)  # type: ignore[assignment]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "hidden": self.hidden}

    def shared(self, obs: Tensor) -> Tensor:
        """Encoder features, ``[B, encoder]``."""
        torso: Any = self.mlp_extractor
        out: Tensor = torso.encoder(self.extract_features(obs))
        return out

    def _shared_modules(self) -> list[nn.Module]:
        torso: Any = self.mlp_extractor
        return [*super()._shared_modules(), torso.encoder]

    def rollout_values(self, obs: Tensor) -> Tensor:
        """Values ``[T, E]`` of a rollout's observations ``[T, E, d]``, in float32, many rows a pass."""
        passes = self.acting()
        steps = max(1, ROWS_A_PASS // obs.shape[1])
        return torch.cat([passes.critic(passes.shared(rows)) for rows in torch.split(obs, steps)])

    def critic(self, shared: Tensor) -> Tensor:
        """Values ``[B]``. Gradient: stops at ``shared``."""
        return super().critic(shared.detach())


def networks(
    chosen: PolicyConfig | str | type[MlpPolicy], normalize_obs: bool, clip_obs: float
) -> tuple[type[MlpPolicy] | str, dict[str, Any]]:
    """A policy's class and its keyword arguments; a class of the user's own has none.

    Raises: ValueError if a class is to normalise observations.
    """
    if isinstance(chosen, PolicyConfig):
        return policy_class(chosen), policy_kwargs(chosen, normalize_obs, clip_obs)
    if normalize_obs:
        raise ValueError("normalize_obs goes with a named policy or a PolicyConfig, not with a class")
    return chosen, {}


def policy_class(config: PolicyConfig) -> type[MlpPolicy]:
    """The class for ``config.kind``."""
    return LayerNormPolicy if config.kind == "layernorm" else MlpPolicy


def policy_kwargs(config: PolicyConfig, normalize_obs: bool, clip_obs: float) -> dict[str, Any]:
    """Keyword arguments for :func:`policy_class`'s class."""
    kwargs: dict[str, Any] = {
        "features_extractor_class": ObsNormalizer if normalize_obs else FlattenExtractor,
        "features_extractor_kwargs": {"clip": clip_obs} if normalize_obs else {},
        "log_std_init": config.log_std_init,
        "value_norm": config.value_norm,
    }
    if config.kind == "layernorm":
        return {**kwargs, "hidden": list(config.hidden), "ortho_init": False}
    return {
        **kwargs,
        "net_arch": {"pi": list(config.hidden), "vf": list(config.hidden)},
        "activation_fn": ACTIVATIONS[config.activation],
        "ortho_init": config.ortho_init,
    }
