"""Iterations of an agent, one half at a time."""

from gipo_cli.data.rollout import Rollout
from gipo_cli.learning.sb3 import GIPO
from gipo_cli.learning.updater import UpdateStats

TOTAL_STEPS = 4096


def collect(model: GIPO) -> Rollout:
    rollout = model.source.next()
    model.learner.take(rollout)
    return rollout


def update(model: GIPO) -> UpdateStats:
    return model.learner.update(TOTAL_STEPS)
