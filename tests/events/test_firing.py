"""Events reach their listeners: order, answers, stopping, patterns, bases."""

from dataclasses import FrozenInstanceError
from functools import partial

import pytest
from asgiref.sync import async_to_sync

from djqueue import Inject
from djqueue.errors import InvalidJob
from djqueue.events import (
    Event,
    Listener,
    aevent,
    auntil,
    event,
    forget,
    listen,
    registry,
    subscribe,
    until,
)
from tests.events.happenings import OrderLost, OrderSent, OrderShipped


def saying(heard, name, answer=None):
    """Return a listener that says its name, and answers."""

    def listener(given):
        heard.append((name, given.order))
        return answer

    return listener


def test_an_event_returns_the_answers_of_its_listeners(heard):
    listen(OrderShipped)(saying(heard, "first", 1))
    listen(OrderShipped)(saying(heard, "second", None))
    assert event(OrderShipped(7)) == [1, None]
    assert heard == [("first", 7), ("second", 7)]


def test_an_event_without_listeners_has_no_answers():
    assert event(OrderLost(1)) == []
    assert until(OrderLost(1)) is None


def test_until_returns_the_first_answer_that_is_not_none(heard):
    listen(OrderShipped)(saying(heard, "none"))
    listen(OrderShipped)(saying(heard, "zero", 0))
    listen(OrderShipped)(saying(heard, "late", 2))
    assert until(OrderShipped(1)) == 0
    assert [name for name, _ in heard] == ["none", "zero"]


def test_until_returns_false_where_that_is_the_first_answer(heard):
    listen(OrderShipped)(saying(heard, "none"))
    listen(OrderShipped)(saying(heard, "no", False))
    listen(OrderShipped)(saying(heard, "late", 2))
    assert until(OrderShipped(1)) is False
    assert [name for name, _ in heard] == ["none", "no"]


@pytest.mark.parametrize("answer", [0, "", None, []])
def test_only_false_stops_the_rest(heard, answer):
    listen(OrderShipped)(saying(heard, "first", answer))
    listen(OrderShipped)(saying(heard, "second", False))
    listen(OrderShipped)(saying(heard, "third", 3))
    assert event(OrderShipped(1)) == [answer]
    assert [name for name, _ in heard] == ["first", "second"]


def test_a_listener_that_raises_stops_the_rest(heard):
    @listen(OrderShipped)
    def breaks(given):
        raise RuntimeError("no stamps")

    listen(OrderShipped)(saying(heard, "late"))
    with pytest.raises(RuntimeError, match="no stamps"):
        event(OrderShipped(1))
    assert heard == []


def test_exact_listeners_come_before_patterns_and_bases(heard):
    listen(OrderShipped)(saying(heard, "base"))
    listen("shop.*")(saying(heard, "pattern"))
    listen(OrderSent)(saying(heard, "exact"))
    listen(Event)(saying(heard, "all"))
    event(OrderSent(1))
    assert [name for name, _ in heard] == ["exact", "pattern", "base", "all"]


@pytest.mark.parametrize(
    ("pattern", "hears"),
    [
        ("shop.*", True),
        ("*", True),
        ("*.OrderShipped", True),
        ("shop.OrderShipped", True),
        ("shop.Order[A-S]*", True),
        ("Shop.*", False),
        ("shop", False),
        ("blog.*", False),
    ],
)
def test_patterns_match_the_names_of_events(heard, pattern, hears):
    listen(pattern)(saying(heard, pattern))
    event(OrderShipped(1))
    assert bool(heard) is hears


def test_nobody_is_called_twice(heard):
    listener = saying(heard, "one")
    listen(OrderShipped, "shop.*")(listener)
    listen(OrderShipped)(listener)
    event(OrderShipped(1))
    assert heard == [("one", 1)]


def test_a_listener_that_is_imported_again_replaces_itself(heard):
    for _ in range(2):

        @listen(OrderShipped)
        def again(given):
            return given.order

    assert event(OrderShipped(5)) == [5]


def test_the_annotation_says_of_which_events(heard):
    @listen()
    def hears(given: OrderShipped | OrderLost):
        heard.append(type(given))

    event(OrderShipped(1))
    event(OrderLost(1))
    assert heard == [OrderShipped, OrderLost]


def test_a_class_listens_with_a_new_instance_each_time(heard):
    class Counting(Listener, event=OrderShipped):
        def __init__(self):
            self.count = 0

        def handle(self, event, clock=Inject(lambda: "noon")):
            self.count += 1
            heard.append((self.count, clock))

    event(OrderShipped(1))
    event(OrderShipped(2))
    assert heard == [(1, "noon"), (1, "noon")]
    assert Counting.job_class is None


def test_an_async_listener_is_awaited(heard):
    @listen(OrderShipped)
    async def hears(given):
        heard.append(given.order)
        return "sent"

    assert event(OrderShipped(3)) == ["sent"]
    assert heard == [3]


def test_coroutines_fire_events_too():
    @listen(OrderShipped)
    async def hears(given):
        return given.order

    assert async_to_sync(aevent)(OrderShipped(3)) == [3]
    assert async_to_sync(auntil)(OrderShipped(4)) == 4


class Dispatcher:
    """A subscriber that calls listen()."""

    heard = []

    def subscribe(self, events):
        events.listen(OrderShipped, self.on_shipped)
        events.listen("shop.*", "on_any")

    def on_shipped(self, event):
        self.heard.append(("shipped", event.order))

    def on_any(self, event):
        self.heard.append(("any", event.order))


class Table:
    """A subscriber that returns a dict."""

    heard = []

    def subscribe(self, events):
        return {OrderShipped: ["one", "two"], OrderLost: "two"}

    def one(self, event):
        self.heard.append(("one", event.order))

    def two(self, event):
        self.heard.append(("two", event.order))


def test_a_subscriber_says_which_methods_listen():
    subscribe(Dispatcher)
    event(OrderShipped(1))
    event(OrderLost(2))
    assert Dispatcher.heard == [("shipped", 1), ("any", 1), ("any", 2)]


def test_a_subscriber_may_return_a_dict():
    subscribe(Table)
    subscribe(Table)  # never twice
    event(OrderShipped(1))
    event(OrderLost(2))
    assert Table.heard == [("one", 1), ("two", 1), ("two", 2)]


class Inheriting(Table):
    """Has its methods from another subscriber."""


def test_subscribers_that_share_a_method_both_listen():
    Table.heard.clear()
    subscribe(Table)
    subscribe(Inheriting)
    event(OrderLost(2))
    assert Table.heard == [("two", 2), ("two", 2)]
    assert forget(Inheriting.two) == 4
    assert event(OrderLost(2)) == []


class Counter:
    """An object whose method listens."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, given):
        return self.answer

    def hears(self, given):
        return self.answer


def test_listeners_that_differ_only_in_what_they_hold_are_several(heard):
    for number in range(2):
        listen(OrderShipped)(lambda given, number=number: number)
    counters = [Counter("a"), Counter("b")]
    for counter in (*counters, *counters):
        listen(OrderShipped)(counter.hears)
    listen(OrderShipped)(heard.append)
    for letter in "cd":
        listening_class(letter)
    assert event(OrderShipped(1)) == [0, 1, "a", "b", None, "c", "d"]
    assert heard == [OrderShipped(1)]
    assert forget(counters[0].hears) == 1


def listening_class(answer):
    class Made(Listener, event=OrderShipped):
        def handle(self, event):
            return answer

    return Made


def test_what_has_no_name_cannot_listen():
    for nameless in (partial(print, "shipped"), Counter(1)):
        with pytest.raises(InvalidJob, match="Write a function that calls it"):
            listen(OrderShipped)(nameless)
    with pytest.raises(InvalidJob, match="the object of this method"):
        listen(OrderShipped, queued=True)(Counter(1).hears)


def test_a_listener_that_is_added_while_others_are_looked_for_is_heard(heard, monkeypatch):
    listen("*")(saying(heard, "first"))
    seen = registry._look

    def look(kind):
        found = seen(kind)
        monkeypatch.undo()
        listen(OrderShipped)(saying(heard, "second"))
        return found

    monkeypatch.setattr(registry, "_look", look)
    event(OrderShipped(1))
    event(OrderShipped(2))
    assert heard == [("first", 1), ("second", 2), ("first", 2)]


def test_an_event_may_be_frozen_and_have_keywords_only():
    class Frozen(Event, name="shop.Frozen", frozen=True, kw_only=True):
        order: int

    class Below(Frozen, name="shop.Below"):
        via: str

    assert hash(Frozen(order=1)) == hash(Frozen(order=1))
    with pytest.raises(FrozenInstanceError):
        Below("post", order=1).order = 2
    with pytest.raises(TypeError):
        Frozen(1)


def test_a_forgotten_listener_hears_nothing(heard):
    listener = saying(heard, "gone")
    listen(OrderShipped, "shop.*")(listener)
    assert forget(listener) == 2
    assert event(OrderShipped(1)) == []


@pytest.mark.parametrize("given", [OrderShipped, "shop.OrderShipped", None])
def test_what_is_no_event_is_refused(given):
    with pytest.raises(TypeError, match=r"is a class|is no event"):
        event(given)


def test_what_cannot_be_listened_to_is_refused():
    with pytest.raises(InvalidJob, match="neither a class of events nor a pattern"):
        listen(int)(lambda given: None)
    with pytest.raises(InvalidJob, match="says of no event"):
        listen()(lambda given: None)
    with pytest.raises(InvalidJob, match="with queued=False there is none"):
        listen(OrderShipped, queued=False, queue="mail")(lambda given: None)
    with pytest.raises(InvalidJob, match="queued=True"):
        listen(OrderShipped, should_queue=bool)(lambda given: None)
    with pytest.raises(InvalidJob, match="has no method 'missing'"):
        subscribe(type("Broken", (), {"subscribe": lambda self, events: {OrderLost: "missing"}}))
