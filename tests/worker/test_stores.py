"""The same workers on every store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from djqueue import dispatch_many, find, queues
from djqueue.models import FailedJob
from tests.app import jobs
from tests.app.models import Note
from tests.ledger import Ledger
from tests.support import run_command, start_worker, wait_until
from tests.torture import kills
from tests.torture.sizes import ATOMIC, JOBS, KILLS, size
from tests.worker.stores import STORES, settings_of


@pytest.fixture(params=STORES)
def store(
    request: pytest.FixtureRequest, settings: object, transactional_db: None
) -> Iterator[str]:
    settings.DJQUEUE = settings_of(request.param, request)  # type: ignore[attr-defined]
    yield request.param
    queues["store"].clear()


def drain(*arguments: object) -> str:
    with start_worker("--stop-when-empty", *arguments) as worker:
        assert worker.wait(60) == 0
        return worker.output


def test_jobs_run_in_order(store: str, ledger: Ledger) -> None:
    dispatch_many(jobs.record.bind(number) for number in range(300))
    drain()
    assert ledger.details("end") == [str(number) for number in range(300)]
    assert queues["store"].is_empty()


def test_a_delayed_job_runs_when_it_is_due(store: str, ledger: Ledger) -> None:
    jobs.record.using(delay=4).dispatch(1)
    jobs.record.dispatch(2)
    with start_worker("--sleep", 1):
        wait_until(lambda: len(ledger.lines("end")) == 2)
    early, late = ledger.lines("begin")
    assert (early.detail, late.detail) == ("2", "1")


def test_a_failing_job_is_tried_as_often_as_it_says_and_kept(store: str, ledger: Ledger) -> None:
    id = jobs.boom_thrice.dispatch().id
    with start_worker("--sleep", 0.2):
        wait_until(FailedJob.objects.exists)
    assert ledger.details("begin") == ["1", "2", "3"]
    row = FailedJob.objects.get()
    assert (str(row.uuid), row.connection, row.attempts) == (id, "store", 3)
    assert find(id).status == "failed"
    run_command("queue_retry", id, check=True)
    assert not FailedJob.objects.exists()
    assert queues["store"].size() == 1


def test_an_idle_worker_is_woken(store: str, ledger: Ledger) -> None:
    with start_worker("--sleep", 30) as worker:
        jobs.record.dispatch(1)
        wait_until(lambda: ledger.lines("end"), what=worker.output)
        wait_until(lambda: queues["store"].is_empty())
        jobs.record.dispatch(2)
        wait_until(lambda: len(ledger.lines("end")) == 2, timeout=3)


def test_a_job_three_times_as_long_as_its_lease_runs_once(store: str, ledger: Ledger) -> None:
    lease = queues["store"].settings.retry_after
    jobs.record.dispatch(1, 3 * lease)
    with start_worker("--sleep", 1), start_worker("--sleep", 1):
        wait_until(lambda: ledger.lines("end"), timeout=3 * lease + 15)
    assert len(ledger.lines("begin")) == 1


def test_no_job_is_lost_when_processes_are_killed(store: str, ledger: Ledger) -> None:
    count = kills.run(
        ledger,
        jobs.sturdy,
        jobs=size(JOBS, 1000) // 2,
        kills=size(KILLS, 8),
        seed=4,
        connection="store",
    )
    print(store, count)
    assert not FailedJob.objects.exists()


def test_what_atomic_jobs_write_is_there_exactly_once(store: str, ledger: Ledger) -> None:
    many = size(ATOMIC, 400)
    count = kills.run(
        ledger,
        jobs.insert_note,
        jobs=many,
        kills=size(KILLS, 8),
        seed=5,
        connection="store",
        check_runs=False,
    )
    print(store, count)
    notes = sorted(int(text) for text in Note.objects.values_list("text", flat=True))
    assert notes == list(range(many))
