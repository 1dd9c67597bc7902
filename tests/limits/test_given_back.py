"""What a process that died held is given back when its worker has seen its end."""

from __future__ import annotations

import time
import uuid

import pytest

from djqueue.drivers.base import Reservation
from djqueue.finish import deaths
from djqueue.finish.notices import FreeSlots, notices_of
from djqueue.limits.values import Holder, Room
from djqueue.runner.outcome import End
from djqueue.runner.rules import Rules
from djqueue.worker.notices import carry_out

ROOM = Room("funnel:reports", 1)


@pytest.fixture
def dead():
    """A reserved job, in its third attempt after an interruption."""
    return Reservation(str(uuid.uuid4()), "default", "shop.Pack", "", 3, 1, "", None)


def upkeep(reservation, outcome):
    found = notices_of([End(reservation, outcome)])
    return [each for each in found if isinstance(each, FreeSlots)]


def holder(job, run):
    return Holder(uuid.uuid4().hex, 60.0, job, run)


@pytest.mark.parametrize(
    "outcome_of",
    [
        lambda dead: deaths.died(dead, Rules(), 9, ""),
        lambda dead: deaths.timed_out(dead, Rules(), 5.0, ""),
        lambda dead: deaths.interrupted(dead, Rules(), "Its worker is gone."),
    ],
    ids=["died", "timed out", "interrupted"],
)
def test_a_dead_run_holds_nothing(limits, dead, outcome_of):
    assert limits.enter(ROOM, holder(dead.id, 4)) is None
    (slots,) = upkeep(dead, outcome_of(dead))
    carry_out(slots)
    assert limits.enter(ROOM, holder(str(uuid.uuid4()), 1)) is None


def test_the_next_run_keeps_what_it_holds(limits, dead):
    (slots,) = upkeep(dead, deaths.died(dead, Rules(), 9, ""))
    assert limits.enter(ROOM, holder(dead.id, 5)) is None
    carry_out(slots)
    assert limits.enter(ROOM, holder(str(uuid.uuid4()), 1)) is not None


def test_what_was_taken_after_the_end_is_kept_whatever_its_number(limits, dead):
    (slots,) = upkeep(dead, deaths.died(dead, Rules(), 9, ""))
    time.sleep(0.05)  # longer than a request takes
    assert limits.enter(ROOM, holder(dead.id, 1)) is None  # an operator has retried it
    carry_out(slots)
    assert limits.enter(ROOM, holder(str(uuid.uuid4()), 1)) is not None


def test_other_ends_free_nothing(dead):
    from djqueue.runner.decision import DONE, Ending
    from djqueue.runner.outcome import Outcome

    assert not upkeep(dead, Outcome(Ending.RETURNED, DONE))
