"""No rollout enters the buffer with a larger lag than the bound, whatever the order of events."""

import heapq
import itertools
import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gipo_cli.actors.pacing import Pacing


def test_by_hand_two_actors_and_a_bound_of_one():
    pacing = Pacing(max_lag=1, overflow="pace")
    assert pacing.may_begin(0)
    assert pacing.begin(0) == 0
    # Both may arrive before any update: the second of them with lag 1.
    assert pacing.may_begin(1)
    assert pacing.begin(1) == 0
    assert not pacing.may_begin(0)
    pacing.finished(1)
    assert pacing.take() == (1, 0, 0, "used")
    # While version 1 is being made, actor 0's rollout of version 0 is still to come, with lag 1 at least: a
    # third one could overtake it.
    assert not pacing.may_begin(1)
    pacing.finished(0)
    assert pacing.take() == (0, 0, 1, "used")
    # The next one to be taken meets version 2, and the newest there is has number 0 until the update is done.
    assert not pacing.may_begin(1)
    pacing.publish(2)
    assert pacing.may_begin(1)


def test_a_bound_of_zero_is_the_synchronous_run():
    pacing = Pacing(max_lag=0, overflow="pace")
    for version in range(3):
        assert pacing.begin(0) == version
        assert not pacing.may_begin(1)
        pacing.finished(0)
        assert not pacing.may_begin(0)
        assert pacing.take() == (0, version, 0, "used")
        assert not pacing.may_begin(0)
        pacing.publish(version + 1)
        assert pacing.may_begin(0)


def test_an_actor_that_is_lost_makes_room():
    pacing = Pacing(max_lag=0, overflow="pace")
    pacing.begin(0)
    pacing.lost(0)
    assert pacing.may_begin(1)


def test_what_is_too_old_is_dropped_and_only_that():
    pacing = Pacing(max_lag=0, overflow="drop")
    for actor in (0, 1):
        assert pacing.may_begin(actor)
        pacing.begin(actor)
        pacing.finished(actor)
        # One of its rollouts waits.
        assert not pacing.may_begin(actor)
    assert pacing.take() == (0, 0, 0, "used")
    assert pacing.take() == (1, 0, 1, "dropped")
    # What is dropped makes no version.
    assert pacing.next_version == 1


def test_what_is_too_old_is_masked_and_makes_a_version():
    pacing = Pacing(max_lag=0, overflow="mask")
    for actor in (0, 1):
        pacing.begin(actor)
        pacing.finished(actor)
    assert pacing.take() == (0, 0, 0, "used")
    assert pacing.take() == (1, 0, 1, "masked")
    assert pacing.next_version == 2


@given(st.integers(1, 5), st.integers(0, 6), st.lists(st.integers(0, 99), min_size=40, max_size=60))
def test_any_order_of_events_keeps_the_bound_and_never_stands_still(actors, max_lag, choices):
    pacing, version, updating = Pacing(max_lag, "pace"), 0, False
    for choice in choices:
        possible = [("begin", actor) for actor in range(actors) if pacing.may_begin(actor)]
        possible += [(what, actor) for actor in pacing.running for what in ("finish", "lose")]
        possible += [("publish", 0)] if updating else [("take", 0)] if pacing.waiting else []
        assert possible
        what, actor = possible[choice % len(possible)]
        if what == "begin":
            assert pacing.begin(actor) == version
        elif what == "finish":
            pacing.finished(actor)
        elif what == "lose":
            pacing.lost(actor)
        elif what == "take":
            lag, fate = pacing.take()[2:]
            assert 0 <= lag <= max_lag
            assert fate == "used"
            updating = True
        else:
            version, updating = version + 1, False
            pacing.publish(version)
        assert len(pacing.running) + len(pacing.waiting) <= max_lag + 1


@pytest.mark.parametrize(("actors", "max_lag", "slow"), [(1, 0, 1), (3, 2, 1), (4, 8, 50)])
def test_the_bound_holds_in_100_000_rollouts_of_random_length(actors, max_lag, slow):
    """Clocks are numbers: events lie in a heap by their time. One actor is ``slow`` times as slow.

    Lags are counted here: the learner has taken as many rollouts as its version says.
    """
    dice, pacing, lags = random.Random(actors), Pacing(max_lag, "pace"), []
    events, ticket, version, updating = [], itertools.count(), 0, False
    making, made = {}, deque()

    def plan(now, kind, actor):
        heapq.heappush(events, (now, next(ticket), kind, actor))

    def go(now):
        nonlocal updating
        if pacing.waiting and not updating:
            lags.append(len(lags) - made.popleft())
            assert pacing.take()[2:] == (lags[-1], "used")
            updating = True
            plan(now + dice.expovariate(2), "publish", 0)
        for actor in range(actors):
            if pacing.may_begin(actor):
                making[actor] = version
                pacing.begin(actor)
                rate = 1 / slow if actor == 0 else 1
                plan(now + dice.expovariate(rate), "lose" if dice.random() < 0.01 else "finish", actor)

    go(0.0)
    while len(lags) < 100_000 / 3:
        now, _, kind, actor = heapq.heappop(events)
        if kind == "publish":
            version, updating = version + 1, False
            pacing.publish(version)
        elif kind == "finish":
            made.append(making[actor])
            pacing.finished(actor)
        else:
            pacing.lost(actor)
        go(now)
    assert min(lags) == 0
    # It is used up, too: the bound is no tighter than it says.
    assert max(lags) == max_lag
