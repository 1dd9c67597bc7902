"""Ends whose store or database does not answer, or answers at the second try: nothing runs."""

from __future__ import annotations

import pytest

from djqueue.drivers.base import Reservation
from djqueue.errors import QueueUnavailable
from djqueue.finish.finish import Finish
from djqueue.finish.followed import NotRecordedError
from djqueue.finish.ports import ask_directly
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
        finish.add([End(reservation, FAILURE)])
    with pytest.raises(NotRecordedError):
        finish.store_followed()
    assert not finish.take_stored()
    finish.store_followed()
    assert finish.take_stored() == [End(REMOVED, FAILURE)]
    assert [str(row.uuid) for row in FailedJob.objects.all()] == [REMOVED.id]
    assert finish.is_done


class Asked(Removing):
    """Can tell what it has no job of, where it answers."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.questions = []

    def gone(self, ids):
        self.questions.append(ids)
        if self.answer is None:
            raise QueueUnavailable("It is away.")
        return self.answer & set(ids)


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_removed_by_a_request_without_an_answer_is_announced(kept, settings):
    settings.DJQUEUE = {"FAILED_JOBS": "default" if kept else None}
    session = Asked({REMOVED.id})
    finish = Finish(session, "store")
    outcome = SUCCESS if kept else FAILURE
    for reservation in (LOST, REMOVED):
        finish.add([End(reservation, outcome)])
    finish.broke_off(finish.taken())
    sent = finish.taken()
    finish.settled(sent, session.settle(sent))
    assert finish.take_stored() == [End(REMOVED, outcome)]
    assert session.questions == [[LOST.id, REMOVED.id]]
    assert finish.is_done


def test_what_may_have_been_removed_is_not_announced_while_the_store_is_away():
    session = Asked(None)
    finish = Finish(session, "store")
    finish.add([End(REMOVED, SUCCESS)])
    finish.broke_off(finish.taken())
    finish.settled(finish.taken(), {REMOVED.id})
    assert not finish.take_stored()
    assert session.questions == [[REMOVED.id]]


def test_only_what_was_sent_before_makes_a_question():
    session = Asked({LOST.id})
    finish = Finish(session, "store")
    finish.add([End(LOST, SUCCESS)])
    finish.give_back([REMOVED])
    given_back = finish.taken()[1:]
    finish.broke_off(given_back)
    finish.settled(given_back, {REMOVED.id})  # it is no removal
    finish.add([End(LOST, SUCCESS)])
    finish.settled(finish.taken(), {LOST.id})
    assert not finish.take_stored()
    assert not session.questions
