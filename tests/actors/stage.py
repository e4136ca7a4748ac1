"""Actors in this process, played in an order that dice decide."""

import random
import threading
import time

import torch

from gipo_cli.actors.crew import Collected, Died, Event, Failed
from gipo_cli.actors.open import parts_of
from gipo_cli.actors.pool import Pool
from gipo_cli.actors.worker import Part, Worker
from gipo_cli.envs.make import make_env
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.runs.machine import versions
from gipo_cli.settings.compose import compose
from gipo_cli.settings.schema import RunConfig

SMALL = [
    "env=gymnasium",
    "env.id=Pendulum-v1",
    "env.n_envs=2",
    "env.max_episode_steps=30",
    "agent.rollout_steps=16",
    "agent.policy.hidden=[8]",
    "agent.update.rounds=1",
    "agent.update.batch_size=16",
    "agent.advantage.kind=stored",
    "buffer.size=100",
    "eval.episodes=0",
    "diagnostics=never",
    "logging.tensorboard=false",
    "runtime.env_timeout_s=null",
    "checkpoint.interval=64",
]


def composed(*overrides: str) -> RunConfig:
    return compose([*SMALL, *overrides]).config


class Stage:
    """A crew whose actors take turns; some die instead."""

    def __init__(self, parts: list[Part], dice: random.Random, deaths: float = 0.0) -> None:
        self.parts, self.dice, self.deaths = parts, dice, deaths
        self.workers: dict[int, Worker | None] = {}
        self.tasks: list[tuple[int, str, object]] = []
        self.weights, self.version, self.woken = {}, -1, threading.Event()
        # Unless they always die, none does so twice in a row.
        self.died, self.dead, self.spared = 0, set(), deaths < 1

    def hire(self, actor: int) -> None:
        self.workers[actor] = Worker(self.parts[actor])
        self.tasks.append((actor, "ready", None))

    def begin(self, actor: int, position) -> None:
        self.tasks.append((actor, "begin", position))

    def publish(self, version: int, weights) -> None:
        self.version, self.weights = version, weights

    def collect(self, actor: int) -> None:
        weights = {name: torch.from_numpy(value) for name, value in self.weights.items()}
        self.tasks.append((actor, "collect", (self.version, weights)))

    def events(self, seconds: float) -> list[Event]:
        if not self.tasks:
            self.woken.wait(seconds)
            self.woken.clear()
            return []
        actor, what, value = self.tasks.pop(self.dice.randrange(len(self.tasks)))
        worker = self.workers[actor]
        if what == "ready":
            return [Event(actor, worker.ready())]
        if what == "begin":
            return [Event(actor, worker.begin(value))]
        found = worker.collect(*value, stop=lambda: False)
        if self.dice.random() < self.deaths and not (self.spared and actor in self.dead):
            self.dead.add(actor)
            self.died += 1
            return [Event(actor, Died("it was ended by dice"))]
        self.dead.discard(actor)
        return [Event(actor, Collected(*found))]

    def wake(self) -> None:
        self.woken.set()

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()


class Broken(Stage):
    """A crew whose environments fail when they collect."""

    def events(self, seconds: float) -> list[Event]:
        if self.tasks and self.tasks[0][1] == "collect":
            return [Event(self.tasks.pop(0)[0], Failed("environment Mine (step 7): reward is nan", False))]
        return super().events(seconds)


def opened(config, seed=0, deaths=0.0, kind=Stage):
    """An agent, its crew and the pool over them."""
    env = make_env(config.env, config.seed)
    agent = GIPO.without_env(config, env.observation_space, env.action_space, "cpu", learns=True)
    crew = kind(parts_of(config, agent), random.Random(seed), deaths)
    return agent, crew, Pool(crew, agent.learner, config.actors, versions())


def iterate(agent, pool, count, pause=0.0):
    """Iterate; returns the rollouts."""
    rollouts = []
    for _ in range(count):
        rollouts.append(pool.next())
        agent.learner.take(rollouts[-1])
        time.sleep(pause)
        agent.learner.update(10_000)
        pool.publish()
    return rollouts
