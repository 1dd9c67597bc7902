"""Events that wait: for the end of a block, and for a commit."""

import asyncio
import threading
from contextvars import copy_context

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from djqueue.events import aevent, defer, event, listen
from tests.app.models import Note
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


def test_what_the_inner_block_lets_pass_waits_for_the_outer_one(heard):
    with defer():
        with defer(OrderLost):
            event(OrderLost(1))
            event(OrderShipped(2))
            assert heard == []
        assert heard == [1]
    assert heard == [1, 2]


def test_what_the_inner_block_lets_pass_is_dropped_with_the_outer_one(heard):
    def fails():
        with defer(), defer(OrderLost):
            event(OrderShipped(1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert heard == []


def test_what_no_block_is_for_waits_for_none(heard):
    with defer(OrderPaid), defer(OrderLost):
        event(OrderShipped(1))
        assert heard == [1]


def test_a_context_that_outlives_the_inner_block_is_held_by_the_outer_one(heard):
    with defer():
        with defer():
            copied = copy_context()
        copied.run(event, OrderShipped(1))
        assert heard == []
    assert heard == [1]


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


def test_a_block_may_be_around_a_function(heard):
    @defer()
    def ships():
        event(OrderShipped(1))
        assert heard == []

    for _ in range(2):
        ships()
        assert heard == [1]
        heard.clear()


class TestInCoroutines:
    def test_a_block_may_be_around_a_function(self, heard):
        @defer()
        async def ships(order):
            event(OrderShipped(order))
            await asyncio.sleep(0)
            assert heard == []
            return order

        assert asyncio.run(ships(1)) == 1
        assert heard == [1]

    def test_an_exception_drops_those_of_a_function(self, heard):
        @defer(OrderShipped)
        async def fails():
            event(OrderShipped(1))
            raise RuntimeError

        with pytest.raises(RuntimeError):
            asyncio.run(fails())
        assert heard == []

    @pytest.mark.parametrize("kind", ["generator", "asynchronous generator"])
    def test_a_generator_is_refused(self, kind):
        def plain():
            yield

        async def asynchronous():
            yield

        with pytest.raises(TypeError, match=r"with defer\(\):"):
            defer()(plain if kind == "generator" else asynchronous)

    def test_listeners_are_off_the_thread_of_the_event_loop(self, heard):
        listen(OrderShipped)(lambda given: heard.append(threading.get_ident()))

        async def ships():
            async with defer():
                assert await aevent(OrderShipped(1)) == []
                event(OrderShipped(2))  # reaches no listener here
                async with defer(OrderLost):
                    await aevent(OrderLost(3))
                assert heard == [3]
            await aevent(OrderShipped(4))
            return threading.get_ident()

        loop = asyncio.run(ships())
        assert [each for each in heard if each < 9] == [3, 1, 2, 4]
        assert loop not in heard

    @pytest.mark.django_db(transaction=True)
    def test_listeners_may_use_the_orm(self):
        counted = []
        listen(OrderShipped)(lambda given: counted.append(Note.objects.count()))

        async def ships():
            async with defer():
                event(OrderShipped(1))

        async_to_sync(ships)()
        assert counted == [0]

    def test_an_exception_drops_them(self, heard):
        async def fails():
            async with defer():
                event(OrderShipped(1))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            asyncio.run(fails())
        assert heard == []


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
