"""What workers count, how it adds up, and what is said about it."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from django.db import OperationalError

from djqueue.drivers.base import Reservation
from djqueue.errors import QueueUnavailable
from djqueue.models import FinishedJob, Minute
from djqueue.operations.pruning import prune
from djqueue.runner.decision import CANCEL, DONE, FAIL, RETURNED, Action, Decision, Ending
from djqueue.runner.outcome import End, Outcome
from djqueue.statistics import reading
from djqueue.statistics.histogram import BOUNDS, COUNTS, times
from djqueue.statistics.tally import OTHER, Tally
from djqueue.statistics.writing import write
from djqueue.worker.store.statistics import Statistics
from tests.app.jobs import nothing, record
from tests.support import start_worker

NOW = time.time()


def payload(sent=NOW - 5.0, more=""):
    return (
        f'{{"v":1,"name":"shop.Pack","options":{{}},"id":"a","sent":{sent}{more},"arguments":{{}}}}'
    )


def end(outcome, name="shop.Pack", queue="default", text=None, attempt=1):
    held = Reservation("a", queue, name, text or payload(), attempt, 0, "", None)
    return End(held, outcome)


def done(seconds=0.0):
    return Outcome(RETURNED, DONE, duration=seconds)


FAILED = Outcome(Ending.RAISED, FAIL)
RELEASED = Outcome(Ending.RAISED, Decision(Action.RETRY, 5))


STOPPED = Outcome(Ending.CANCELLED, CANCEL)


def counted(tally):
    """The counts by queue and job, without those that are zero."""
    return {
        (queue, name): {c: n for c, n in zip(COUNTS, numbers, strict=True) if n}
        for queue, name, numbers in tally.take().rows()
    }


def test_ends_are_counted_by_queue_job_and_what_became_of_it():
    tally = Tally()
    tally.add([end(done(2.5)), end(FAILED, attempt=2), end(RELEASED, queue="mail")], NOW)
    tally.add([end(done(3.0), attempt=2)], NOW)
    found = counted(tally)
    assert found["default", "shop.Pack"].items() >= {"done": 2, "failed": 1, "runtime_8": 2}.items()
    assert found["mail", "shop.Pack"]["released"] == 1
    assert not counted(tally)


@pytest.mark.parametrize(
    ("text", "bucket"),
    [
        (payload(), "wait_9"),  # 5 s since the dispatch, 1 s of it running
        (payload(more=f',"due":{NOW - 3.5}'), "wait_8"),
        (payload(more=',"links":{"chain":"0199e2b5-0000-7000-8000-000000000000"}'), None),
        ("{}", None),
    ],
)
def test_a_job_waits_from_its_dispatch_or_its_due_time(text, bucket):
    tally = Tally()
    tally.add([end(done(0.9), text=text)], NOW)
    waits = {c for c in counted(tally)["default", "shop.Pack"] if c.startswith("wait")}
    assert waits == ({bucket} if bucket else set())


def test_a_second_attempt_says_nothing_about_waiting():
    tally = Tally()
    tally.add([end(done(), attempt=2)], NOW)
    assert not [c for c in counted(tally)["default", "shop.Pack"] if c.startswith("wait")]


def test_names_beyond_measure_are_counted_together():
    tally = Tally()
    tally.add([end(done(), name=f"job {n}\0") for n in range(300)], NOW)
    found = counted(tally)
    assert len(found) == 201
    assert found["default", OTHER]["done"] == 100


def test_percentiles_are_within_their_bucket():
    buckets = [0] * (len(BOUNDS) + 1)
    assert times(buckets).p50 is None
    buckets[8], buckets[10] = 90, 10  # up to 4 s, up to 15 s
    found = times(buckets)
    assert found.number == 100
    assert 2 < found.p50 <= 4
    assert 8 < found.p95 <= 15
    buckets[-1] = 10_000
    assert times(buckets).p50 == BOUNDS[-1]


@pytest.mark.django_db
def test_counts_add_up_over_workers_minutes_and_jobs():
    tally = Tally()
    for minutes_ago in (0, 5, 90):
        tally.add([end(done(3.0)), end(done(3.5), queue="mail"), end(FAILED)], NOW)
        rows = tally.take().rows()
        write("default", "database", rows, time.time() - 60 * minutes_ago)
        write("default", "database", rows, time.time() - 60 * minutes_ago)
    (default, mail) = reading.of_jobs()
    assert (default.queue, default.name) == ("default", "shop.Pack")
    assert (default.done, default.failed) == (4, 4)
    assert 2 < default.runtime.p50 <= 4
    assert default.usually == "usually takes 3 s"
    assert mail.done == mail.runtimes[8] == 4
    (mail,) = reading.of_jobs(reading.DAY, queue="mail")
    assert mail.done == mail.runtimes[8] == 6
    assert [each.done for each in reading.since_ever()] == [6, 6]
    (queue, _) = reading.of_queues(connection="database")
    assert (queue.name, queue.done) == ("", 4)
    assert [each.done for each in reading.by_minute()] == [4, 4]
    assert not reading.of_jobs(connection="redis")


@pytest.mark.django_db
def test_old_minutes_and_hours_are_pruned_and_totals_stay():
    tally = Tally()
    tally.add([end(done())], NOW)
    rows = tally.take().rows()
    for days in (0, 3, 40):
        write("default", "database", rows, time.time() - 86400 * days)
    assert prune()
    assert Minute.objects.filter(span=60).count() == 1
    assert Minute.objects.filter(span=3600).count() == 2
    assert reading.since_ever()[0].done == 3


class Away:
    """SQL that gives no answer."""

    def __init__(self, error):
        self.error = error

    def ask(self, alias, question):
        raise QueueUnavailable("It is away.") from self.error


@pytest.mark.parametrize(
    ("error", "kept"),
    [(OperationalError(1213, "Deadlock found"), True), (OperationalError(2013, "Lost"), False)],
)
def test_counts_are_kept_only_where_they_were_certainly_not_written(error, kept):
    statistics = Statistics(Away(error), "database")
    statistics.add([end(done())])
    statistics.write()
    assert bool(statistics._tally.take().counts) is kept


def test_whatever_becomes_of_a_job_can_be_written():
    """A job that an operator stopped counts as nothing."""
    tally = Tally()
    tally.add([end(Outcome(Ending.RAISED, Decision(action))) for action in Action], NOW)
    tally.add([end(STOPPED, queue="stopped", attempt=2)], NOW)
    found = counted(tally)
    assert found["default", "shop.Pack"].items() >= {"done": 1, "failed": 1, "released": 2}.items()
    assert found["stopped", "shop.Pack"] == {}


@pytest.mark.usefixtures("ledger")
def test_a_worker_writes_what_it_counted(settings):
    settings.DJQUEUE = {"KEEP_DONE": 60}
    for number in range(5):
        record.dispatch(number)
    record.using(delay=0.1).dispatch(5)
    nothing.dispatch()
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(60) == 0
    found = {each.name: each for each in reading.of_jobs()}
    assert found["app.record"].done >= 5
    assert found["app.nothing"].done == 1
    assert found["app.record"].runtime.number == found["app.record"].done
    assert sum(each.wait.number for each in found.values()) > 0
    kept = Counter(FinishedJob.objects.values_list("name", flat=True))
    assert kept == {"app.record": found["app.record"].done, "app.nothing": 1}


@pytest.mark.usefixtures("ledger")
def test_statistics_can_be_turned_off(settings):
    settings.DJQUEUE = {"STATISTICS": False}
    nothing.dispatch()
    with start_worker("--stop-when-empty") as worker:
        assert worker.wait(60) == 0
    assert not reading.since_ever()
    assert not FinishedJob.objects.exists()
