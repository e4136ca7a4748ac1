"""What to write in place of an argument that the agent does not take."""

from __future__ import annotations

from gipo_cli.errors import nearest
from gipo_cli.settings.explain import known_keys


def unknown_argument(argument: str) -> str:
    """The sentence for an argument of Stable-Baselines3's PPO, or any other."""
    said = f"GIPO takes no argument {argument!r}"
    (key, *_) = nearest(argument, known_keys()) or [""]
    section, *path = key.split(".")
    if section == "agent":
        value = "..."
        for name in reversed(path):
            value = f"{{{name!r}: {value}}}"
        return f"{said}; write agent=AgentConfig.model_validate({value})"
    if section == "objective":
        return f"{said}; write the objective with it, such as objective=PpoClip({path[-1]}=...)"
    if section:
        return f"{said}; it is {key} on the command line"
    return f"{said}; see the parameters of AgentConfig in gipo_cli.settings.schema"
