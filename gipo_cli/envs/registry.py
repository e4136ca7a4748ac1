"""Facts about every named environment: what it is, what it pays, what success means. No gymnasium, no torch.

Ids are those of gymnasium-robotics 1.4.2, task names those of Meta-World 3.1.1.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Family = Literal["fetch", "hand", "adroit", "kitchen", "metaworld", "gymnasium"]

_TASKS = """
assembly basketball bin-picking box-close button-press-topdown button-press-topdown-wall button-press
button-press-wall coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock
door-open door-unlock drawer-close drawer-open faucet-close faucet-open hammer hand-insert
handle-press-side handle-press handle-pull-side handle-pull lever-pull peg-insert-side peg-unplug-side
pick-out-of-hole pick-place pick-place-wall plate-slide-back-side plate-slide-back plate-slide-side
plate-slide push-back push push-wall reach reach-wall shelf-place soccer stick-pull stick-push sweep-into
sweep window-close window-open
"""
METAWORLD_TASKS = tuple(f"{name}-v3" for name in _TASKS.split())
"""The 50 tasks of Meta-World, as data: the package itself takes half a second to import."""

_OTHER_PACKAGES = {"metaworld": "metaworld", "gymnasium": None}

_GOAL = "observation + desired_goal (achieved_goal is a function of the observation)"
_SEES = {"fetch": _GOAL, "hand": _GOAL, "kitchen": _GOAL, "gymnasium": "every part of the observation"}


@dataclass(frozen=True)
class EnvEntry:
    """One named environment.

    Attributes:
        name: What ``env=`` takes.
        family: Which adapter makes it.
        description: One line for listings.
        success: When a step counts as successful, in words.
        template: Gymnasium id with ``{task}`` and ``{reward}`` to fill in; empty if it has no id.
        rewards: Reward name -> part of the id. The first is the one taken when ``env.reward`` is null.
        tasks: Task name -> part of the id; empty where the environment is a single task.
        step_limit: Longest episode that the simulator itself supports, in steps.
        highest: Highest dense reward of a step; the shifted one is that much lower.
    """

    name: str
    family: Family
    description: str
    success: str
    template: str = ""
    rewards: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    step_limit: int | None = None
    highest: float = 0.0

    @property
    def sees(self) -> str:
        """What the agent sees of its observation, in words."""
        return _SEES.get(self.family, "the whole observation")

    @property
    def package(self) -> str | None:
        """Importable package that holds it; None for Gymnasium's own registry."""
        return _OTHER_PACKAGES.get(self.family, "gymnasium_robotics")

    @property
    def distribution(self) -> str | None:
        """Name of the package for pip."""
        return None if self.package is None else self.package.replace("_", "-")

    @property
    def installed(self) -> bool:
        """Whether the package can be found (it is not imported)."""
        return self.package is None or importlib.util.find_spec(self.package) is not None


_DENSE = {"dense": "Dense", "sparse": ""}
_ADROIT = {"dense": "", "sparse": "Sparse"}
# The released dense reward has a sign fault, which ours corrects; both have the same id.
_CORRECTED = {**_ADROIT, "released": ""}


def _fetch(name: str, camel: str, description: str) -> EnvEntry:
    template, success = f"Fetch{camel}{{reward}}-v4", "gripper or object within 5 cm of the goal"
    description = f"Fetch arm {description} (4-d action, 50 steps)"
    return EnvEntry(f"fetch_{name}", "fetch", description, success, template, _DENSE)


def _manipulate(name: str, variants: Mapping[str, str], success: str) -> EnvEntry:
    touch = {"": "", "_boolean_touch": "_BooleanTouchSensors", "_continuous_touch": "_ContinuousTouchSensors"}
    tasks = {short + key: part + suffix for short, part in variants.items() for key, suffix in touch.items()}
    description = f"Shadow hand turns and moves the {name} to a target pose (20-d action, 100 steps)"
    template = f"HandManipulate{name.capitalize()}{{task}}{{reward}}-v1"
    return EnvEntry(f"hand_manipulate_{name}", "hand", description, success, template, _DENSE, tasks)


def _adroit(name: str, description: str, success: str, rewards: Mapping[str, str] = _CORRECTED) -> EnvEntry:
    template = f"AdroitHand{name.capitalize()}{{reward}}-v1"
    return EnvEntry(f"adroit_{name}", "adroit", f"Adroit hand {description}", success, template, rewards)


_POSE = "object within 1 cm and 0.1 rad of the target (of what the task asks for)"
_BLOCK = {"full": "", "rotate_z": "RotateZ", "rotate_parallel": "RotateParallel", "rotate_xyz": "RotateXYZ"}
_ROTATE = {"full": "", "rotate": "Rotate"}
_ENTRIES = (
    _fetch("reach", "Reach", "moves its gripper to a goal"),
    _fetch("push", "Push", "pushes a block to a goal on the table"),
    _fetch("slide", "Slide", "hits a puck so that it slides to a goal"),
    _fetch("pick_and_place", "PickAndPlace", "lifts a block to a goal"),
    EnvEntry(
        "hand_reach",
        "hand",
        "Shadow hand brings its fingertips to goals (20-d action, 50 steps)",
        "norm of all fingertip errors below 1 cm",
        "HandReach{reward}-v3",
        _DENSE,
    ),
    _manipulate("block", _BLOCK, _POSE),
    _manipulate("egg", _ROTATE, _POSE),
    _manipulate("pen", _ROTATE, "object within 5 cm and 0.1 rad of the target, its own axis ignored"),
    _adroit("door", "unlatches and opens a door (28-d action, 200 steps)", "hinge at 1.35 rad or more"),
    _adroit(
        "hammer", "drives a nail with a hammer (26-d action, 200 steps)", "nail within 1 cm of the board"
    ),
    _adroit(
        "pen",
        "turns a pen to a target orientation (24-d action, 200 steps)",
        "pen within 7.5 cm of the place and cosine to the target above 0.95",
        _ADROIT,
    ),
    _adroit(
        "relocate", "carries a ball to a target (30-d action, 200 steps)", "ball within 10 cm of the target"
    ),
    EnvEntry(
        "franka_kitchen",
        "kitchen",
        "Franka arm does a set of kitchen chores (9-d action, 280 steps)",
        "every chore of env.kwargs.tasks_to_complete done in this episode",
        "FrankaKitchen-v1",
        {"sparse": ""},
    ),
    EnvEntry(
        "metaworld",
        "metaworld",
        "Sawyer arm, 50 manipulation tasks with 50 goals each (4-d action, 500 steps)",
        "the task's own criterion, as the benchmark reports it",
        rewards={"dense": "", "shifted": ""},
        tasks={task: task for task in METAWORLD_TASKS},
        step_limit=500,
        highest=10.0,
    ),
    EnvEntry(
        "gymnasium",
        "gymnasium",
        "any registered Gymnasium id with a Box action space (env.id, env.imports)",
        "info['is_success'] or info['success'], or env.success_key; never, where there is none",
    ),
)

ENVIRONMENTS: dict[str, EnvEntry] = {entry.name: entry for entry in _ENTRIES}
"""Every named environment, in the order of listings."""


def typed(env_id: str) -> str | None:
    """What to type for a Gymnasium id or Meta-World task, of any version, that has a name here.

    ``FetchReachDense-v4`` gives ``env=fetch_reach env.reward=dense``; an id without a name here gives None.
    """
    stem = env_id.rpartition("-v")[0].lower()
    if f"{stem}-v3" in METAWORLD_TASKS:
        return f"env=metaworld env.task={stem}-v3"
    for entry in ENVIRONMENTS.values():
        # Backwards: of two rewards with one id it is the released one that the id stands for.
        for reward, suffix in reversed(tuple(entry.rewards.items())):
            for task, part in (entry.tasks or {"": ""}).items():
                known = entry.template.format(task=part, reward=suffix).rpartition("-v")[0].lower()
                if known and known == stem:
                    settings = f"env={entry.name} env.task={task} env.reward={reward}"
                    return settings if task else settings.replace(" env.task=", "")
    return None
