"""Ends whose store or database does not answer, or answers at the second try: nothing runs."""

from __future__ import annotations

import pytest

from djqueue.drivers.base import Reservation
from djqueue.errors import QueueUnavailable
from djqueue.finish.finish import Finish, NotRecordedError, ask_directly
from djqueue.models import FailedJob
from djqueue.runner.decision import DONE, FAIL, Ending
from djqueue.runner.outcome import End, ErrorReport, Outcome
from tests.worker.empty import Empty

pytestmark = [pytest.mark.django_db, pytest.mark.anywhere]

IDS = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
LOST, REMOVED = (Reservation(id, "default", "app.boom", "{}", 1, 0, "", None) for id in IDS)
SUCCESS = Outcome(Ending.RETURNED, DONE, awaited=True)
FAILURE = Outcome(Ending.RAISED, FAIL, ErrorReport("ValueError", "no", ""), awaited=True)


class Removing(Empty):
    """Has removed some jobs, or has given them to other workers."""

    def __init__(self, *ids):
        self.there = set(ids)

    def exchange(self, settlements, queues, limit):
        ids = {settlement.reservation.id for settlement in settlements}
        lost = ids - self.there
        self.there -= ids
        return super().exchange(settlements, queues, limit)._replace(lost=lost)


class FailsAt:
    """Asks a database, which does not answer the question of that number."""

    def __init__(self, number):
        self.left = number

    def __call__(self, alias, question):
        self.left -= 1
        if not self.left:
            raise QueueUnavailable("It is away.")
        return ask_directly(alias, question)


def test_a_row_is_kept_while_that_of_another_job_cannot_be_deleted():
    finish = Finish(Removing(REMOVED.id), "store", FailsAt(2))
    for reservation in (LOST, REMOVED):
        finish.add(reservation, FAILURE)
    with pytest.raises(NotRecordedError):
        finish.store_followed()
    assert not finish.take_stored()
    finish.store_followed()
    assert finish.take_stored() == [End(REMOVED, FAILURE)]
    assert [str(row.uuid) for row in FailedJob.objects.all()] == [REMOVED.id]
    assert finish.is_done
