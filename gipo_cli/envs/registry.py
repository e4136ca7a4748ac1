"""Every environment by name: what it is, what it pays, what success means. No gymnasium, no torch.

``resolve`` turns an ``EnvConfig`` into one checked choice before anything heavy is imported. Ids are those
of gymnasium-robotics 1.4.2, task names those of Meta-World 3.1.1.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gipo_cli.envs.metaworld_tasks import METAWORLD_TASKS
from gipo_cli.errors import UserError
from gipo_cli.settings.schema import EnvConfig

Family = Literal["fetch", "hand", "adroit", "kitchen", "metaworld", "gymnasium"]

_DENSE_FIRST = {"dense": "Dense", "sparse": ""}
_ADROIT = {"dense": "", "sparse": "Sparse"}
_RESERVED_KWARGS = {
    "render_mode": "the video command",
    "max_episode_steps": "env.max_episode_steps",
    "disable_env_checker": "nothing (the checker is always off)",
    "reward_type": "env.reward",
}


@dataclass(frozen=True)
class EnvEntry:
    """One named environment.

    Attributes:
        name: What ``env=`` takes.
        family: Which adapter wraps it.
        description: One line for listings.
        success: When a step counts as successful, in words.
        package: Importable package that holds it, or None for Gymnasium's own registry.
        template: Gymnasium id with ``{task}`` and ``{reward}`` to fill in; empty where there is none.
        rewards: Reward name -> part of the id. The first is the one taken when ``env.reward`` is null.
        tasks: Task name -> part of the id; empty where the environment is a single task.
        corrected: Whether ``reward=dense`` is the upstream reward with its sign fault put right.
        step_limit: Largest time limit the simulator itself supports, in steps.
    """

    name: str
    family: Family
    description: str
    success: str
    package: str | None = None
    template: str = ""
    rewards: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    corrected: bool = False
    step_limit: int | None = None

    @property
    def distribution(self) -> str | None:
        """Name to give to pip for the package."""
        return None if self.package is None else self.package.replace("_", "-")

    @property
    def installed(self) -> bool:
        """Whether the package can be found (it is not imported)."""
        return self.package is None or importlib.util.find_spec(self.package) is not None


@dataclass(frozen=True)
class ResolvedEnv:
    """A checked choice of environment: everything the factory needs to know from the registry."""

    entry: EnvEntry
    id: str | None
    task: str | None
    reward: str | None

    @property
    def label(self) -> str:
        """How messages name this environment."""
        detail = self.task or self.id
        return f"{self.entry.name} ({detail})" if detail else self.entry.name


def _fetch(name: str, camel: str, description: str) -> EnvEntry:
    return EnvEntry(
        name=f"fetch_{name}",
        family="fetch",
        description=description,
        success="gripper or object within 5 cm of the goal",
        package="gymnasium_robotics",
        template=f"Fetch{camel}{{reward}}-v4",
        rewards=_DENSE_FIRST,
    )


def _manipulate(name: str, variants: Mapping[str, str], success: str) -> EnvEntry:
    touch = {"": "", "_boolean_touch": "_BooleanTouchSensors", "_continuous_touch": "_ContinuousTouchSensors"}
    return EnvEntry(
        name=f"hand_manipulate_{name}",
        family="hand",
        description=f"Shadow hand turns and moves the {name} to a target pose (20-d action, 100 steps)",
        success=success,
        package="gymnasium_robotics",
        template=f"HandManipulate{name.capitalize()}{{task}}{{reward}}-v1",
        rewards=_DENSE_FIRST,
        tasks={
            short + key: part + suffix for short, part in variants.items() for key, suffix in touch.items()
        },
    )


def _adroit(name: str, description: str, success: str, *, corrected: bool = True) -> EnvEntry:
    return EnvEntry(
        name=f"adroit_{name}",
        family="adroit",
        description=description,
        success=success,
        package="gymnasium_robotics",
        template=f"AdroitHand{name.capitalize()}{{reward}}-v1",
        rewards={**_ADROIT, "released": ""} if corrected else _ADROIT,
        corrected=corrected,
    )


_POSE = "object within 1 cm and 0.1 rad of the target (of what the task asks for)"
_ROTATE = {"full": "", "rotate": "Rotate"}
_ENTRIES = (
    _fetch("reach", "Reach", "Fetch arm moves its gripper to a goal (4-d action, 50 steps)"),
    _fetch("push", "Push", "Fetch arm pushes a block to a goal on the table (4-d action, 50 steps)"),
    _fetch("slide", "Slide", "Fetch arm hits a puck so that it slides to a goal (4-d action, 50 steps)"),
    _fetch("pick_and_place", "PickAndPlace", "Fetch arm lifts a block to a goal (4-d action, 50 steps)"),
    EnvEntry(
        name="hand_reach",
        family="hand",
        description="Shadow hand brings its fingertips to goals (20-d action, 50 steps)",
        success="norm of all fingertip errors below 1 cm",
        package="gymnasium_robotics",
        template="HandReach{reward}-v3",
        rewards=_DENSE_FIRST,
    ),
    _manipulate(
        "block",
        {"full": "", "rotate_z": "RotateZ", "rotate_parallel": "RotateParallel", "rotate_xyz": "RotateXYZ"},
        _POSE,
    ),
    _manipulate("egg", _ROTATE, _POSE),
    _manipulate("pen", _ROTATE, "object within 5 cm and 0.1 rad of the target, its own axis ignored"),
    _adroit(
        "door", "Adroit hand unlatches and opens a door (28-d action, 200 steps)", "hinge at 1.35 rad or more"
    ),
    _adroit(
        "hammer",
        "Adroit hand drives a nail with a hammer (26-d action, 200 steps)",
        "nail within 1 cm of the board",
    ),
    _adroit(
        "pen",
        "Adroit hand turns a pen to a target orientation (24-d action, 200 steps)",
        "pen within 7.5 cm of the place and cosine to the target above 0.95",
        corrected=False,
    ),
    _adroit(
        "relocate",
        "Adroit hand carries a ball to a target (30-d action, 200 steps)",
        "ball within 10 cm of the target",
    ),
    EnvEntry(
        name="franka_kitchen",
        family="kitchen",
        description="Franka arm does a set of kitchen chores (9-d action, 280 steps)",
        success="every chore of env.kwargs.tasks_to_complete done in this episode",
        package="gymnasium_robotics",
        template="FrankaKitchen-v1",
        rewards={"sparse": ""},
    ),
    EnvEntry(
        name="metaworld",
        family="metaworld",
        description="Sawyer arm, 50 manipulation tasks with 50 goals each (4-d action, 500 steps)",
        success="the task's own criterion, as the benchmark reports it",
        package="metaworld",
        rewards={"dense": ""},
        tasks={task: task for task in METAWORLD_TASKS},
        step_limit=500,
    ),
    EnvEntry(
        name="gymnasium",
        family="gymnasium",
        description="any registered Gymnasium id with a Box action space (env.id, env.imports)",
        success="info['is_success'] or info['success'], or env.success_key; never, where there is none",
    ),
)

ENVIRONMENTS: dict[str, EnvEntry] = {entry.name: entry for entry in _ENTRIES}
"""Every named environment, in the order in which listings show them."""


def suggest(name: str, options: Iterable[str]) -> str:
    """What to type instead of ``name``: the nearest option, or all of them where none is near."""
    known = list(options)
    near = difflib.get_close_matches(name, known, n=1)
    return (
        f"did you mean {near[0]!r}? (`gipo list envs` prints all)" if near else f"known: {', '.join(known)}"
    )


def typed(env_id: str) -> str | None:
    """What to type for a Gymnasium id, of any version, that is an environment with a name here.

    Args:
        env_id: Such as ``FetchReachDense-v4``.

    Returns:
        The settings, such as ``env=fetch_reach env.reward=dense``; None for any other id.
    """
    stem = env_id.rpartition("-v")[0].lower()
    for entry in ENVIRONMENTS.values():
        # Backwards: of two rewards with one id it is the released one that the id stands for.
        for reward, suffix in reversed(tuple(entry.rewards.items())):
            for task, part in (entry.tasks or {"": ""}).items():
                known = entry.template.format(task=part, reward=suffix).rpartition("-v")[0].lower()
                if known and known == stem:
                    settings = [
                        f"env={entry.name}",
                        f"env.task={task}" if task else "",
                        f"env.reward={reward}",
                    ]
                    return " ".join(filter(None, settings))
    return None


def resolve(cfg: EnvConfig) -> ResolvedEnv:
    """Check the choice of environment, task, reward and id.

    Args:
        cfg: The ``env`` section of a run.

    Returns:
        The choice, with a null reward replaced by the environment's first.

    Raises:
        UserError: Anything that does not exist, does not go together or is not installed.
    """
    if cfg.name not in ENVIRONMENTS:
        raise UserError(f"unknown environment {cfg.name!r}; {suggest(cfg.name, ENVIRONMENTS)}")
    entry = ENVIRONMENTS[cfg.name]
    task, reward = _task(entry, cfg.task), _reward(entry, cfg.reward)
    env_id = _id(entry, cfg.id, task, reward)
    _check_limits(entry, cfg)
    if not entry.installed:
        raise UserError(
            f"env={entry.name} needs the package {entry.package!r}, which is not installed; "
            f"type: pip install {entry.distribution}"
        )
    return ResolvedEnv(entry=entry, id=env_id, task=task, reward=reward)


def _task(entry: EnvEntry, task: str | None) -> str | None:
    if not entry.tasks:
        if task is not None:
            raise UserError(f"env={entry.name} is a single task, so env.task={task!r} must be left out")
        return None
    if task is None:
        raise UserError(f"env={entry.name} needs env.task; it has: {', '.join(entry.tasks)}")
    if task not in entry.tasks:
        raise UserError(f"env={entry.name} has no task {task!r}; {suggest(task, entry.tasks)}")
    return task


def _reward(entry: EnvEntry, reward: str | None) -> str | None:
    if reward is None:
        return next(iter(entry.rewards), None)
    if reward not in entry.rewards:
        allowed = " or ".join(entry.rewards) or "null (the id names its own reward)"
        raise UserError(f"env={entry.name} has no {reward!r} reward; env.reward may be {allowed}")
    return reward


def _id(entry: EnvEntry, env_id: str | None, task: str | None, reward: str | None) -> str | None:
    if entry.family == "gymnasium":
        if not env_id:
            raise UserError("env=gymnasium needs env.id, a registered Gymnasium id such as env.id=Reacher-v5")
        return env_id
    if env_id is not None:
        raise UserError(
            f"env.id={env_id!r} is for env=gymnasium only; env={entry.name} already implies its id"
        )
    return (
        entry.template.format(task=entry.tasks.get(task or "", ""), reward=entry.rewards[reward or ""])
        or None
    )


def _check_limits(entry: EnvEntry, cfg: EnvConfig) -> None:
    if entry.step_limit and cfg.max_episode_steps and cfg.max_episode_steps > entry.step_limit:
        raise UserError(
            f"env.max_episode_steps={cfg.max_episode_steps} is more than the {entry.step_limit} steps "
            f"that env={entry.name} can take in one episode"
        )
    for key in cfg.kwargs:
        if key in _RESERVED_KWARGS and not (key == "reward_type" and entry.family == "gymnasium"):
            raise UserError(
                f"env.kwargs.{key} may not be set here; it is governed by {_RESERVED_KWARGS[key]}"
            )
