"""Acting, optimizer steps, whole iterations and objectives, at the authors' settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.authors_schedule import AuthorsSchedule
from benchmarks.floor import BareReach, Floor, alternating
from benchmarks.harness import Row, Target, against, interleave
from gipo_cli.data.rollout import Rollout
from gipo_cli.envs.make import make_vec_env
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.settings.compose import compose

AUTHORS = ("preset=authors", "env.task=reach-v3")
PRECISIONS = ("float32", "bfloat16")
ALTERNATING = "a forward before each step"


def make_agent(*overrides: str, filled: int | None = None) -> GIPO:
    """An agent on one thread, its buffer filled (or to ``filled``) with copies of its first rollout."""
    torch.set_num_threads(1)
    config = compose(overrides).config
    agent = GIPO.from_config(config, make_vec_env(config.env, config.seed), "cpu")
    rollout = collect(agent)
    # Past a warm-up, whose first rate is 0.
    agent.learner.steps = 100 * config.rollout_size
    while len(agent.buffer) < (agent.buffer.capacity if filled is None else filled):
        agent.buffer.add(rollout, agent.agent.advantage)
    return agent


def collect(agent: GIPO) -> Rollout:
    """One rollout, into the buffer."""
    rollout = agent.source.next()
    agent.learner.take(rollout)
    return rollout


def learn(agent: GIPO) -> None:
    """Learn from the buffer, far from the end, so that the learning rate stays at the schedule's peak."""
    agent.learner.update(1000 * agent.learner.rollout_size)


def iterate(agent: GIPO) -> None:
    """One iteration."""
    collect(agent)
    learn(agent)


def acting(repeats: int) -> list[Row]:
    """Collecting 500 transitions against stepping the bare simulator 500 times and 500 plain forwards."""
    agents = {kind: make_agent(*AUTHORS, f"agent.precision={kind}") for kind in PRECISIONS}
    bare, floor = BareReach(), Floor()

    def lowest() -> None:
        bare.episode()
        floor.forwards()

    tasks: dict[str, Callable[[], object]] = {
        "steps alone": bare.episode,
        "forwards alone": floor.forwards,
        "steps and forwards": lowest,
        ALTERNATING: partial(alternating, bare, floor),
        **{f"collect, {kind}": partial(collect, agent) for kind, agent in agents.items()},
    }
    times = interleave(tasks, repeats)
    return [
        *(against(times, f"collect, {kind}", "steps and forwards") for kind in PRECISIONS),
        *(against(times, f"collect, {kind}", ALTERNATING) for kind in PRECISIONS),
        against(times, ALTERNATING, "steps and forwards"),
        against(times, "steps alone", "steps and forwards"),
        against(times, "forwards alone", "steps and forwards"),
    ]


def update(repeats: int) -> list[Row]:
    """Optimizer steps, with drawing, loading and metrics, against plain PyTorch on random tensors."""
    shapes = {
        "10 actor+critic steps": (("agent.update.reuse=1",), (10, 0)),
        "1 actor+critic and 90 critic steps": (
            ("agent.update.rounds=1", "agent.update.reuse=91", "agent.update.actor_every=91"),
            (1, 90),
        ),
    }
    rows = []
    for kind in PRECISIONS:
        for name, (overrides, (rounds, critic_only)) in shapes.items():
            agent = make_agent(*AUTHORS, f"agent.precision={kind}", *overrides, filled=5000)
            floor = Floor(kind == "bfloat16")
            ours, plain = f"{name}, {kind}", f"plain PyTorch, {kind}"
            times = interleave(
                {ours: partial(learn, agent), plain: partial(floor.steps, rounds, critic_only)}, repeats
            )
            rows.append(against(times, ours, plain))
    return rows


def compiled(repeats: int) -> list[Row]:
    """An iteration's optimizer steps in plain PyTorch, with ``torch.compile`` and without."""
    plain, faster = Floor(), Floor(compiled=True)
    begun = time.perf_counter()
    faster.steps(1)
    # By the wall: compilers are processes of their own.
    note = f"the first steps, which compile, took {time.perf_counter() - begun:.0f} s of wall time"
    times = interleave({"compiled": faster.steps, "as written": plain.steps}, repeats)
    return [against(times, "compiled", "as written", speed_up=True, note=note)]


def iteration(repeats: int) -> list[Row]:
    """Whole iterations against the floor of the same arithmetic and against the authors' schedule."""
    agents = {kind: make_agent(*AUTHORS, f"agent.precision={kind}") for kind in PRECISIONS}
    bare, floor, authors = BareReach(), Floor(), AuthorsSchedule()

    def lowest() -> None:
        bare.episode()
        floor.forwards()
        floor.steps()

    def lowest_in_turns() -> None:
        alternating(bare, floor)
        floor.steps()

    tasks: dict[str, Callable[[], object]] = {
        "floor, float32": lowest,
        f"floor, {ALTERNATING}": lowest_in_turns,
        **{kind: partial(iterate, agent) for kind, agent in agents.items()},
        "authors' schedule": authors.iterate,
    }
    times = interleave(tasks, repeats)
    return [
        against(times, "float32", "floor, float32", target=Target("at most", 1.05)),
        against(times, "float32", f"floor, {ALTERNATING}"),
        against(times, "bfloat16", "float32", target=Target("at least", 2.0)),
        against(times, "bfloat16", "floor, float32"),
        against(times, "float32", "authors' schedule", speed_up=True),
        against(times, "bfloat16", "authors' schedule", speed_up=True),
        against(times, "authors' schedule", "floor, float32"),
    ]


def objectives(repeats: int) -> list[Row]:
    """Twenty actor+critic steps with GIPO's objective against the same with PPO-clip's."""
    same = ("agent.update.reuse=1", "agent.update.rounds=20", "agent.update.kl_coef=0")
    tasks: dict[str, Callable[[], object]] = {
        name: partial(learn, make_agent(*AUTHORS, f"objective={name}", *same, filled=5000))
        for name in ("gipo", "ppo_clip")
    }
    return [against(interleave(tasks, repeats), "gipo", "ppo_clip", target=Target("at most", 1.02))]
