"""Failing over from a Redis that refuses, hangs or breaks off, to the database."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter

import pytest
from django.db import transaction
from django.test import override_settings

from djqueue import dispatch_many, queues
from djqueue.drivers.base import Settlement
from djqueue.errors import QueueUnavailable
from djqueue.signals import job_queued
from djqueue.testing import work
from tests.drivers.failover_support import count, djqueue, ran
from tests.services.proxy import Mode
from tests.support import wait_until

pytestmark = [
    pytest.mark.redis,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("resilient"),
]


def sizes():
    return queues["redis"].size(), queues["database"].size()


def redis_takes_jobs():
    count.dispatch(3)
    return queues["redis"].size() == 1


# -- which member takes a job --------------------------------------------------------------------


def test_the_first_member_takes_the_jobs(switches):
    dispatched = count.dispatch(1)
    assert sizes() == (1, 0)
    assert (dispatched.created, dispatched.status) == (True, "waiting")
    assert switches == []


def test_a_member_that_refuses_connections_is_passed_over(proxy, switches, caplog):
    proxy.mode = Mode.REFUSE
    with caplog.at_level(logging.INFO, logger="djqueue"):
        dispatched = count.dispatch(1)
    (told,) = switches
    assert (told["connection"], told["failed"], told["used"]) == ("resilient", "redis", "database")
    assert not told["error"].ambiguous
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"test.failover.count {dispatched.id}" in record.message
    assert "twice" not in record.message
    proxy.mode = Mode.PASS
    assert sizes() == (0, 1)
    assert queues["database"].peek()[0].id == dispatched.id


def test_a_server_that_is_stopped_and_started_again(redis_server, switches, caplog):
    with override_settings(DJQUEUE=djqueue(redis_server)):
        count.dispatch(1)
        redis_server.halt()
        try:
            count.dispatch(2)
            assert queues["database"].size() == 1
        finally:
            redis_server.start()
        with caplog.at_level(logging.INFO, logger="djqueue"):
            wait_until(redis_takes_jobs)
        assert 'Connection "redis" takes jobs of "resilient" again.' in caplog.text
        assert len(switches) == 1
        work()
    assert set(ran) == {2, 3}  # the first was in a server that keeps nothing


def test_a_member_that_breaks_off_after_the_request_may_have_the_job_too(proxy, switches, caplog):
    count.dispatch(1)
    proxy.mode = Mode.DROP
    dispatched = count.dispatch(2)
    proxy.mode = Mode.PASS
    (told,) = switches
    assert told["error"].ambiguous
    assert "may run twice" in caplog.text
    assert dispatched.id in caplog.text
    # The same id in both, so that whoever looks can see that it is one job.
    for connection in ("redis", "database"):
        assert [each.id for each in queues[connection].inspector.find([dispatched.id])]
    work("redis")
    work("database")
    assert ran == {1: 1, 2: 2}


def test_a_member_that_hangs_is_passed_over(proxy, switches):
    proxy.mode = Mode.STALL
    started = time.monotonic()
    count.dispatch(1)
    assert time.monotonic() - started < 3
    assert queues["database"].size() == 1
    assert len(switches) == 1


def test_no_member_takes_the_job(proxy, resilient):
    resilient(CONNECTIONS=["redis"])
    proxy.mode = Mode.REFUSE
    with pytest.raises(QueueUnavailable, match=r"No member of connection.*redis: ") as raised:
        count.dispatch(1)
    assert not raised.value.ambiguous
    proxy.mode = Mode.PASS
    assert sizes() == (0, 0)


def test_in_doubt_it_fails_over_only_if_it_is_allowed_to(proxy, resilient, switches):
    resilient(FAIL_OVER_IF_UNSURE=False)
    count.dispatch(0)  # what breaks off while it connects was never told of a job
    proxy.mode = Mode.DROP
    with pytest.raises(QueueUnavailable, match="did not fail over") as raised:
        count.dispatch(1)
    assert raised.value.ambiguous
    assert queues["database"].size() == 0
    proxy.mode = Mode.REFUSE
    time.sleep(0.4)
    count.dispatch(2)
    assert queues["database"].size() == 1


# -- a dead member is left alone for a while -----------------------------------------------------


def test_a_dead_member_is_not_asked_at_every_dispatch(proxy, resilient, switches):
    resilient(PROBE_AFTER=60)
    proxy.mode = Mode.DROP
    count.dispatch(0)
    asked = proxy.connections
    for number in range(1, 20):
        count.dispatch(number)
    assert proxy.connections == asked
    assert len(switches) == 1
    assert queues["database"].size() == 20


def test_a_member_that_works_again_takes_the_next_jobs(proxy, switches):
    proxy.mode = Mode.REFUSE
    count.dispatch(1)
    time.sleep(0.35)
    count.dispatch(2)  # asks in vain, and says nothing new
    proxy.mode = Mode.PASS
    assert sizes() == (0, 2)
    wait_until(redis_takes_jobs)
    assert len(switches) == 1


def test_a_resting_member_is_asked_before_a_job_is_lost(proxy, resilient):
    resilient(CONNECTIONS=["redis"], PROBE_AFTER=60)
    proxy.mode = Mode.REFUSE
    with pytest.raises(QueueUnavailable):
        count.dispatch(1)
    proxy.mode = Mode.PASS
    count.dispatch(2)
    assert queues["redis"].size() == 1


# -- many jobs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.STALL, Mode.DROP])
def test_nothing_is_lost_and_only_what_was_in_doubt_runs_twice(proxy, mode, switches):
    proxy.mode = Mode.PASS
    doubtful = 0
    for start in range(0, 600, 20):
        if start == 200:
            proxy.mode = mode
        if start == 400:
            proxy.mode = Mode.PASS
            time.sleep(0.35)
        before = len(switches)
        dispatch_many(count.bind(number) for number in range(start, start + 20))
        doubtful += 20 * sum(told["error"].ambiguous for told in switches[before:])
    assert switches
    taken = Counter(drain("redis") + drain("database"))
    assert sorted(taken) == list(range(600))
    assert taken.total() - 600 <= doubtful


def drain(connection):
    """Take every job of a member; their arguments."""
    session = queues[connection].driver.session()
    numbers, taken = [], session.exchange([], ["default"], 500).reservations
    while taken:
        numbers += [json.loads(each.payload)["arguments"]["number"] for each in taken]
        taken = session.exchange(list(map(Settlement, taken)), ["default"], 500).reservations
    return numbers


# -- transactions --------------------------------------------------------------------------------


def test_a_job_waits_for_the_commit_as_on_any_other_store(proxy):
    proxy.mode = Mode.REFUSE
    with transaction.atomic():
        dispatched = count.dispatch(1)
        assert dispatched.created is None
        assert queues["database"].size() == 0
    assert dispatched.created
    assert queues["database"].size() == 1


def test_a_rollback_leaves_nothing():
    with transaction.atomic():
        count.dispatch(1)
        transaction.set_rollback(True)
    assert sizes() == (0, 0)


def test_without_waiting_a_row_is_part_of_the_transaction_that_is_open(proxy):
    proxy.mode = Mode.REFUSE
    with transaction.atomic():
        count.using(after_commit=False).dispatch(1)
        assert queues["database"].size() == 1
        transaction.set_rollback(True)
    assert queues["database"].size() == 0


# -- the last resort -----------------------------------------------------------------------------


def test_where_no_store_takes_a_job_it_may_run_here(proxy, resilient, switches):
    resilient(CONNECTIONS=["redis", "sync"])
    places = []

    def receive(job, **_):
        places.append(job.connection)

    job_queued.connect(receive)
    try:
        count.dispatch(1)
        assert ran == {}
        proxy.mode = Mode.REFUSE
        count.dispatch(2)
        assert ran == {2: 1}
        assert switches[0]["used"] == "sync"
        with pytest.raises(ValueError, match="a negative number"):
            count.dispatch(-1)
        with transaction.atomic():
            count.dispatch(3)
            assert 3 not in ran
        assert ran[3] == 1
    finally:
        job_queued.disconnect(receive)
    assert places == ["resilient", "sync", "sync", "sync"]


def test_where_no_store_takes_many_jobs_they_may_run_here(proxy, resilient):
    resilient(CONNECTIONS=["redis", "sync"])
    proxy.mode = Mode.REFUSE
    assert dispatch_many(count.bind(number) for number in range(3)) == 3
    assert ran == {0: 1, 1: 1, 2: 1}


def test_with_a_last_resort_a_resting_member_is_left_alone(proxy, resilient):
    resilient(CONNECTIONS=["redis", "sync"], PROBE_AFTER=60)
    proxy.mode = Mode.DROP
    count.dispatch(1)
    asked = proxy.connections
    count.dispatch(2)
    assert proxy.connections == asked
    assert ran == {1: 1, 2: 1}
