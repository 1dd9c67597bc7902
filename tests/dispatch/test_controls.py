"""Pauses and restarts, as every process sees them."""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from djqueue import queues
from djqueue.composition.follower import StopRequests
from djqueue.dispatch import controls
from djqueue.drivers.base import Reservation
from djqueue.errors import UnknownConnection
from djqueue.finish.deaths import KILLED
from djqueue.models import Control
from djqueue.runner.outcome import End

pytestmark = pytest.mark.django_db


def test_a_queue_is_paused_until_it_is_resumed():
    assert not controls.is_paused("memory", "mail")
    controls.pause("memory", "mail", reason="deploy", by="ann")
    assert controls.is_paused("memory", "mail")
    assert not controls.is_paused("memory", "other")
    assert not controls.is_paused("sync", "mail")
    assert controls.paused_queues("memory") == {"mail"}
    row = Control.objects.get()
    assert (row.scope, row.reason, row.by, row.until) == (
        "pause:memory:mail",
        "deploy",
        "ann",
        None,
    )
    assert controls.resume("memory", "mail") == 1
    assert controls.resume("memory", "mail") == 0
    assert controls.paused_queues("memory") == set()


def test_without_names_the_default_is_meant_where_one_is_missing():
    controls.pause("memory")
    assert controls.paused_queues("memory") == {"kept"}
    controls.pause(queue="mail")
    assert controls.paused_queues("database") == {"mail"}


def test_everything_can_be_paused():
    controls.pause("memory", "mail")
    controls.pause()
    assert controls.is_paused("database", "any")
    assert controls.paused_queues("memory") == {"mail", controls.EVERY_QUEUE}
    assert controls.resume("memory", "mail") == 1
    assert controls.is_paused("memory", "mail")
    controls.pause("memory", "mail")
    assert controls.resume() == 2
    assert not controls.is_paused("memory", "mail")


@pytest.mark.parametrize("span", [timedelta(hours=1), 3600])
def test_a_pause_may_end_by_itself(span):
    controls.pause("memory", "mail", for_=span)
    assert controls.is_paused("memory", "mail")
    row = Control.objects.get()
    assert (row.until - row.updated_at).total_seconds() == pytest.approx(3600, abs=1)
    controls.pause("memory", "mail", for_=0.05)
    time.sleep(0.1)
    assert not controls.is_paused("memory", "mail")
    assert controls.paused_queues("memory") == set()


def test_a_connection_pauses_its_own_queues():
    connection = queues["memory"]
    connection.pause("mail", reason="deploy")
    connection.pause(for_=timedelta(minutes=5))
    assert (connection.is_paused("mail"), connection.is_paused()) == (True, True)
    assert (connection.resume("mail"), connection.resume("mail")) == (True, False)
    assert connection.is_paused()


@pytest.mark.django_db(databases=["default", "queue"])
def test_a_request_to_stop_goes_with_the_transaction_of_what_follows_from_the_end(settings):
    database = {"DRIVER": "database", "DATABASE": "queue"}
    settings.DJQUEUE = {"CONNECTIONS": {"database": database}, "BATCHES": {"DATABASE": "default"}}
    controls.request_stop("a")
    controls.pause("database")
    assert controls.stops() == {"a"}
    end = End(Reservation("a", "default", "test", "{}", 1, 0, "", None), KILLED)
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(using="default"):
        StopRequests().within([end], "default")
        assert controls.stops_left(["a"]) == set()
        raise ZeroDivisionError
    assert controls.stops_left(["a"]) == {"a"}
    assert controls.is_paused("database", "default")


def test_an_unknown_connection_is_refused():
    with pytest.raises(UnknownConnection):
        controls.pause("nowhere", "mail")


def test_a_restart_raises_the_generation():
    before = controls.read("database").generation
    controls.request_restart()
    controls.request_restart(by="ann")
    assert (before, controls.read("database")[1]) == (0, 2)


def test_a_request_to_one_worker_is_no_other_s_business():
    seventh = controls.worker_key("default", 7)
    assert controls.request_end(seventh, by="ann")
    assert not controls.request_end(seventh, by="bert")
    assert controls.read("database", seventh).must_end
    assert not controls.read("database", controls.worker_key("default", 70)).must_end
    assert not controls.read("database", controls.worker_key("queue", 7)).must_end
    assert not controls.read("database").must_end
    Control.objects.update(until=Now() - timedelta(seconds=1))
    assert not controls.read("database", seventh).must_end
    assert controls.request_end(seventh, by="bert")
    assert controls.read("database", seventh) == (set(), 0, True, frozenset())
    assert Control.objects.get().by == "bert"


def test_queue_restart_asks_every_worker():
    call_command("queue_restart")
    assert controls.read("database", "web-1:7").generation == 1


def test_a_request_that_another_made_and_a_worker_met_at_the_same_moment_is_no_error(monkeypatch):
    """The insert finds that row in its way, and the look after it finds it gone."""

    def get(self, **conditions):
        raise Control.DoesNotExist

    controls.request_stop("a", by="ann")
    with monkeypatch.context() as patch:
        patch.setattr(QuerySet, "get", get)
        assert not controls.request_stop("a", by="ben")
    assert controls.stops() == {"a"}
