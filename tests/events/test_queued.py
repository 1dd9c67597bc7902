"""Queued listeners: each is a job."""

import pytest
from django.db import transaction

from djqueue import Job, job, queues
from djqueue.errors import InvalidJob, InvalidPayload
from djqueue.events import Event, Listener, event, listen, subscribe
from djqueue.events.registry import listeners_of
from djqueue.models import FailedJob, QueuedJob
from djqueue.testing import work
from tests.app.models import Note
from tests.events.happenings import NoteWritten, OrderLost, OrderPlaced, OrderSent, OrderShipped

pytestmark = pytest.mark.django_db

heard = []


@pytest.fixture(autouse=True)
def _nothing_heard():
    heard.clear()


def test_a_queued_function_runs_as_a_job():
    @listen(OrderShipped, queued=True, queue="mail", tries=2, name="shop.send_note")
    def send_note(given):
        heard.append(given)

    assert event(OrderShipped(7)) == [None]
    assert heard == []
    row = QueuedJob.objects.get()
    assert (row.name, row.queue) == ("shop.send_note", "mail")
    work()
    assert heard == [OrderShipped(7)]
    send_note(OrderShipped(8))  # still a function
    assert len(heard) == 2


def test_each_listener_is_a_job_of_its_own():
    for number in range(3):
        name = f"hears_{number}"
        listen(OrderShipped, queued=True, name=f"shop.{name}")(_named(name))
    event(OrderShipped(1))
    assert QueuedJob.objects.count() == 3


def _named(name):
    def hears(given):
        heard.append(name)

    return hears


@pytest.fixture
def posting():
    """A class with all that a queued listener may say of each event."""

    class Posting(Listener, event=[OrderShipped, OrderLost], queue="post", name="shop.Posting"):
        def handle(self, event):
            heard.append(("handled", event.order))
            if event.order == 13:
                raise RuntimeError("no stamps")

        def failed(self, event, error):
            heard.append(("failed", event.order, str(error)))

        def should_queue(self, event):
            return event.order > 0

        def queue_for(self, event):
            return "express" if event.order > 100 else "post"

        def delay_for(self, event):
            return 60 if event.order == 50 else 0

        def tags(self, event):
            return [f"order-{event.order}"]

    return Posting


def test_a_class_chooses_for_each_event(posting):
    for order in (0, 1, 50, 101):
        event(OrderShipped(order))
    rows = {row.payload.partition("order-")[2][:3].strip('"]}'): row for row in rows_of_jobs()}
    assert {tag: row.queue for tag, row in rows.items()} == {
        "1": "post",
        "50": "post",
        "101": "express",
    }
    assert rows["50"].available_at > rows["1"].available_at


def rows_of_jobs():
    return QueuedJob.objects.order_by("pk")


def test_failed_is_told_of_the_event(posting):
    event(OrderLost(13))
    work()
    assert heard == [("handled", 13), ("failed", 13, "no stamps")]
    assert FailedJob.objects.get().name == "shop.Posting"


def test_its_errors_do_not_stop_the_others():
    @listen(OrderSent, queued=True, name="shop.breaks")
    def breaks(given):
        raise RuntimeError("later")

    listen(OrderSent)(lambda given: "here")
    assert event(OrderSent(-1)) == [None, "here"]


def test_a_model_travels_by_its_key():
    @listen(NoteWritten, queued=True, name="notes.index")
    def index(given):
        heard.append(given.note.text)

    note = Note.objects.create(text="first")
    event(NoteWritten(note))
    Note.objects.filter(pk=note.pk).update(text="second")
    work()
    assert heard == ["second"]


def test_a_pattern_hears_events_that_are_defined_later():
    @listen("late.*", queued=True, name="late.log")
    def log(given):
        heard.append(given)

    class First(Event, name="late.First"):
        number: int

    event(First(1))

    class Second(Event, name="late.Second"):
        number: int

    event(Second(2))
    work()
    assert heard == [First(1), Second(2)]


def test_a_payload_chooses_among_the_events_that_it_listens_to():
    @listen(OrderLost, OrderShipped, queued=True, name="shop.both")
    def both(given):
        heard.append(given)

    spec = next(each for each in listeners_of(OrderLost) if each.listener is both).job_class._spec
    stored = spec.encode(spec.job_class(OrderLost(1)))
    assert spec.load(stored).event == OrderLost(1)
    stored["event"]["t"] = "NoteWritten"
    with pytest.raises(InvalidPayload):
        spec.load(stored)


def test_a_single_event_is_not_read_as_another():
    @listen(OrderLost, queued=True, name="shop.lost")
    def lost(given):
        heard.append(given)

    spec = lost.job_class._spec
    stored = spec.encode(spec.job_class(OrderLost(1)))
    assert spec.load(stored).event == OrderLost(1)
    stored["event"]["t"] = "OrderFound"
    with pytest.raises(InvalidPayload, match="OrderFound"):
        spec.load(stored)


def test_a_listener_may_be_queued_for_several_events_with_options_of_each():
    @listen(OrderLost, queue="lost", name="shop.stacked")
    @listen(OrderPlaced, queue="placed", name="shop.stacked")
    def stacked(given):
        heard.append(given)

    event(OrderPlaced(1))
    event(OrderLost(2))
    assert [row.queue for row in rows_of_jobs()] == ["placed", "lost"]
    work()
    assert sorted(heard, key=lambda given: given.order) == [OrderPlaced(1), OrderLost(2)]


def test_a_queued_listener_without_a_stable_name_is_refused():
    with pytest.raises(InvalidJob, match="is a lambda or is defined in a function"):
        listen(OrderLost, queued=True)(lambda given: given)
    with pytest.raises(InvalidJob, match="is a lambda or is defined in a function"):
        listen(OrderLost, queued=True)(_named("local"))
    with pytest.raises(InvalidJob, match="is a lambda or is defined in a function"):

        class Local(Listener, event=OrderLost, queued=True):
            def handle(self, event): ...

    assert event(OrderLost(1)) == []


def test_two_queued_listeners_do_not_share_a_name():
    listen(OrderLost, queued=True, name="shop.shared")(_named("first"))
    with pytest.raises(InvalidJob, match=r"_named\.<locals>\.hears are called 'shop\.shared' too"):
        listen(OrderLost, queued=True, name="shop.shared")(_named("second"))
    event(OrderLost(1))
    work()
    assert heard == ["first"]


def test_a_queued_listener_may_be_imported_again():
    for _ in range(2):

        @listen(OrderLost, queued=True, name="shop.again")
        def again(given):
            heard.append(given)

    event(OrderLost(1))
    work()
    assert heard == [OrderLost(1)]


def test_a_job_may_listen():
    @listen(OrderShipped, should_queue=lambda given: given.order > 1)
    @job(queue="mail", name="shop.note")
    def note(given: OrderShipped):
        heard.append(given.order)

    event(OrderShipped(1))
    event(OrderShipped(-1))
    event(OrderShipped(2))
    assert [row.queue for row in rows_of_jobs() if row.name == "shop.note"] == ["mail"]


class Subscriber:
    """Whose methods are queued."""

    def subscribe(self, events):
        events.listen(OrderShipped, self.on_shipped, queue="mail", name="shop.on_shipped")

    def on_shipped(self, event):
        heard.append(("subscriber", event.order))


def test_the_method_of_a_subscriber_may_be_queued():
    subscribe(Subscriber)
    event(OrderShipped(-1))
    assert QueuedJob.objects.get().name == "shop.on_shipped"
    work()
    assert heard == [("subscriber", -1)]


def test_a_subclass_inherits_how_it_is_queued(posting):
    class Express(posting, event=OrderSent, queue="fast", name="shop.Express"):
        def queue_for(self, event):
            return "fast"

    event(OrderSent(1))
    assert sorted(row.queue for row in rows_of_jobs()) == ["fast", "post"]
    assert issubclass(Express.job_class, Job)


def test_a_base_without_handle_gives_its_options():
    class Base(Listener, queue="slow", tries=4):
        pass

    class Sends(Base, event=OrderSent, name="shop.Sends"):
        def handle(self, event): ...

    event(OrderSent(1))
    assert [(row.name, row.queue) for row in rows_of_jobs()] == [("shop.Sends", "slow")]
    assert Sends.job_class._spec.options.tries == 4


def test_a_subclass_may_run_at_once(posting):
    class AtOnce(posting, event=OrderSent, queued=False):
        pass

    event(OrderSent(2))
    assert AtOnce.job_class is None
    assert heard == [("handled", 2)]
    with pytest.raises(InvalidJob, match="queue is an option of a job"):

        class Wrong(posting, event=OrderSent, queued=False, queue="mail"):
            pass


def test_a_subclass_without_an_event_and_handle_listens_to_nothing(posting):
    class Nothing(posting):
        pass

    event(OrderLost(1))
    assert [row.name for row in rows_of_jobs()] == ["shop.Posting"]


@pytest.mark.django_db(transaction=True)
def test_a_rollback_drops_the_job(posting):
    with transaction.atomic():
        event(OrderShipped(1))
        transaction.set_rollback(True)
    assert queues["database"].is_empty()


@pytest.mark.parametrize("encrypted", [True, False])
def test_an_encrypted_listener_carries_its_event_as_a_token(encrypted):
    @listen(OrderShipped, queued=True, encrypted=encrypted, name="shop.note_secretly")
    def note_secretly(given):
        heard.append(given)

    event(OrderShipped(7, via="a secret way"))
    assert ("a secret way" in QueuedJob.objects.get().payload) is not encrypted
    work()
    assert heard == [OrderShipped(7, via="a secret way")]
