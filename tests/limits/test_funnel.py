"""`funnel`: never more than its limit at once."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack

import pytest

from djqueue.errors import LimitReached
from djqueue.limits import funnel
from djqueue.limits.values import Holder, Room
from djqueue.runner.current import CurrentJob, current
from tests.limits.coroutines import run

ROOM = Room("funnel:reports", 2)


def holder(run="a", number=0, life=60.0, job=None, attempt=1):
    return Holder(run * 16 + f"{number:016}", life, job, attempt)


def is_full(limit=2):
    try:
        with funnel("reports", limit):
            return False
    except LimitReached:
        return True


def test_so_many_are_inside_at_once(limits):
    with funnel("reports", 2), funnel("reports", 2):
        assert is_full()
        assert not is_full(limit=3)
    assert not is_full()


def test_what_raises_inside_leaves(limits):
    with pytest.raises(ZeroDivisionError), funnel("reports", 1):
        raise ZeroDivisionError
    assert not is_full(1)


def test_it_waits_for_as_long_as_it_may(limits):
    with funnel("reports", 1):
        began = time.monotonic()
        with (
            pytest.raises(LimitReached, match="reached: 1 at once"),
            funnel("reports", 1, block=0.2),
        ):
            pass
        assert time.monotonic() - began >= 0.2


def test_it_works_in_coroutines(limits):
    async def both():
        async with funnel("reports", 1):
            with pytest.raises(LimitReached):
                await funnel("reports", 1).__aenter__()

    run(both())
    assert not is_full(1)


def test_a_slot_comes_back_when_its_time_is_over(limits):
    assert limits.enter(ROOM, holder("a", 1, 0.2)) is None
    assert limits.enter(ROOM, holder("a", 2, 0.2)) is None
    assert is_full()
    time.sleep(0.25)
    assert not is_full()


def test_what_was_taken_over_is_not_given_back(limits):
    room = ROOM._replace(limit=1)
    late, next_one = holder("a", 1, 0.05), holder("b", 2)
    limits.enter(room, late)
    time.sleep(0.1)
    assert limits.enter(room, next_one) is None
    limits.leave(room, late)
    assert is_full(1)
    limits.leave(room, next_one)
    assert not is_full(1)


def test_another_run_of_a_job_takes_over_what_an_earlier_one_held(limits):
    job = str(uuid.uuid4())
    room = ROOM._replace(limit=1)
    assert limits.enter(room, holder("a", 1, job=job)) is None
    assert limits.enter(room, holder("a", 2, job=job)) is not None  # the same run, once more
    assert limits.enter(room, holder("b", 3, job=str(uuid.uuid4()))) is not None
    assert limits.enter(room, holder("b", 4, job=job)) is None
    assert is_full(1)


def test_the_slots_of_jobs_whose_process_is_gone_are_given_back(limits):
    job, other = str(uuid.uuid4()), str(uuid.uuid4())
    limits.enter(ROOM, holder("a", 1, job=job, attempt=2))
    limits.enter(ROOM, holder("b", 2, job=other))
    limits.leave_for([(job, 1)])  # an earlier attempt: that had ended before
    assert is_full()
    limits.leave_for([(job, 2), (str(uuid.uuid4()), 1)])
    with funnel("reports", 2):
        assert is_full()
    limits.leave_for([(other, 1)], since=60)  # what it holds was taken later
    with funnel("reports", 2):
        assert is_full()


def test_jobs_that_are_refused_are_given_times_by_how_long_a_slot_is_held(limits):
    with funnel("reports", 2), funnel("reports", 2):
        time.sleep(0.4)
    token = current.set(CurrentJob(str(uuid.uuid4()), "shop.Pack", "default", "database", 1))
    try:
        with ExitStack() as stack:
            stack.enter_context(funnel("reports", 2))
            stack.enter_context(funnel("reports", 2))
            times = []
            for _ in range(3):
                with pytest.raises(LimitReached) as caught:
                    funnel("reports", 2).__enter__()
                times.append(caught.value.retry_in)
    finally:
        current.reset(token)
    assert times == sorted(times)
    assert 0.05 <= times[0] < 2


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, 40_000])
def test_what_cannot_work_is_refused(limit):
    with pytest.raises(ValueError, match="cannot work"):
        funnel("reports", limit)
