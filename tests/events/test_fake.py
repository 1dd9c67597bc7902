"""`fake_events`: events are recorded."""

import pytest

from djqueue.events import event, listen, subscribe, until
from djqueue.testing import fake_events
from tests.events.happenings import OrderLost, OrderSent, OrderShipped


@pytest.fixture(autouse=True)
def listening(heard):
    listen("shop.*")(lambda given: heard.append(given.order))


def hears(given):
    return given


def test_events_are_recorded_and_reach_nobody(heard, fake_events):
    assert event(OrderShipped(1)) == []
    assert until(OrderSent(2)) is None
    assert heard == []
    fake_events.assert_event(OrderShipped, times=2)
    fake_events.assert_event(OrderShipped, where=lambda given: given.order == 1, times=1)
    fake_events.assert_no_event(OrderLost)
    assert fake_events.fired(OrderSent) == [OrderSent(2)]


def test_only_some_are_recorded(heard):
    with fake_events(only=[OrderLost]) as events:
        event(OrderShipped(1))
        event(OrderLost(2))
    assert heard == [1]
    events.assert_event(OrderLost)
    with fake_events(except_=[OrderLost]) as events:
        event(OrderLost(3))
    events.assert_no_event()
    assert heard == [1, 3]


def test_the_outer_fake_takes_what_the_inner_one_leaves(heard):
    with fake_events() as outer, fake_events(only=[OrderLost]) as inner:
        event(OrderShipped(1))
        event(OrderLost(2))
    assert outer.recorded == [OrderShipped(1)]
    assert inner.recorded == [OrderLost(2)]
    assert heard == []


def test_a_failed_assertion_shows_what_was_fired():
    with fake_events() as events:
        with pytest.raises(AssertionError, match=r"was fired not at all\.\nNo event was fired"):
            events.assert_event(OrderLost)
        event(OrderShipped(4))
        with pytest.raises(AssertionError, match=r"(?s)not at all, not once.*order=4"):
            events.assert_event(OrderLost, times=1)
        with pytest.raises(AssertionError, match="OrderShipped was fired once"):
            events.assert_no_event(OrderShipped)


def test_listening_is_asserted():
    listen(OrderShipped)(hears)
    with fake_events() as events:
        events.assert_listening(OrderShipped, hears)
        with pytest.raises(AssertionError, match=r"(?s)hears does not listen to OrderLost.*lambda"):
            events.assert_listening(OrderLost, hears)


class Subscriber:
    """Listens with a method."""

    def subscribe(self, events):
        events.listen(OrderShipped, self.hears)

    def hears(self, given):
        return given


def test_the_method_of_a_subscriber_is_asserted():
    subscribe(Subscriber)
    with fake_events() as events:
        events.assert_listening(OrderShipped, Subscriber.hears)


@fake_events
def test_it_decorates_a_test(fake_events):
    event(OrderLost(1))
    fake_events.assert_event(OrderLost)


def test_what_is_no_event_is_refused():
    with pytest.raises(TypeError, match="no class of events"):
        fake_events(only=[int])
    with pytest.raises(TypeError, match="not both"):
        fake_events(only=[OrderLost], except_=[OrderShipped])
