"""Limits while eight processes ask as fast as they can."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.sharedctypes import Synchronized

import pytest
from django.db import connections

from djqueue.errors import LimitReached
from djqueue.limits import funnel, throttle
from tests.limits.grants import Recorded, most_in_any

PROCESSES, SECONDS = 8, 2.0
ALLOW, EVERY = 20, 0.25
fork = multiprocessing.get_context("fork")

pytestmark = pytest.mark.wallclock


def together(work, *given):
    """Run `work` in eight processes for two seconds."""
    connections.close_all()
    end = time.monotonic() + SECONDS
    running = [fork.Process(target=_one, args=(work, end, *given)) for _ in range(PROCESSES)]
    for each in running:
        each.start()
    for each in running:
        each.join(60)
    assert [each.exitcode for each in running] == [0] * PROCESSES


def _one(work, end, *given):
    while time.monotonic() < end:
        try:
            work(*given)
        except LimitReached:
            time.sleep(0.001)
    connections.close_all()


def use():
    with throttle("tests.contended", ALLOW, EVERY):
        pass


def enter(inside: Synchronized[int], most: Synchronized[int], entered: Synchronized[int]) -> None:
    with funnel("tests.contended", 3):
        with inside.get_lock():
            inside.value += 1
            most.value = max(most.value, inside.value)
            entered.value += 1
        time.sleep(0.05)
        with inside.get_lock():
            inside.value -= 1


def test_never_more_than_allowed_in_any_period(transactional_db):
    with Recorded() as grants:
        together(use)
        times = grants()
    assert most_in_any(times, EVERY) <= ALLOW
    assert len(times) > ALLOW  # so they come back; a busy machine uses few of them


def test_never_more_inside_than_allowed(limits):
    inside, most, entered = fork.Value("i"), fork.Value("i"), fork.Value("i")
    together(enter, inside, most, entered)
    assert 2 <= most.value <= 3  # SQLite lets one after another in
    assert entered.value > 15
    with funnel("tests.contended", 1):
        pass  # all were given back
