"""What Laravel's events and listeners do, behaviour by behaviour, and where each is tested.

What djqueue does otherwise is a table of ``docs/coming-from-laravel.md``, with its reasons.
"""

import ast
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from djqueue import current_job
from djqueue.events import Listener, event, listen, listeners_of
from djqueue.models import FailedJob, QueuedJob
from djqueue.testing import work
from tests.app.models import Note
from tests.docs.markdown import ROOT, section
from tests.events.happenings import NoteWritten, OrderLost, OrderShipped

pytestmark = pytest.mark.django_db

TESTS = {
    "events/test_firing.py": {
        "event() returns all answers": "an_event_returns_the_answers_of_its_listeners",
        "until() returns the first answer": "until_returns_the_first_answer_that_is_not_none",
        "until() stops there": "until_returns_the_first_answer_that_is_not_none",
        "only False stops the listeners behind": "only_false_stops_the_rest",
        "an exception stops them as well": "a_listener_that_raises_stops_the_rest",
        "events by the type of the first parameter": "the_annotation_says_of_which_events",
        "a union is several events": "the_annotation_says_of_which_events",
        "a class with handle()": "a_class_listens_with_a_new_instance_each_time",
        "wildcards": "patterns_match_the_names_of_events",
        "listeners of base classes": "exact_listeners_come_before_patterns_and_bases",
        "their order": "exact_listeners_come_before_patterns_and_bases",
        "forget": "a_forgotten_listener_hears_nothing",
        "a subscriber that listens": "a_subscriber_says_which_methods_listen",
        "a subscriber that returns a map": "a_subscriber_may_return_a_dict",
    },
    "events/test_laravel.py": {
        "a listener of several events": "one_listener_hears_several_events",
        "listeners can be listed": "the_listeners_of_an_event_are_listed",
        "onQueue, onConnection, delay": "options_of_a_listener_are_those_of_a_job",
        "viaConnection": "a_class_chooses_the_connection",
        "tries, timeout and other limits": "options_of_a_listener_are_those_of_a_job",
        "backoff, retryUntil, middleware": "methods_take_the_event",
        "deleteWhenMissingModels": "a_listener_whose_model_is_gone_is_dropped",
        "unique": "a_unique_listener_is_queued_once_for_each_id",
        "debounce": "a_debounced_listener_hears_the_last_event_alone",
        "FIFO group": "options_of_a_listener_are_those_of_a_job",
        "the event is cloned": "a_queued_listener_hears_the_event_as_it_was_fired",
    },
    "commands/test_events.py": {
        "event:list": "events_are_listed_with_their_listeners",
        "make:event": "an_event_is_written",
        "make:listener": "a_listener_is_written",
    },
    "test_discovery.py": {
        "discovery": "modules_jobs_and_listeners_are_imported_and_no_others",
    },
    "events/test_queued.py": {
        "a queued class": "a_class_chooses_for_each_event",
        "a queued closure": "a_queued_function_runs_as_a_job",
        "viaQueue and withDelay": "a_class_chooses_for_each_event",
        "shouldQueue": "a_class_chooses_for_each_event",
        "encryption": "an_encrypted_listener_carries_its_event_as_a_token",
        "failed(event, exception)": "failed_is_told_of_the_event",
        "each listener is a job of its own": "each_listener_is_a_job_of_its_own",
        "ShouldQueueAfterCommit": "a_rollback_drops_the_job",
    },
    "events/test_waiting.py": {
        "ShouldDispatchAfterCommit": "an_event_waits_for_the_commit",
        "ShouldHandleEventsAfterCommit": "one_listener_may_wait_for_the_commit",
        "a rollback drops the event": "a_rollback_drops_it",
        "defer": "events_wait_for_the_end_of_the_block",
        "defer of some events": "only_some_wait",
        "an exception drops what was deferred": "an_exception_drops_them",
        "the inner one of nested defers first": "a_block_inside_another_fires_its_own_at_its_end",
    },
    "admin/browser/test_shop.py": {
        "a read model that a queued listener updates": "an_order_arrives_on_the_page_of_customers",
    },
    "events/test_fake.py": {
        "fake, assertDispatched": "events_are_recorded_and_reach_nobody",
        "assertListening": "listening_is_asserted",
    },
}
"""Behaviours by the file with their tests, and the test of each."""

OTHERWISE = [
    "registered twice",
    "Event::push()",
    "returns what `fn` returns",
    "dispatchIf",
    "the name and the data",
    "name with data",
    "__invoke",
    "Class@method",
    "interfaces",
    "catch(",
    "event:cache",
    "EventServiceProvider",
    "ShouldBroadcast",
]
"""What stands in the table of what is done otherwise."""


@pytest.mark.parametrize("path", TESTS)
def test_each_behaviour_has_a_test(path):
    tree = ast.parse((ROOT / "tests" / path).read_text())
    there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert {f"test_{name}" for name in TESTS[path].values()} <= there


def test_what_is_done_otherwise_is_told_with_the_reason():
    page = ROOT / "docs" / "coming-from-laravel.md"
    lines = re.findall(r"^\| (.*) \|$", section(page, "Events"), re.MULTILINE)[1:]
    rows = [line.split(" | ") for line in lines]
    assert all(len(row) == 3 and all(row) for row in rows)
    assert [[word for word in OTHERWISE if word in row[0]] for row in rows] == [
        [word] for word in OTHERWISE
    ]


def test_one_listener_hears_several_events(heard):
    listen(OrderShipped, OrderLost)(lambda given: heard.append(type(given)))
    event(OrderShipped(1))
    event(OrderLost(1))
    assert heard == [OrderShipped, OrderLost]


def test_the_listeners_of_an_event_are_listed():
    assert listeners_of(OrderShipped) == ()

    @listen(OrderShipped)
    def hears(given): ...

    [only] = listeners_of(OrderShipped)
    assert only.listener is hears


OPTIONS = {
    "connection": "database",
    "queue": "mail",
    "delay": 5,
    "priority": 3,
    "tries": 4,
    "max_exceptions": 2,
    "backoff": (1, 2),
    "timeout": 9,
    "fail_on_timeout": True,
    "delete_when_missing": True,
    "encrypted": True,
    "unique": True,
    "unique_for": 60,
    "store_result": True,
    "message_group": "orders",
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", ["function", "class"])
def test_options_of_a_listener_are_those_of_a_job(kind, option):
    given = {option: OPTIONS[option], "name": f"shop.{kind}_{option}"}
    if option == "unique_for":
        given["unique"] = True
    if kind == "function":
        listen(OrderShipped, **given)(lambda event: None)
        [only] = listeners_of(OrderShipped)
        made = only.job_class
    else:

        class Hears(Listener, event=OrderShipped, **given):
            def handle(self, event): ...

        made = Hears.job_class
    assert getattr(made._spec.options, option) == OPTIONS[option]


def test_methods_take_the_event(heard):
    def around(job, call):
        heard.append("around")
        return call(job)

    class Hears(Listener, event=OrderShipped, name="shop.Hears", tries=5):
        def handle(self, event):
            heard.append(current_job().attempt)
            raise RuntimeError("again")

        def backoff(self, event):
            return [event.order * 100]

        def retry_until(self, event):
            return timezone.now() + timedelta(days=event.order)

        def middleware(self, event):
            return [around] if event.order == 7 else []

    event(OrderShipped(7))
    before = timezone.now()
    assert work() == 1
    assert heard == ["around", 1]
    row = QueuedJob.objects.get()
    assert 650 < (row.available_at - before).total_seconds() < 750
    assert "retry_until" in row.payload


def test_a_class_chooses_the_connection(heard):
    class Hears(Listener, event=OrderShipped, name="shop.ChoosesConnection", queue="mail"):
        def handle(self, event):
            heard.append(event.order)

        def connection_for(self, event):
            return "sync" if event.order == 1 else "database"

    event(OrderShipped(1))
    event(OrderShipped(2))
    assert heard == [1]
    assert QueuedJob.objects.count() == 1


def test_a_listener_whose_model_is_gone_is_dropped(heard):
    listen(NoteWritten, delete_when_missing=True, name="notes.dropped")(
        lambda given: heard.append(given)
    )
    note = Note.objects.create(text="here")
    event(NoteWritten(note))
    note.delete()
    assert work() == 1
    assert heard == []
    assert not QueuedJob.objects.exists()
    assert not FailedJob.objects.exists()


def test_a_unique_listener_is_queued_once_for_each_id():
    class Hears(Listener, event=OrderShipped, unique=True, name="shop.UniqueListener"):
        def handle(self, event): ...

        def unique_id(self, event):
            return event.order

    for order, via in ((1, "post"), (1, "ship"), (2, "post")):
        event(OrderShipped(order, via))
    assert QueuedJob.objects.count() == 2


def test_a_debounced_listener_hears_the_last_event_alone(heard):
    class Hears(Listener, event=OrderShipped, debounce=30, name="shop.Debounced"):
        def handle(self, event):
            heard.append(event.via)

        def unique_id(self, event):
            return event.order

    for via in ("post", "ship", "train"):
        event(OrderShipped(1, via))
    work(delayed=True)
    assert heard == ["train"]


def test_a_queued_listener_hears_the_event_as_it_was_fired(heard):
    listen(OrderShipped, queued=True, name="shop.clone")(lambda given: heard.append(given.via))
    given = OrderShipped(1, "post")
    event(given)
    given.via = "changed"
    work()
    assert heard == ["post"]
