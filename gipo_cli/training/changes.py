"""What resuming with other values means: an extended budget is free unless a schedule runs over it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from gipo_cli.errors import UserError, suggest
from gipo_cli.settings.compose import validate
from gipo_cli.settings.overrides import parse_overrides
from gipo_cli.settings.schema import RunConfig
from gipo_cli.text import flatten


def changed(before: RunConfig, overrides: Sequence[str], *, allow: bool) -> tuple[RunConfig, list[str]]:
    """Apply overrides to a run's configuration.

    Args:
        before: As the run has it.
        overrides: ``key=value`` with dotted keys that the configuration has.
        allow: Accept changes that make this another run from here on.

    Returns:
        The new configuration, and what differs, one ``key: old -> new`` each.

    Raises:
        UserError: A key is unknown, a value is not allowed, or a change is not.
    """
    data = before.model_dump(mode="json")
    _set(data, overrides)
    after = validate(data)
    old, new = flatten(before.model_dump(mode="json")), flatten(after.model_dump(mode="json"))
    changes = [f"{key}: {old.get(key)} -> {now}" for key, now in new.items() if old.get(key) != now]
    if after.total_steps < before.total_steps:
        raise UserError(
            f"total_steps={after.total_steps} is less than the run's {before.total_steps}; it can only grow"
        )
    refused = [change for change in changes if not change.startswith("total_steps:")]
    refused += _schedules(before, after)
    if refused and not allow:
        raise UserError(
            f"resuming with other values would make it another run ({'; '.join(refused)}); leave them out, "
            "or add --allow-changes"
        )
    return after, changes


def _set(data: dict[str, Any], overrides: Sequence[str]) -> None:
    """Put values in their places."""
    for override in parse_overrides(overrides):
        key = str(override.key_or_group)
        if override.is_sweep_override() or override.is_delete():
            raise UserError(
                f"{override.input_line!r} does not set one value, and a run goes on with one of each key; "
                "write key=value"
            )
        *parents, leaf = key.split(".")
        section: Any = data
        for name in parents:
            section = section.get(name) if isinstance(section, dict) else None
        known = isinstance(section, dict) and leaf in section
        if known and not parents and isinstance(section[leaf], dict):
            line = shlex.quote(str(override.input_line))
            raise UserError(f"the {key} of a run cannot be changed; start a new run: gipo train {line}")
        if not known or isinstance(section[leaf], dict):
            near = suggest(key, flatten(data))
            raise UserError(f"{key!r} is not a value of this run{near}; its config.yaml holds them all")
        section[leaf] = override.value()


def _schedules(before: RunConfig, after: RunConfig) -> list[str]:
    """What a longer budget changes before its own end: schedules that run over it."""
    if after.total_steps == before.total_steps:
        return []
    longer = f"total_steps: {before.total_steps} -> {after.total_steps}, and"
    update, anchor, found = before.agent.update, before.agent.anchor, []
    if update.decays:
        found.append(
            f"{longer} the learning rate of agent.update.lr_schedule={update.lr_schedule} ends there"
        )
    if anchor.active and anchor.decay == "linear":
        found.append(f"{longer} agent.anchor's weights end there")
    return found
