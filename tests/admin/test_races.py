"""Two at the same moment: operators, and an operator and a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import site
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from djqueue import batch, chain, job
from djqueue.admin.lists.selection import Selection
from djqueue.admin.verbs import stored
from djqueue.dispatch import controls
from djqueue.dispatch.unique.held import held
from djqueue.drivers.base import Change
from djqueue.drivers.database import changing
from djqueue.jobs import registry
from djqueue.models import Control, FailedJob, JobBatch, Outbox, QueuedJob, Worker
from djqueue.testing import work
from tests.admin.support import (
    FAILED,
    JOBS,
    act,
    client,
    delayed,
    exists,
    failed,
    logged,
    press,
    reserve,
    running,
    said,
    stuck,
    text_of,
    waiting,
    worker,
)
from tests.composition import jobs, unique_jobs


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


@dataclass(frozen=True)
class Case:
    """A verb, and what becomes of it when two operators press its button."""

    make: Callable[[], Any]
    permission: str
    done: str
    """The beginning of what the one is told who has done it."""
    left: str
    """A part of what the other one is told."""
    effects: Callable[[Any], int]
    """How many there are, given the row."""
    fields: Mapping[str, str] = field(default_factory=dict)
    every: int = 1
    """Effects that two have: 2 where each dispatches a copy of its own."""


def known(**columns: Any) -> QueuedJob:
    return waiting("app.record", payload=text_of("app.record", {"number": 7}), **columns)


def known_failure() -> FailedJob:
    return failed("app.record", payload=text_of("app.record", {"number": 7}))


def unique_one() -> QueuedJob:
    unique_jobs.for_a_while.dispatch()
    return QueuedJob.objects.get()


def chained() -> QueuedJob:
    chain([jobs.number.bind(1), jobs.total.bind()]).dispatch()
    return QueuedJob.objects.get()


def waiting_step() -> Outbox:
    chained()
    return Outbox.objects.get()


late_saves: list[Any] = []
"""The debounced job of the test that runs."""


def parked() -> Outbox:
    """A debounced job, which waits for 30 s."""
    late_saves[0].dispatch("a")
    return Outbox.objects.get()


def batch_of(*members: Any) -> JobBatch:
    made = batch(members, name="Import", allow_failures=True).dispatch()
    work(max_jobs=1)
    return JobBatch.objects.get(pk=made.pk)


def open_batch() -> JobBatch:
    made = batch_of(jobs.number.bind(1), jobs.number.bind(2))
    JobBatch.objects.filter(pk=made.pk).update(open_until=timezone.now() + timedelta(hours=1))
    made.refresh_from_db()
    return made


def copies(row: Any) -> int:
    return QueuedJob.objects.exclude(uuid=getattr(row, "uuid", None)).count()


def is_gone(row: Any) -> int:
    return int(not exists(row))


def has(**columns: Any) -> Callable[[Any], int]:
    return lambda row: type(row).objects.filter(pk=row.pk, **columns).count()


def retried(row: FailedJob) -> int:
    return QueuedJob.objects.count() + exists(row)


JOB_CASES: dict[str, Case] = {
    "run_now": Case(
        delayed, "release_job", "1 delayed job may run now.", "not delayed", has(line__isnull=False)
    ),
    "release": Case(
        stuck, "release_job", "Released 1 stuck job.", "not released", has(reserved_by=None)
    ),
    "change": Case(
        known, "change_queuedjob", "Changed 1 job.", "not changed", has(priority=7),
        {"priority": "7"},
    ),
    "move": Case(
        known, "change_queuedjob", "Moved 1 job.", "not moved", has(queue="slow"),
        {"queue": "slow"},
    ),
    "copy": Case(
        known, "add_queuedjob", "Dispatched a copy of 1 job.", "Dispatched a copy", copies, every=2
    ),
    "unlock": Case(
        unique_one, "release_job", "Freed the unique key of 1 job.", "no unique key",
        lambda row: int(not list(held())),
    ),
    "end_chain": Case(
        chained, "delete_queuedjob", "Ended 1 chain.", "nothing waits behind it",
        lambda row: int(not Outbox.objects.exists()),
    ),
    "stop": Case(running, "stop_job", "Stopped 1 job.", "not stopped", is_gone),
    "delete": Case(waiting, "delete_queuedjob", "Deleted 1 job.", "not deleted", is_gone),
    "force_delete": Case(
        running, "force_delete_job", "Deleted 1 running job.", "not deleted", is_gone
    ),
}  # fmt: skip
FAILED_CASES: dict[str, Case] = {
    "retry": Case(
        known_failure, "retry_failedjob", "Retried 1 job.", "not retried", retried
    ),
    "spread": Case(
        known_failure, "retry_failedjob", "Retried 1 job.", "not retried", retried,
        {"pace": "1/m"},
    ),
    "copy": Case(
        known_failure, "add_queuedjob", "Dispatched a copy of 1 job.", "Dispatched a copy",
        copies, every=2,
    ),
    "forget": Case(known_failure, "delete_failedjob", "Forgot 1", "not forgotten", is_gone),
}  # fmt: skip
BATCH_CASES: dict[str, Case] = {
    "cancel": Case(
        lambda: batch_of(jobs.number.bind(1), jobs.number.bind(2)), "cancel_jobbatch",
        "Cancelled 1 batch.", "not cancelled", has(cancelled_at__isnull=False),
    ),
    "close": Case(
        open_batch, "cancel_jobbatch", "Closed 1 batch.", "not closed", has(open_until=None)
    ),
    "retry": Case(
        lambda: batch_of(jobs.breaks.bind()), "retry_jobbatch",
        "Retried the failed jobs of 1 batch.", "is as it was",
        lambda row: QueuedJob.objects.count(),
    ),
}  # fmt: skip
WORKER_CASES: dict[str, Case] = {
    "restart": Case(
        worker, "restart_worker", "Asked 1 worker to end.", "not asked",
        lambda row: Control.objects.get(scope__startswith="restart").value,
    ),
}  # fmt: skip
OUTBOX_CASES: dict[str, Case] = {
    "run_now": Case(
        parked, "release_job", "1 job may run now.", "left as it is", has(due_at__lte=Now())
    ),
    "delete": Case(waiting_step, "delete_queuedjob", "Deleted 1 job.", "not deleted", is_gone),
}  # fmt: skip
CASES: dict[tuple[str, str], Case] = {
    (model, name): case
    for model, cases in {
        "queuedjob": JOB_CASES,
        "failedjob": FAILED_CASES,
        "jobbatch": BATCH_CASES,
        "worker": WORKER_CASES,
        "outbox": OUTBOX_CASES,
    }.items()
    for name, case in cases.items()
}


def test_every_verb_has_its_case():
    verbs = {
        (model._meta.model_name, verb.name)
        for model, screen in site._registry.items()
        for verb in getattr(screen, "verbs", ())
    }
    assert verbs == set(CASES)


@pytest.fixture
def late_save():
    @job(name="app.late_save", debounce=30)
    def save(text: str) -> None: ...

    late_saves.append(save)
    yield
    late_saves.clear()
    registry.unregister("app.late_save")


@pytest.fixture
def stopping_worker(monkeypatch):
    """A worker that stops at once whatever it is asked to stop: a thread, on its own connection."""
    over = threading.Event()

    def follow() -> None:
        while not over.wait(0.02):
            for id in controls.stops():
                with transaction.atomic():
                    if QueuedJob.objects.filter(uuid=id).delete()[0]:
                        controls.forget_stops([id])
        connection.close()

    thread = threading.Thread(target=follow)
    thread.start()
    yield
    over.set()
    thread.join(10)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("permissions", "late_save", "stopping_worker")
@pytest.mark.parametrize("case", CASES.values(), ids=[f"{m}-{name}" for m, name in CASES])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one after the other"])
def test_of_two_operators_one_does_it_and_the_other_is_told(case, at_once, request):
    row, name = case.make(), request.node.callspec.id.rpartition("-")[2]
    given = {case.permission, "delete_queuedjob"}
    anna, bert = client(*given), client(*given)
    presses = [
        lambda browser=browser: said(press(browser, row, name, **case.fields))
        for browser in (anna, bert)
    ]
    answers = _at_once(*presses) if at_once else [each() for each in presses]
    told = [answer[0] for answer in answers]
    told.sort(key=lambda text: not text.startswith(case.done))
    assert told[0].startswith(case.done), told
    assert case.left in told[1], told
    assert case.effects(row) == case.every
    assert len(logged()) == case.every


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("permissions")
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one after the other"])
@pytest.mark.parametrize(
    ("verb", "done", "left"),
    [
        ("pause", "is paused.", "was paused already"),
        ("resume", "is resumed", "not paused any more"),
    ],
)
def test_a_queue_is_paused_and_resumed_by_one_of_two(verb, done, left, at_once):
    if verb == "resume":
        controls.pause("database", "mail")
    place = {"connection": "database", "queue": "mail", "span": "", "reason": "a deploy"}
    url = f"/admin/djqueue/overview/{verb}/"
    anna, bert = client("pause_queue"), client("pause_queue")
    presses = [lambda browser=browser: said(browser.post(url, place)) for browser in (anna, bert)]
    told = _at_once(*presses) if at_once else [each() for each in presses]
    told = sorted((text for (text,) in told), key=lambda text: done not in text)
    assert done in told[0]
    assert left in told[1]
    assert len(controls.pauses()) == (verb == "pause")


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
