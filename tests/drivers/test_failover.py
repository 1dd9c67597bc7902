"""Failing over from a Redis that refuses, hangs or breaks off, to the database."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter

import pytest
from django.db import transaction
from django.test import override_settings

from djqueue import dispatch_many, find, job, queues
from djqueue.conf import ConnectionSettings
from djqueue.drivers import make_driver
from djqueue.drivers.base import OutgoingJob, Settlement, State
from djqueue.errors import ConfigurationError, QueueUnavailable, Unsupported
from djqueue.signals import job_queued, queue_failed_over
from djqueue.testing import work
from tests.drivers.failover_support import djqueue
from tests.services import Redis
from tests.services.proxy import Mode, Proxy

pytestmark = [pytest.mark.redis, pytest.mark.django_db(transaction=True)]

ran: Counter[int] = Counter()


@job(name="test.failover.count")
def count(number: int) -> None:
    ran[number] += 1
    if number < 0:
        raise ValueError("a negative number")


@job(name="test.failover.pass_on")
def pass_on(number: int) -> None:
    count.dispatch(number)


@pytest.fixture(autouse=True)
def _nothing_ran():
    ran.clear()


@pytest.fixture
def proxy(redis_server: Redis):
    with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def configure(proxy):
    """Return a function that changes keys of the failover connection for the test."""
    overrides = []

    def configure(**resilient):
        override = override_settings(DJQUEUE=djqueue(proxy, **resilient))
        override.enable()
        overrides.append(override)

    configure()
    yield configure
    proxy.mode = Mode.PASS
    for override in reversed(overrides):
        queues.close_all()
        override.disable()


@pytest.fixture(autouse=True)
def _configured(configure):
    pass


@pytest.fixture
def switches():
    """What the signal said."""
    seen = []

    def receive(sender, **arguments):
        arguments.pop("signal")
        seen.append(arguments)

    queue_failed_over.connect(receive)
    yield seen
    queue_failed_over.disconnect(receive)


def sizes():
    return queues["redis"].size(), queues["database"].size()


def run_all():
    return work("redis") + work("database")


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
        time.sleep(0.4)
        with caplog.at_level(logging.INFO, logger="djqueue"):
            count.dispatch(3)
        assert 'Connection "redis" takes jobs of "resilient" again.' in caplog.text
        assert len(switches) == 1
        assert queues["redis"].size() >= 1
        assert run_all() >= 2
    assert ran[2] == ran[3] == 1


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
        assert [each.id for each in queues[connection].driver.find([dispatched.id])]
    run_all()
    assert ran == {1: 1, 2: 2}


def test_a_member_that_hangs_is_passed_over(proxy, switches):
    proxy.mode = Mode.STALL
    started = time.monotonic()
    count.dispatch(1)
    assert time.monotonic() - started < 3
    assert queues["database"].size() == 1
    assert len(switches) == 1


def test_no_member_takes_the_job(proxy, configure):
    configure(CONNECTIONS=["redis"])
    proxy.mode = Mode.REFUSE
    with pytest.raises(QueueUnavailable, match=r"No member of connection.*redis: ") as raised:
        count.dispatch(1)
    assert not raised.value.ambiguous
    proxy.mode = Mode.PASS
    assert sizes() == (0, 0)


def test_in_doubt_it_fails_over_only_if_it_is_allowed_to(proxy, configure, switches):
    configure(FAIL_OVER_IF_UNSURE=False)
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


def test_members_of_a_member_are_tried_in_its_place(proxy, configure):
    configure()
    with override_settings(
        DJQUEUE={
            "CONNECTIONS": {
                **djqueue(proxy)["CONNECTIONS"],
                "outer": {"DRIVER": "failover", "CONNECTIONS": ["resilient", "sync"]},
            }
        }
    ):
        assert queues["outer"].driver.members == ("redis", "database")


# -- a dead member is left alone for a while -----------------------------------------------------


def test_a_dead_member_is_not_asked_at_every_dispatch(proxy, configure, switches):
    configure(PROBE_AFTER=60)
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
    time.sleep(0.35)
    count.dispatch(3)
    assert sizes() == (1, 2)
    assert len(switches) == 1


def test_a_resting_member_is_asked_before_a_job_is_lost(proxy, configure):
    configure(CONNECTIONS=["redis"], PROBE_AFTER=60)
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
    assert taken.total() - 600 <= (0 if mode is Mode.REFUSE else doubtful)


def drain(connection):
    """Take every job of a member; their arguments."""
    driver = queues[connection].driver
    numbers, taken = [], driver.exchange([], ["default"], 500).reservations
    while taken:
        numbers += [json.loads(each.payload)["arguments"]["number"] for each in taken]
        taken = driver.exchange(list(map(Settlement, taken)), ["default"], 500).reservations
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


def test_where_no_store_takes_a_job_it_may_run_here(proxy, configure, switches):
    configure(CONNECTIONS=["redis", "sync"])
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


def test_with_a_last_resort_a_resting_member_is_left_alone(proxy, configure):
    configure(CONNECTIONS=["redis", "sync"], PROBE_AFTER=60)
    proxy.mode = Mode.DROP
    count.dispatch(1)
    asked = proxy.connections
    count.dispatch(2)
    assert proxy.connections == asked
    assert ran == {1: 1, 2: 1}


# -- looking at what the members hold ------------------------------------------------------------


@pytest.fixture
def both(proxy):
    """One job in redis, and then one in the database."""
    first = count.dispatch(1)
    proxy.mode = Mode.REFUSE
    second = count.dispatch(2)
    proxy.mode = Mode.PASS
    return [first, second]


def test_counting_and_listing_go_over_all_members(both):
    ids = [each.id for each in both]
    resilient = queues["resilient"]
    assert resilient.counts()[:3] == (2, 0, 0)
    assert [each.id for each in resilient.peek()] == ids
    assert [each.id for each in resilient.driver.peek("default", State.WAITING, 5, ids[0])] == ids[
        1:
    ]
    assert resilient.driver.peek("default", State.WAITING, 5, ids[1]) == []
    assert {each.id for each in resilient.driver.find(ids)} == set(ids)
    assert [each.id for each in resilient.driver.search(ids[1].replace("-", ""))] == ids[1:]
    assert [each.status for each in both] == ["waiting", "waiting"]
    assert find(ids[1]).status == "waiting"


def test_cancelling_removing_and_clearing_go_over_all_members(both):
    assert both[1].cancel()
    assert sizes() == (1, 0)
    assert queues["resilient"].remove(None, [each.id for each in both]) == 1
    count.using(delay=600).dispatch(3)
    assert queues["resilient"].counts().delayed == 1
    assert queues["resilient"].clear() == 1
    assert sizes() == (0, 0)


def test_a_member_that_cannot_be_asked_is_an_error_where_it_matters(both, proxy):
    proxy.mode = Mode.REFUSE
    assert both[1].status == "waiting"
    assert both[1].cancel()
    with pytest.raises(QueueUnavailable):
        _ = both[0].status
    with pytest.raises(QueueUnavailable):
        queues["resilient"].counts()
    with pytest.raises(QueueUnavailable, match="0 jobs there"):
        queues["resilient"].clear()


def test_pausing_pauses_all_members():
    queues["resilient"].pause()
    assert queues["redis"].is_paused()
    assert queues["database"].is_paused()
    assert queues["resilient"].is_paused()
    assert queues["resilient"].resume()
    assert not queues["resilient"].is_paused()


def test_tests_run_what_all_members_hold(both, proxy):
    pass_on.dispatch(3)
    assert work() == 4
    assert ran == {1: 1, 2: 1, 3: 1}
    count.dispatch(4)
    assert work(max_jobs=0) == 0
    assert work("resilient", max_jobs=5) == 1


# -- workers and settings ------------------------------------------------------------------------


def test_it_has_no_workers_of_its_own(configure):
    driver = queues["resilient"].driver
    assert driver.members == ("redis", "database")
    for call in (lambda: driver.exchange((), ["default"], 1), lambda: driver.extend([])):
        with pytest.raises(Unsupported, match="`queue_work redis` and `queue_work database`"):
            call()
    configure(QUEUE="mail")
    words = str(queues["resilient"].driver.capabilities.workers)
    assert "`queue_work redis --queue mail`" in words


def test_it_can_what_all_its_members_can():
    capabilities = queues["resilient"].driver.capabilities
    assert capabilities.peek is capabilities.remove is capabilities.priorities is True
    assert not capabilities.tagged_queues  # the database has no tags
    assert isinstance(capabilities.ordered, str)


@pytest.mark.parametrize("members", [None, [], ["resilient"], ["other"]])
def test_settings_that_cannot_work(configure, members):
    connections = {
        "resilient": {"DRIVER": "failover", "CONNECTIONS": members},
        "other": {"DRIVER": "failover", "CONNECTIONS": ["resilient"]},
    }
    with (
        override_settings(DJQUEUE={"CONNECTIONS": connections}),
        pytest.raises(ConfigurationError, match=r'\["CONNECTIONS"\]'),
    ):
        make_driver(ConnectionSettings("resilient", "failover", options={"CONNECTIONS": members}))


def test_it_pushes_nothing_where_there_is_nothing(proxy):
    proxy.mode = Mode.REFUSE
    queues["resilient"].driver.push([])
    with pytest.raises(QueueUnavailable):
        queues["redis"].driver.push([OutgoingJob("x", "default", "x", "{}")])
