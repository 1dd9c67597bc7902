"""Cancelling and clearing in a transaction that is rolled back, where the jobs are in one database
and what follows from them in another.
"""

from __future__ import annotations

import pytest
from django.db import transaction

from djqueue import find, job, queues
from djqueue.errors import QueueError
from djqueue.models import JobResult, QueuedJob
from djqueue.testing import work

pytestmark = [
    pytest.mark.database,
    pytest.mark.django_db(transaction=True, databases=["default", "queue"]),
]
FAR = QueuedJob.objects.using("queue")


@job(name="removing.kept", store_result=True)
def kept(number: int) -> int:
    return number


@pytest.fixture(autouse=True)
def far(settings):
    """The jobs of connection ``far`` are in another database than their results."""
    settings.DJQUEUE = {
        "CONNECTIONS": {
            "database": {"DRIVER": "database"},
            "far": {"DRIVER": "database", "DATABASE": "queue"},
        }
    }
    yield
    FAR.all().delete()


def _roll_back(alias, act):
    with transaction.atomic(using=alias):
        act()
        transaction.set_rollback(True, using=alias)


@pytest.mark.parametrize("alias", ["queue", "default"])
def test_a_cancel_that_is_rolled_back_leaves_the_job_as_it_was(alias):
    dispatched = kept.using(connection="far").dispatch(7)
    _roll_back(alias, lambda: find(dispatched.id).cancel())
    assert FAR.count() == 1
    assert JobResult.objects.get().status == "waiting"
    work("far")
    assert dispatched.result() == 7


@pytest.mark.parametrize("alias", ["queue", "default"])
def test_a_cancel_is_done_at_the_commit(alias):
    dispatched = kept.using(connection="far").dispatch(7)
    with transaction.atomic(using=alias):
        assert find(dispatched.id).cancel()
        assert FAR.count() == 1
    assert FAR.count() == 0
    assert JobResult.objects.get().status == "cancelled"


def test_a_job_that_was_moved_before_the_commit_is_cancelled_where_it_is():
    dispatched = kept.using(connection="far").dispatch(7)
    with transaction.atomic():
        assert find(dispatched.id).cancel()
        FAR.update(queue="slow")
    assert FAR.count() == 0
    assert JobResult.objects.get().status == "cancelled"


def test_in_a_transaction_by_hand_it_says_what_to_do():
    dispatched = kept.using(connection="far").dispatch(7)
    transaction.set_autocommit(False)
    try:
        JobResult.objects.count()
        with pytest.raises(QueueError, match="cancel the job after the commit"):
            find(dispatched.id).cancel()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert FAR.count() == 1


@pytest.mark.parametrize("alias", ["queue", "default"])
def test_a_queue_is_cleared_outside_of_transactions(alias):
    dispatched = kept.using(connection="far").dispatch(7)
    with (
        pytest.raises(QueueError, match="Clear it outside of the transaction"),
        transaction.atomic(using=alias),
    ):
        queues["far"].clear()
    assert FAR.count() == 1
    assert JobResult.objects.get().status == "waiting"
    assert queues["far"].clear() == 1
    assert find(dispatched.id).status == "cancelled"
