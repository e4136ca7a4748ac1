"""What a step pays: the task's own reward, or one made of it."""

from __future__ import annotations

from typing import Any

from gipo_cli.envs.registry import ENVIRONMENTS
from gipo_cli.settings.schema import EnvConfig


def paid(cfg: EnvConfig, reward: Any, success: Any) -> Any:
    """What ``env.reward`` pays for steps, before ``env.reward_scale``.

    Args:
        cfg: Which environment and reward.
        reward: What the simulator paid, a number or an array.
        success: Whether the steps were successful, of the same shape.
    """
    if cfg.reward == "success":
        return 1.0 * success
    if cfg.reward == "shifted":
        return reward - ENVIRONMENTS[cfg.name].highest
    return reward
