"""A connection that passes its jobs on shows, and changes, what its members hold."""

from __future__ import annotations

import pytest
from django.test import override_settings

from djqueue import find, queues
from djqueue.conf import ConnectionSettings
from djqueue.drivers import make_driver
from djqueue.drivers.base import OutgoingJob, State
from djqueue.errors import ConfigurationError, QueueUnavailable, Unsupported
from djqueue.testing import work
from tests.drivers.failover_support import count, djqueue, pass_on, ran
from tests.services.proxy import Mode

pytestmark = [
    pytest.mark.redis,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("resilient"),
]


def sizes():
    return queues["redis"].size(), queues["database"].size()


# -- looking at what the members hold ------------------------------------------------------------


@pytest.fixture
def both(proxy):
    """One job in redis, and then one in the database."""
    first = count.dispatch(1)
    queues["resilient"].close()  # a connection that is open may still carry a request
    proxy.mode = Mode.REFUSE
    second = count.dispatch(2)
    proxy.mode = Mode.PASS
    return [first, second]


def test_counting_and_listing_go_over_all_members(both):
    ids = [each.id for each in both]
    connection = queues["resilient"]
    assert connection.counts()[:3] == (2, 0, 0)
    assert [each.id for each in connection.peek()] == ids
    assert [
        each.id for each in connection.inspector.peek("default", State.WAITING, 5, ids[0])
    ] == ids[1:]
    assert connection.inspector.peek("default", State.WAITING, 5, ids[1]) == []
    assert {each.id for each in connection.inspector.find(ids)} == set(ids)
    assert [each.id for each in connection.inspector.search(ids[1].replace("-", ""))] == ids[1:]
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


def test_it_has_no_workers_of_its_own(resilient):
    driver = queues["resilient"].driver
    assert driver.members == ("redis", "database")
    with pytest.raises(Unsupported, match="`queue_work redis` and `queue_work database`"):
        driver.session()
    resilient(QUEUE="mail")
    words = queues["resilient"].driver.capabilities.why_not("workers")
    assert "`queue_work redis --queue mail`" in words


def test_it_can_what_all_its_members_can():
    capabilities = queues["resilient"].driver.capabilities
    assert not any(map(capabilities.why_not, ("peek", "remove", "priorities")))
    assert not capabilities.tagged_queues  # the database has no tags
    assert "an order of its own" in capabilities.why_not("ordered")


@pytest.mark.parametrize("members", [None, [], ["resilient"], ["other"]])
def test_settings_that_cannot_work(members):
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


def test_members_of_a_member_are_tried_in_its_place(proxy):
    with override_settings(
        DJQUEUE={
            "CONNECTIONS": {
                **djqueue(proxy)["CONNECTIONS"],
                "outer": {"DRIVER": "failover", "CONNECTIONS": ["resilient", "sync"]},
            }
        }
    ):
        assert queues["outer"].driver.members == ("redis", "database")
