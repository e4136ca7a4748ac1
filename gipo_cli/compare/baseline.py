"""Which arm every arm is compared with."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from gipo_cli.compare.grouping import Arm
from gipo_cli.errors import UserError

DEFAULT_BASELINE = "ppo_clip"


def match_baseline(arms: Sequence[Arm], name: str | None) -> dict[Arm, Arm]:
    """The baseline arm of each arm.

    Named by a whole label, one arm is everyone's baseline. Named by an objective or a series, an arm's
    baseline is the one that shares all its settings outside the objective, above all its buffer size;
    an arm without such a counterpart has no baseline.

    Args:
        arms: all arms.
        name: label, series or objective; None takes ``ppo_clip`` where it is among the arms and unambiguous.

    Raises:
        UserError: no arm is called so, or several could be meant; the message lists the names.
    """
    wanted = DEFAULT_BASELINE if name is None else name
    candidates = [arm for arm in arms if wanted == arm.label]
    if len(candidates) == 1:
        return dict.fromkeys(arms, candidates[0])
    candidates = [arm for arm in arms if wanted in (arm.series, arm.objective)]
    chosen: dict[tuple[object, ...], Arm] = {}
    for arm in candidates:
        if (rival := chosen.setdefault(_surroundings(arm), arm)) is not arm:
            if name is None:
                return {}
            raise UserError(
                f"The baseline {name!r} could be {rival.series!r} or {arm.series!r}; write one of them in "
                "full."
            )
    if not candidates and name is not None:
        names = list(
            dict.fromkeys(text for arm in arms for text in (arm.objective, arm.series, arm.label) if text)
        )
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UserError(
            f"No group is called {name!r}.{hint} A baseline is one of: {', '.join(map(repr, names))}."
        )
    return {arm: chosen[_surroundings(arm)] for arm in arms if _surroundings(arm) in chosen}


def _surroundings(arm: Arm) -> tuple[object, ...]:
    return tuple(item for item in arm.settings if not item[0].startswith("objective."))
