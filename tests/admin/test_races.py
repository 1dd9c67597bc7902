"""Two at the same moment: operators, and an operator and a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from djqueue.admin.lists.selection import Selection
from djqueue.admin.verbs import stored
from djqueue.drivers.base import Change
from djqueue.drivers.database import changing
from djqueue.models import QueuedJob, Worker
from tests.admin.support import (
    FAILED,
    JOBS,
    act,
    client,
    delayed,
    exists,
    failed,
    logged,
    reserve,
    said,
    stuck,
    waiting,
)


def _come_back(row: QueuedJob) -> None:
    Worker.objects.update(alive_until=Now() + timedelta(hours=1))


def _take(row: QueuedJob) -> None:
    reserve(row)


def _become_due(row: QueuedJob) -> None:
    QueuedJob.objects.filter(pk=row.pk).update(available_at=Now())


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("make", "meanwhile", "change"),
    [
        (stuck, _come_back, Change.DELETE),
        (stuck, _come_back, Change.RELEASE),
        (waiting, _take, Change.DELETE),
        (delayed, _become_due, Change.RUN_NOW),
    ],
)
def test_the_statement_itself_compares_once_more(make, meanwhile, change, monkeypatch):
    """A lease ends or goes on by the clock: between the look and the write too, lock or not."""
    row = make()
    read = changing._read

    def read_before(rows):
        found = read(rows)
        meanwhile(row)
        monkeypatch.setattr(changing, "_read", read)
        return found

    monkeypatch.setattr(changing, "_read", read_before)
    verb = stored.changer(change)
    result = verb(Selection("default", [row.pk], {row.pk: str(row.reservation)}))
    assert list(result.changed) == []
    assert [left.target and left.target.row for left in result.left] == [row.pk]
    assert exists(row)


def _at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run each in a thread of its own, all from the same moment on; their answers."""
    start = threading.Barrier(len(works))
    answers: list[Any] = [None] * len(works)

    def run(index: int, work: Callable[[], Any]) -> None:
        start.wait(10)
        try:
            answers[index] = work()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("permissions")
@pytest.mark.parametrize("time", range(3))
def test_of_two_who_retry_at_the_same_moment_one_does(time):
    rows = [failed() for _ in range(5)]
    anna, bert = client("retry_failedjob"), client("retry_failedjob")
    answers = _at_once(
        lambda: said(act(anna, FAILED, "retry_jobs", rows)),
        lambda: said(act(bert, FAILED, "retry_jobs", rows)),
    )
    told = sorted(text for answer in answers for text in answer)
    assert told[0].startswith("5 jobs were not retried")
    assert told[1].startswith("Retried 5 jobs.")
    assert QueuedJob.objects.count() == 5
    assert len(logged()) == 5


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("permissions")
@pytest.mark.parametrize("time", range(3))
def test_of_two_who_delete_at_the_same_moment_one_does(time):
    rows = [stuck() for _ in range(5)]
    anna, bert = client("delete_queuedjob"), client("delete_queuedjob")
    answers = _at_once(
        lambda: said(act(anna, JOBS, "delete_jobs", rows)),
        lambda: said(act(bert, JOBS, "delete_jobs", list(reversed(rows)))),
    )
    told = sorted(text for answer in answers for text in answer)
    assert told[0].startswith("5 jobs were not deleted")
    assert told[1] == "Deleted 5 jobs."
    assert not any(map(exists, rows))
    assert len(logged()) == 5
