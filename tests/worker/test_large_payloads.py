"""Large arguments reach the child that runs the job, and nothing of them is left in the end."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.storage import storages
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from djqueue import dispatch_many, queues
from djqueue.drivers.base import Reservation
from djqueue.finish.finish import Finish
from djqueue.finish.notices import RemovePayloads, notices_of
from djqueue.models import FailedJob, Payload, QueuedJob
from djqueue.operations.retrying import retry
from djqueue.payload.packing import is_stored, pack
from djqueue.payload.payload import Limits, encode, encode_head
from djqueue.runner.decision import Action, Decision, Ending
from djqueue.runner.outcome import End, Outcome
from djqueue.worker.notices import Prune, carry_out
from tests.app.jobs import Weighs, WeighsAtomically, digest, record
from tests.support import start_worker, wait_until

NOISE = "".join(str(uuid4()) for _ in range(30_000))  # a megabyte


def connection(**more: Any) -> dict[str, Any]:
    keys = {"DRIVER": "database", "COMPRESS_ABOVE": None, "STORE_ABOVE": 10_000, **more}
    return {"CONNECTIONS": {"database": keys}}


@pytest.fixture
def stored():
    with override_settings(DJQUEUE=connection()):
        yield


@pytest.fixture
def folder():
    """Large arguments are files in this folder."""
    with tempfile.TemporaryDirectory(prefix="djqueue-storage-") as path:
        backend = "django.core.files.storage.FileSystemStorage"
        jobs = {"BACKEND": backend, "OPTIONS": {"location": path}}
        djqueue = {**connection(), "PAYLOADS": {"STORAGE": "jobs"}}
        with override_settings(DJQUEUE=djqueue, STORAGES={**storages.backends, "jobs": jobs}):
            yield Path(path)


def drain(*arguments: object, **overrides: Any) -> str:
    with start_worker("--stop-when-empty", *arguments, overrides=overrides) as worker:
        assert worker.wait(60) == 0
        return worker.output


def nothing_left() -> bool:
    return not Payload.objects.exists() and not QueuedJob.objects.exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_compressed_and_stored_and_small_ones_run_in_order(ledger, workers):
    texts = ["a", "b" * 50_000, NOISE, "c" * 5_000, NOISE[:20_000]]
    with override_settings(DJQUEUE=connection(COMPRESS_ABOVE=4096)):
        dispatch_many(Weighs(text) for text in texts)
        rows = list(QueuedJob.objects.order_by("id").values_list("payload", flat=True))
        assert [is_stored(row) for row in rows] == [False, False, True, False, True]
        assert ['"packed":"zlib"' in row for row in rows] == [False, True, False, True, False]
        drain("--workers", workers)
    assert sorted(ledger.details("begin")) == sorted(map(digest, texts))
    assert nothing_left()


def test_many_are_removed_together(ledger, stored):
    dispatch_many(Weighs(f"{number:05}" * 5_000) for number in range(60))
    assert Payload.objects.count() == 60
    drain("--workers", 2)
    assert len(set(ledger.details("begin"))) == 60
    assert nothing_left()


def test_a_storage_has_them_and_is_empty_in_the_end(ledger, folder):
    dispatch_many(Weighs(NOISE[:number]) for number in (100, 20_000, 1_000_000))
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2
    assert not Payload.objects.filter(body__isnull=False).exists()
    drain(STORAGES=storages.backends)
    assert ledger.details("begin") == [digest(NOISE[:n]) for n in (100, 20_000, 1_000_000)]
    assert not [path for path in folder.rglob("*") if path.is_file()]
    assert nothing_left()


def test_an_atomic_job_leaves_nothing_either(ledger, stored):
    WeighsAtomically(NOISE).dispatch()
    drain()
    assert ledger.details("begin") == [digest(NOISE)]
    assert nothing_left()


def test_a_released_job_keeps_its_arguments(ledger, stored):
    Weighs(NOISE, "release").using(tries=2).dispatch()
    WeighsAtomically(NOISE, "release").using(tries=2).dispatch()
    drain()
    assert ledger.details("begin") == [digest(NOISE)] * 4
    assert nothing_left()


@pytest.mark.parametrize("how", ["raise", "die"])
def test_a_failed_job_is_told_and_can_be_retried(ledger, stored, how):
    Weighs(NOISE, how).dispatch()
    drain()
    assert ledger.details("failed") == [digest(NOISE)]
    row = FailedJob.objects.get()
    assert is_stored(row.payload)
    assert Payload.objects.get().uuid == row.uuid
    assert retry().moved == 1
    drain()
    assert ledger.details("begin") == [digest(NOISE)] * 2
    assert Payload.objects.count() == 1  # it has failed again


def test_without_failed_rows_the_job_is_told_before_its_arguments_go(ledger):
    with override_settings(DJQUEUE={**connection(), "FAILED_JOBS": None}):
        Weighs(NOISE, "raise").dispatch()
        drain()
    assert ledger.details("failed") == [digest(NOISE)]
    assert nothing_left()


def test_arguments_that_are_gone_fail_the_job_and_no_other(ledger, stored):
    Weighs(NOISE).dispatch()
    Payload.objects.all().delete()
    record.dispatch(1)
    drain()
    assert ledger.details("end") == ["1"]
    assert "no longer in the payload store" in FailedJob.objects.get().exception_message


def test_a_storage_that_is_away_holds_the_job_back(ledger, folder):
    Weighs(NOISE).dispatch()
    away = {**storages.backends["jobs"], "OPTIONS": {"location": "/dev/null/nowhere"}}
    with start_worker(overrides={"STORAGES": {**storages.backends, "jobs": away}}):
        wait_until(lambda: QueuedJob.objects.filter(attempts=0).exclude(history=""))
    assert not ledger.lines("begin")
    assert not FailedJob.objects.exists()
    queues["database"].inspector.make_due("default")
    drain(STORAGES=storages.backends)
    assert ledger.details("begin") == [digest(NOISE)]
    assert nothing_left()


def test_a_worker_that_stops_still_removes_what_it_has_done(ledger, stored):
    dispatch_many(Weighs(NOISE[:20_000]) for _ in range(5))
    with start_worker() as worker:
        wait_until(lambda: len(ledger.lines("begin")) >= 1)
        worker.stop()
    assert Payload.objects.count() == QueuedJob.objects.count()


@pytest.mark.redis
def test_on_a_store_that_is_no_database(ledger, redis_server):
    redis = {"DRIVER": "redis", "URL": redis_server.url, "STORE_ABOVE": 10_000}
    with override_settings(DJQUEUE={"DEFAULT": "redis", "CONNECTIONS": {"redis": redis}}):
        with transaction.atomic():
            Weighs(NOISE).dispatch()
            Weighs("b" * 8_000).dispatch()
        with transaction.atomic():
            Weighs(NOISE).dispatch()
            transaction.set_rollback(True)
        assert Payload.objects.get().connection == "redis"
        drain()
        assert ledger.details("begin") == [digest(NOISE), digest("b" * 8_000)]
        assert not Payload.objects.exists()
        queues.close_all()


def test_a_removal_that_fails_is_left_to_a_later_pruning(transactional_db, stored, caplog):
    Weighs(NOISE).dispatch()
    id = str(Payload.objects.get().uuid)
    broken = {**storages.backends, "jobs": {"BACKEND": "tests.dispatch.test_payload_store.Broken"}}
    with override_settings(
        DJQUEUE={**connection(), "PAYLOADS": {"STORAGE": "jobs"}}, STORAGES=broken
    ):
        carry_out(RemovePayloads((id,)))
    assert "no route to bucket" in caplog.text
    QueuedJob.objects.all().delete()
    Payload.objects.update(check_at=timezone.now())
    carry_out(Prune())
    assert nothing_left()


def test_only_what_the_store_has_settled_is_forgotten():
    text = pack(encode(encode_head("app.Weighs", Limits()), "x", 1.0, {}), None, 1).text
    reservations = [Reservation(id, "q", "app.Weighs", text, 1, 0, "", None) for id in "abc"]
    gone, lost, again = reservations
    done = Outcome(Ending.RETURNED, Decision(Action.DONE))
    finish = Finish(queues["database"].driver.session(), "database")
    finish.add([End(gone, done)])
    finish.add([End(lost, done)])
    finish.add([End(again, Outcome(Ending.RELEASED, Decision(Action.RETRY)))])
    finish.settled(finish.taken(), {"b"})
    assert list(notices_of(finish.take_stored())) == [RemovePayloads(("a",))]
    finish.add([End(lost, Outcome(Ending.LOST, Decision(Action.DONE), settled=True))])
    assert not finish.take_stored()
    finish.add([End(again, done._replace(settled=True))])
    assert list(notices_of(finish.take_stored())) == [RemovePayloads(("c",))]
