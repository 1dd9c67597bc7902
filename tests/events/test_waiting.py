"""Events that wait: for the end of a block, and for a commit."""

from contextvars import copy_context

import pytest
from django.db import transaction

from djqueue.events import defer, event, listen
from tests.events.happenings import OrderLost, OrderPaid, OrderShipped


@pytest.fixture(autouse=True)
def listening(heard):
    listen(OrderShipped, OrderLost, OrderPaid)(lambda given: heard.append(given.order))


def fail_after(block, given):
    """Fire an event in a block that raises then."""
    with block:
        event(given)
        raise RuntimeError


def test_events_wait_for_the_end_of_the_block(heard):
    with defer():
        assert event(OrderShipped(1)) == []
        event(OrderLost(2))
        assert heard == []
    assert heard == [1, 2]
    event(OrderShipped(3))
    assert heard == [1, 2, 3]


def test_an_exception_drops_them(heard):
    with pytest.raises(RuntimeError):
        fail_after(defer(), OrderShipped(1))
    assert heard == []
    event(OrderShipped(2))
    assert heard == [2]


def test_only_some_wait(heard):
    with defer(OrderLost):
        event(OrderLost(1))
        event(OrderShipped(2))
        assert heard == [2]
    assert heard == [2, 1]


def test_a_block_inside_another_fires_its_own_at_its_end(heard):
    with defer():
        event(OrderShipped(1))
        with defer():
            event(OrderShipped(2))
        assert heard == [2]
        event(OrderShipped(3))
    assert heard == [2, 1, 3]


def test_a_context_that_outlives_the_block_fires_at_once(heard):
    with defer():
        copied = copy_context()
    copied.run(event, OrderShipped(1))
    assert heard == [1]


def test_what_a_dropped_block_holds_does_not_touch_the_outer_one(heard):
    with defer():
        event(OrderShipped(1))
        with pytest.raises(RuntimeError):
            fail_after(defer(), OrderShipped(2))
    assert heard == [1]


@pytest.mark.django_db(transaction=True)
def test_an_event_waits_for_the_commit(heard):
    with transaction.atomic():
        assert event(OrderPaid(1)) == []
        assert heard == []
    assert heard == [1]
    event(OrderPaid(2))
    assert heard == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_a_rollback_drops_it(heard):
    with pytest.raises(RuntimeError):
        fail_after(transaction.atomic(), OrderPaid(1))
    with transaction.atomic():
        with pytest.raises(RuntimeError):
            fail_after(transaction.atomic(), OrderPaid(2))
        event(OrderPaid(3))
    assert heard == [3]


@pytest.mark.django_db(transaction=True)
def test_one_listener_may_wait_for_the_commit(heard):
    listen(OrderLost, after_commit=True)(lambda given: heard.append(("after", given.order)))
    with transaction.atomic():
        event(OrderLost(1))
        assert heard == [1]
    assert heard == [1, ("after", 1)]


@pytest.mark.django_db(transaction=True)
def test_an_error_after_the_commit_is_logged(heard, caplog):
    @listen(OrderLost, after_commit=True)
    def breaks(given):
        raise RuntimeError("no stamps")

    with transaction.atomic():
        event(OrderLost(1))
    assert heard == [1]
    assert "no stamps" in caplog.text
