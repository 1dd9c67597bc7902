"""The rows of jobs that have ended, for stores without guard rows: each end is noted once."""

import threading
import uuid

import pytest
from django.db import connection, transaction

from djqueue.drivers.guard.ends import write_ends
from djqueue.drivers.guard.table import Table
from djqueue.models import Run
from djqueue.payload.ids import new_push_id
from djqueue.payload.links import Links, with_links
from djqueue.payload.payload import Limits, encode, encode_head

pytestmark = pytest.mark.django_db(transaction=True)


def payload(id, push=""):
    text = encode(encode_head("app.record", Limits()), id, 1.0, {})
    return with_links(text, Links(once=True, push=push))


def write(payloads):
    with transaction.atomic():
        return write_ends("default", payloads)


def test_an_end_is_noted_once_for_each_push():
    first, second, third = (str(uuid.uuid4()) for _ in range(3))
    push = new_push_id()
    assert write({id: payload(id) for id in (first, second)}) == {first, second}
    assert write({id: payload(id) for id in (first, second, third)}) == {third}
    again = {first: payload(first, push), second: payload(second)}
    assert write(again) == {first}, "it was retried meanwhile"
    assert write(again) == set()
    assert set(Run.objects.values_list("ended", flat=True)) == {True}
    assert Run.objects.count() == 3


def test_of_two_that_note_the_same_ends_at_once_one_is_first():
    payloads = {id: payload(id) for id in (str(uuid.uuid4()) for _ in range(40))}
    first, together = [], threading.Barrier(2)

    def note():
        together.wait()
        first.extend(write(payloads))
        connection.close()

    threads = [threading.Thread(target=note) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(first) == sorted(payloads)


def test_a_row_that_appears_between_the_look_and_the_write_is_no_first_end(monkeypatch):
    taken, new = str(uuid.uuid4()), str(uuid.uuid4())
    write({taken: payload(taken)})
    monkeypatch.setattr(Table, "existing", lambda table, ids: [])
    assert write({id: payload(id) for id in (taken, new)}) == {new}
