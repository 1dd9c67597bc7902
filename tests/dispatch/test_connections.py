"""``queues``: the configured connections."""

from __future__ import annotations

import threading

import pytest
from django.test import override_settings

from djqueue import queues
from djqueue.dispatch.connections import QueueConnections
from djqueue.errors import QueueError, UnknownConnection
from tests.dispatch.jobs import Optioned, Write
from tests.dispatch.memory import MemoryDriver


def test_a_connection_is_found_by_its_name():
    assert queues["memory"].name == "memory"
    assert queues["memory"] is queues["memory"]
    assert isinstance(queues["memory"].driver, MemoryDriver)
    assert queues[None].name == "database"
    assert "memory" in queues
    assert "nowhere" not in queues
    assert list(queues)[:2] == ["database", "apart"]


def test_an_unknown_one_is_refused_with_those_that_are_known():
    with pytest.raises(UnknownConnection, match=r"memory.*Did you mean"):
        queues["memori"]


def test_each_thread_has_a_driver_of_its_own():
    found = []
    thread = threading.Thread(target=lambda: found.append(queues["memory"].driver))
    thread.start()
    thread.join()
    assert found[0] is not queues["memory"].driver


def test_settings_are_followed():
    before = queues["memory"]
    changed = {"CONNECTIONS": {"memory": {"DRIVER": "null"}}, "DEFAULT": "memory"}
    with override_settings(DJQUEUE=changed):
        assert queues["memory"] is not before
        assert "database" not in queues


def test_all_that_was_made_is_closed(monkeypatch):
    handler = QueueConnections()
    closed = []
    monkeypatch.setattr(MemoryDriver, "close", lambda self: closed.append(self))
    driver = handler["memory"].driver
    handler.close_all()
    assert closed == [driver]


def test_counts_and_size(memory):
    connection = queues["memory"]
    assert connection.is_empty()
    Write().dispatch()
    Write().using(delay=9).dispatch()
    Optioned(1).dispatch()
    assert connection.counts()[:3] == (1, 1, None)
    assert (connection.size(), connection.size("of-class"), connection.size("x")) == (2, 1, 0)
    assert not connection.is_empty("kept")


def test_a_name_that_no_queue_can_have_is_refused():
    with pytest.raises(QueueError, match="'a:b' is not a queue name"):
        queues["memory"].counts("a:b")


@pytest.mark.django_db
def test_the_database_can_be_looked_into():
    connection = queues["database"]
    high = Write("a").using(connection="database", priority=9)
    first, second = Write("b").using(connection="database").dispatch(), high.dispatch()
    later = high.using(delay=60).dispatch()
    assert [job.id for job in connection.peek()] == [second.id, first.id]
    assert [job.id for job in connection.peek(state="delayed")] == [later.id]
    assert [job.id for job in connection.peek("default", limit=1)] == [second.id]
    assert connection.counts().waiting == 2
    assert connection.remove("default", [first.id]) == 1
    assert connection.clear() == 2
    assert connection.is_empty()
    with pytest.raises(ValueError, match="nonsense"):
        connection.peek(state="nonsense")


def test_every_mistake_is_a_queue_error(settings):
    with pytest.raises(QueueError, match="is not a state of a job"):
        queues["database"].peek(state="wating")
    with pytest.raises(QueueError, match="is not the id of a dispatched job"):
        queues["database"].remove(None, ["xx"])
