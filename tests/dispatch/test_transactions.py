"""AFTER_COMMIT: no worker sees a job whose transaction has not committed.

`memory` is a store that is no database, `database` the project's own, `apart` another alias.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.db.models.signals import post_save
from django.test import TestCase

from djqueue import dispatch_many, queues
from djqueue.errors import QueueError
from djqueue.models import QueuedJob
from tests.app.models import Note
from tests.dispatch.jobs import AfterCommit, NoteText, Write, ran
from tests.dispatch.memory import MemoryDriver

everywhere = pytest.mark.django_db(transaction=True, databases=["default", "queue", "other"])
pytestmark = everywhere


class Rollback(Exception):
    """Leaves an atomic block."""


@contextmanager
def rolled_back(alias="default"):
    """A transaction, or a savepoint inside one, that ends with an error."""
    with suppress(Rollback), transaction.atomic(alias):
        yield
        raise Rollback


def on(connection, **options):
    return Write().using(connection=connection, **options)


def rows(alias="default"):
    return QueuedJob.objects.using(alias).count()


# -- another store ----------------------------------------------------------------------------


def test_outside_a_transaction_it_is_sent_at_once(memory):
    assert on("memory").dispatch().created is True
    assert len(memory) == 1


def test_it_is_sent_when_the_transaction_commits(memory):
    with transaction.atomic():
        dispatched = on("memory").dispatch()
        assert (memory, dispatched.created, dispatched.status) == ([], None, "unknown")
    assert [job.id for job in memory] == [dispatched.id]
    assert (dispatched.created, dispatched.status) == (True, "waiting")


def test_it_is_never_sent_when_the_transaction_rolls_back(memory):
    with rolled_back():
        dispatched = on("memory").dispatch()
    assert (memory, dispatched.created) == ([], None)


def test_a_savepoint_that_rolls_back_drops_it(memory):
    with transaction.atomic():
        kept = on("memory").dispatch()
        with rolled_back():
            on("memory").dispatch()
    assert [job.id for job in memory] == [kept.id]


def test_a_savepoint_that_is_kept_waits_for_the_whole(memory):
    with transaction.atomic():
        with transaction.atomic():
            on("memory").dispatch()
        assert memory == []
    assert len(memory) == 1


def test_it_waits_for_every_alias(memory):
    with transaction.atomic("default"):
        with transaction.atomic("other"):
            on("memory").dispatch()
        assert memory == []
    assert len(memory) == 1


def test_the_order_in_which_aliases_commit_does_not_matter(memory):
    first, second = transaction.atomic("default"), transaction.atomic("other")
    first.__enter__()
    second.__enter__()
    on("memory").dispatch()
    first.__exit__(None, None, None)
    assert memory == []
    second.__exit__(None, None, None)
    assert len(memory) == 1


@pytest.mark.parametrize("failing", ["default", "other"])
def test_if_one_alias_rolls_back_nothing_is_sent(memory, failing):
    (other,) = {"default", "other"} - {failing}
    with transaction.atomic(other), rolled_back(failing):
        on("memory").dispatch()
    assert memory == []


def test_jobs_are_sent_in_the_order_of_dispatch(memory):
    with transaction.atomic():
        ids = [on("memory").dispatch().id for _ in range(5)]
    assert [job.id for job in memory] == ids


def test_after_commit_false_sends_at_once(memory):
    with transaction.atomic():
        assert on("memory", after_commit=False).dispatch().created is True
        assert len(memory) == 1


def test_the_connection_and_the_setting_may_say_so_too(memory, change):
    eager = MemoryDriver.stores.setdefault("eager", [])
    with transaction.atomic():
        on("eager").dispatch()
        assert len(eager) == 1
        on("eager", after_commit=True).dispatch()
        assert len(eager) == 1
        change(AFTER_COMMIT=False)
        on("memory").dispatch()
        assert len(memory) == 1
    assert len(eager) == 2


def test_an_error_after_the_commit_is_logged_and_stops_nothing_else(memory, caplog):
    with transaction.atomic():
        lost = on("memory", queue="down").dispatch()
        on("memory").dispatch()
        Note.objects.create(text="kept")
    assert len(memory) == 1
    assert Note.objects.count() == 1
    assert lost.created is None
    assert f"test.bus.Write {lost.id} could not be queued" in caplog.text
    assert "The store is down" in caplog.text


def test_an_error_at_once_reaches_the_caller_and_rolls_back():
    def order():
        Note.objects.create(text="x")
        on("memory", queue="down", after_commit=False).dispatch()

    with pytest.raises(QueueError, match="The store is down"):
        transaction.atomic(order)()
    assert Note.objects.count() == 0


def test_cancelled_before_the_commit_it_is_not_sent(memory):
    with transaction.atomic():
        dispatched = on("memory").dispatch()
        assert dispatched.cancel() is True
    assert memory == []
    assert dispatched.cancel() is False


def test_cancelled_after_the_commit_it_is_removed_from_its_store(memory):
    with transaction.atomic():
        dispatched = on("memory").dispatch()
    assert dispatched.cancel() is True
    assert memory == []


# -- the database -----------------------------------------------------------------------------


def test_on_the_database_the_row_is_part_of_the_transaction():
    with transaction.atomic():
        dispatched = on("database").dispatch()
        assert (rows(), dispatched.created, dispatched.status) == (1, True, "waiting")
    assert rows() == 1
    with rolled_back():
        gone = on("database").dispatch()
    assert (rows(), gone.status) == (1, "unknown")


def test_on_the_database_a_savepoint_takes_its_rows_along():
    with transaction.atomic():
        on("database").dispatch()
        with rolled_back():
            on("database").dispatch()
    assert rows() == 1


def test_on_the_database_after_commit_false_means_nothing():
    with rolled_back():
        on("database", after_commit=False).dispatch()
    assert rows() == 0


def test_a_row_waits_for_another_aliass_transaction():
    with transaction.atomic("other"):
        on("database").dispatch()
        assert rows() == 0
    assert rows() == 1


def test_a_row_waits_for_both_if_its_own_alias_is_not_the_only_one():
    with transaction.atomic("default"):
        with transaction.atomic("other"):
            on("database").dispatch()
            assert rows() == 0
        assert rows() == 0
    assert rows() == 1
    with transaction.atomic("other"), rolled_back("default"):
        on("database").dispatch()
    assert rows() == 1


def test_a_queue_database_of_its_own_waits_for_the_projects():
    with transaction.atomic():
        on("apart").dispatch()
        assert rows("queue") == 0
    assert rows("queue") == 1


# -- transactions managed by hand -------------------------------------------------------------


@pytest.fixture
def by_hand():
    """Autocommit is off on the default database."""
    transaction.set_autocommit(False)
    yield
    transaction.rollback()
    transaction.set_autocommit(True)


def test_by_hand_the_row_is_part_of_the_transaction(by_hand):
    on("database").dispatch()
    transaction.rollback()
    assert rows() == 0
    on("database").dispatch()
    transaction.commit()
    assert rows() == 1


def test_by_hand_another_store_cannot_wait_and_says_so(by_hand, memory):
    with pytest.raises(QueueError, match=r"autocommit is off.*Nothing\s+was queued"):
        on("memory").dispatch()
    on("memory", after_commit=False).dispatch()
    assert len(memory) == 1


def test_an_atomic_block_inside_is_waited_for(by_hand, memory):
    with transaction.atomic():
        on("memory").dispatch()
        assert memory == []


# -- sync -------------------------------------------------------------------------------------


def test_sync_runs_at_once_in_a_transaction():
    with transaction.atomic():
        on("sync").dispatch()
        assert ran == [""]


def test_sync_waits_if_the_job_says_so():
    with transaction.atomic():
        AfterCommit().dispatch()
        assert ran == []
        on("sync", after_commit=True).dispatch()
        assert ran == []
    assert ran == ["committed", ""]


# -- Django's habits --------------------------------------------------------------------------


@pytest.fixture
def on_save():
    """Dispatch a job about each note that is saved."""

    def saved(instance, raw, **kwargs):
        if not raw:
            NoteText(instance).using(connection="memory").dispatch()

    post_save.connect(saved, sender=Note)
    yield
    post_save.disconnect(saved, sender=Note)


def test_a_post_save_receiver_dispatches_after_the_commit(on_save, memory):
    with transaction.atomic():
        note = Note.objects.create(text="x")
        assert memory == []
    assert json.loads(memory[0].payload)["arguments"]["note"]["k"] == note.pk
    Note.objects.create(text="y")
    assert len(memory) == 2


def test_fixtures_tell_receivers_that_they_are_raw(on_save, memory, tmp_path):
    fixture = tmp_path / "notes.json"
    fixture.write_text('[{"model": "app.note", "pk": 1, "fields": {"text": "x"}}]')
    call_command("loaddata", fixture, verbosity=0)
    assert Note.objects.count() == 1
    assert memory == []


def test_outside_any_transaction_no_database_is_opened(memory, monkeypatch):
    for alias in connections:
        connections[alias].close()
    on("memory").dispatch()
    assert all(connections[alias].connection is None for alias in connections)


class InATestCase(TestCase):
    """The transactions that wrap a test never commit, so they do not count."""

    databases = {"default", "other"}

    def setUp(self):
        self.memory = MemoryDriver.stores.setdefault("memory", [])

    def test_jobs_go_out_at_once(self):
        on("memory").dispatch()
        assert len(self.memory) == 1

    def test_a_block_of_the_tests_own_counts(self):
        with self.captureOnCommitCallbacks(execute=True):
            with transaction.atomic():
                on("memory").dispatch()
            assert self.memory == []
        assert len(self.memory) == 1

    def test_rows_are_rolled_back_with_the_test(self):
        on("database").dispatch()
        with transaction.atomic():
            on("database").dispatch()
        assert rows() == 2


# -- many at once -----------------------------------------------------------------------------


def test_many_wait_for_the_commit_together(memory):
    with transaction.atomic():
        assert dispatch_many(on("memory") for _ in range(2500)) == 2500
        assert memory == []
    assert len(memory) == 2500
    assert MemoryDriver.pushes == [2500]


def test_more_than_ten_thousand_cannot_wait(memory):
    with transaction.atomic(), pytest.raises(QueueError, match="more than 10,000 jobs"):
        dispatch_many(on("memory") for _ in range(10_001))
    assert memory == []


def test_many_rows_are_part_of_the_transaction():
    with rolled_back():
        dispatch_many(on("database") for _ in range(1500))
        assert rows() == 1500
    assert rows() == 0


def test_the_jobs_may_come_from_a_query_on_the_same_connection():
    Note.objects.bulk_create(Note(text=str(number)) for number in range(2100))
    with transaction.atomic():
        notes = Note.objects.order_by("pk").iterator(chunk_size=100)
        assert dispatch_many(NoteText(note) for note in notes) == 2100
    assert queues["database"].size() == 2100
